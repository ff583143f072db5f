"""PyMC-Marketing on the bench's world: run by `stages.bench_sampling`, in an environment of its own and by itself.

    python bench_rival.py FOLDER OUT FORM METHOD SEED

FOLDER holds world.json and terms.json, as the bench writes them. FORM `mmm`: PyMC-Marketing's MMM as users have it.
FORM `centred`: its transformers in a PyMC model with this project's centring of media, which suits the sampler better.
METHOD: how NumPyro runs chains. Draws of every sampled scalar go to OUT, as (chain, draw, scalar).
Imports nothing of this project, whose environment has no PyMC.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class World(NamedTuple):
    """What is fitted, scaled as this project scales it, and the numbers of the priors."""

    y: np.ndarray  # (T,)
    media: np.ndarray  # (T, M) over its mean
    linear: np.ndarray  # (T, K) trend, season, controls
    linear_sd: np.ndarray  # (K,) prior sd of each column's coefficient
    terms: Mapping[str, Any]


def main(folder: str, out: str, form: str, method: str, seed: str) -> None:
    """Fits, and writes the draws."""
    known = json.loads((Path(folder) / "world.json").read_text("utf-8"))
    arrays = {name: np.array(each) for name, each in known.items()}
    terms = json.loads((Path(folder) / "terms.json").read_text("utf-8"))
    blocks = [arrays[name] for name in ("trend", "season", "controls")]
    sizes = [block.shape[1] for block in blocks]
    sd = np.repeat([terms[name] for name in ("trend_sd", "season_sd", "control_sd")], sizes)
    world = World(arrays["y"], arrays["media"], np.concatenate(blocks, axis=1), sd, terms)
    options = {
        "draws": terms["draws"], "tune": terms["warmup"], "chains": terms["chains"], "random_seed": int(seed),
        "target_accept": terms["target_accept"], "progressbar": False, "compute_convergence_checks": False,
        "nuts_sampler": "numpyro", "nuts": {"chain_method": method},
    }  # fmt: skip
    fitted = {"mmm": _mmm, "centred": _centred}[form](world, options)
    flat = {name: each.reshape(*each.shape[:2], -1).tolist() for name, each in fitted.items()}
    Path(out).write_text(json.dumps(flat), "utf-8")


def _mmm(world: World, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import pandas as pd
    from pymc_extras.prior import Prior
    from pymc_marketing.mmm import GeometricAdstock, LogisticSaturation
    from pymc_marketing.mmm.mmm import MMM
    from pymc_marketing.mmm.scaling import FixedScaling, Scaling

    terms = world.terms
    channels = [f"media_{m}" for m in range(world.media.shape[1])]
    columns = [f"linear_{k}" for k in range(world.linear.shape[1])]
    priors = {
        "intercept": Prior("Normal", mu=0.0, sigma=terms["level_sd"]),
        "gamma_control": Prior("Normal", mu=0.0, sigma=world.linear_sd, dims="control"),
        "saturation_beta": Prior("HalfNormal", sigma=terms["media_scale"], dims="channel"),
        "saturation_lam": Prior("Gamma", alpha=terms["lam_shape"], beta=terms["lam_rate"], dims="channel"),
        "adstock_alpha": Prior("Beta", alpha=terms["alpha_a"], beta=terms["alpha_b"], dims="channel"),
        "likelihood": Prior("Normal", sigma=Prior("HalfNormal", sigma=terms["noise_scale"])),
    }
    unscaled = FixedScaling(dims=(), value=1.0)
    model = MMM(
        date_column="date", channel_columns=channels, control_columns=columns, target_column="y",
        adstock=GeometricAdstock(l_max=terms["max_lag"], normalize=True), saturation=LogisticSaturation(),
        scaling=Scaling(target=unscaled, channel=unscaled), model_config=priors,
    )  # fmt: skip
    table = pd.DataFrame(np.concatenate([world.media, world.linear], axis=1), columns=[*channels, *columns])
    table.insert(0, "date", pd.date_range(terms["start"], periods=len(world.y), freq="7D"))
    posterior = model.fit(table, pd.Series(world.y, name="y"), **options)["posterior"]
    names = [name for name in priors if name not in ("intercept", "likelihood")]
    return {name: np.asarray(posterior[name]) for name in ("intercept_contribution", *names, "y_sigma")}


def _centred(world: World, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import pymc as pm
    import pytensor.xtensor as ptx
    from pymc_marketing.mmm.transformers import geometric_adstock, logistic_saturation

    terms, size = world.terms, world.media.shape[1]
    with pm.Model() as model:
        level = pm.Normal("level", 0.0, terms["level_sd"])
        linear = pm.Normal("linear", 0.0, world.linear_sd, shape=world.linear_sd.size)
        beta = pm.HalfNormal("beta", terms["media_scale"], shape=size)
        alpha = pm.Beta("alpha", terms["alpha_a"], terms["alpha_b"], shape=size)
        lam = pm.Gamma("lam", terms["lam_shape"], terms["lam_rate"], shape=size)
        sigma = pm.HalfNormal("sigma", terms["noise_scale"])
        spend = ptx.as_xtensor(world.media, dims=("date", "channel"))
        decay, rate = (ptx.as_xtensor(each, dims=("channel",)) for each in (alpha, lam))
        carried = geometric_adstock(spend, decay, terms["max_lag"], normalize=True, dim="date")
        media = logistic_saturation(carried, rate).transpose("date", "channel").values @ beta
        pm.Normal("y", level + world.linear @ linear + media - media.mean(), sigma, observed=world.y)
        posterior = pm.sample(**options)["posterior"]
    return {each.name: np.asarray(posterior[each.name]) for each in model.free_RVs}


if __name__ == "__main__":
    main(*sys.argv[1:])
