"""Every gate can fail, for its own reason, and nothing that is not a number passes one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.diagnostics import diagnose, scalars
from engine.fit import Chain
from engine.gates import Diagnostics, Gate
from engine.model import named, unnamed
from engine.rounding import rounded
from tests import small
from tests.drawn import absent, changed

INFERENCE = small.spec().inference
DRAWS = 400
G, M = 2, 2


def chain(seed: int, **changes: np.ndarray) -> Chain:
    """Independent draws: a sampler could do no better."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shapes: dict[str, tuple[int, ...]] = {"level": (G,), "trend": (1, G), "season": (2, 1), "event": (1, 1)}
    shapes |= {"control": (1, 1), "beta": (G, M), "adstock": (1, M), "saturation": (1, M), "rho": (), "sigma": (G,)}
    shapes |= {"gap": (G,), "share": (), **absent(G, M)}
    draws = {name: rng.normal(size=(DRAWS, *shape)) for name, shape in shapes.items()}
    draws["factor"] = np.ones((DRAWS, 1, 1))
    draws["nu"] = np.full(DRAWS, math.inf)
    statistics = {
        "diverging": np.zeros(DRAWS, dtype=bool),
        "energy": rng.normal(size=DRAWS),
        "steps": np.full(DRAWS, 7, dtype=np.int64),
    }
    for name, value in changes.items():
        (statistics if name in statistics else draws)[name] = value
    return Chain(unnamed(draws), **statistics, khat=0.5)


def healthy(**changes: np.ndarray) -> list[Chain]:
    return [chain(0), chain(1), chain(2), chain(3, **changes)]


def gate(found: Diagnostics, name: str) -> Gate:
    (one,) = (g for g in found.gates if g.name == name)
    return one


def test_good_draws_pass_every_gate() -> None:
    found = diagnose(healthy(), INFERENCE)
    assert found.passed
    assert all(g.passed for g in found.gates)
    assert [g.name for g in found.gates] == ["rhat", "ess_bulk", "ess_tail", "divergences", "tree_depth", "ebfmi"]
    assert (found.chains, found.draws) == (4, DRAWS)


def failing(**changes: np.ndarray) -> dict[str, Gate]:
    found = diagnose(healthy(**changes), INFERENCE)
    assert found.passed == (not any(not g.passed for g in found.gates))
    return {g.name: g for g in found.gates if not g.passed}


def test_a_chain_that_went_elsewhere_fails_rhat_and_is_named() -> None:
    control = chain(3).parameters.controls.control + 5.0
    failed = failing(control=control)
    assert failed["rhat"].where == "control[0]"
    assert failed["rhat"].value > 1.5


def test_a_chain_that_hardly_moves_fails_the_effective_sample_sizes() -> None:
    rng = np.random.Generator(np.random.PCG64(9))
    slow = [chain(c, saturation=np.cumsum(rng.normal(size=(DRAWS, 1, M)), axis=0) / 20.0) for c in range(4)]
    failed = {g.name: g for g in diagnose(slow, INFERENCE).gates if not g.passed}
    for name in ("ess_bulk", "ess_tail"):
        assert failed[name].where.startswith("saturation[")
        assert failed[name].value < 100.0


def test_one_divergence_is_one_too_many() -> None:
    diverging = np.zeros(DRAWS, dtype=bool)
    diverging[17] = True
    assert failing(diverging=diverging)["divergences"].value == 1.0


@pytest.mark.parametrize(("steps", "passes"), [(31, True), (32, False), (63, False)])
def test_a_trajectory_of_the_greatest_depth_fails(steps: int, passes: bool) -> None:
    assert INFERENCE.max_tree_depth == 6
    taken = np.full(DRAWS, 7, dtype=np.int64)
    taken[3] = steps  # depth d takes 2^(d-1) .. 2^d - 1 steps
    assert ("tree_depth" not in failing(steps=taken)) == passes


def test_energy_that_wanders_fails_ebfmi() -> None:
    energy = np.cumsum(np.random.Generator(np.random.PCG64(4)).normal(size=DRAWS))
    assert failing(energy=energy)["ebfmi"].value < 0.2


@pytest.mark.parametrize("name", ["level", "sigma"])
def test_a_draw_that_is_not_a_number_fails_and_is_named(name: str) -> None:
    broken = named(chain(3).parameters)[name].copy()
    broken[5, 1] = math.nan
    failed = failing(**{name: broken})
    assert failed["rhat"].where == f"{name}[1]"
    assert math.isnan(failed["rhat"].value)
    assert {"rhat", "ess_bulk", "ess_tail"} <= set(failed)


def test_the_worst_parameter_is_the_one_reported() -> None:
    season = chain(3).parameters.season.copy()
    season[:, 1, 0] += 9.0
    level = chain(3).parameters.level.copy()
    level[:, 0] += 1.0
    assert failing(season=season, level=level)["rhat"].where == "season[1]"


def test_declared_constants_and_repeated_effects_are_not_parameters() -> None:
    pooled = [
        c._replace(parameters=changed(c.parameters, beta=c.parameters.media.beta[:, :1].repeat(G, 1)))
        for c in healthy()
    ]
    names = [name for name, _ in scalars(pooled)]
    assert not any(name.startswith(("nu", "factor")) for name in names)
    assert sum(name.startswith("beta") for name in names) == M
    assert len(names) == len(set(names))


def test_k_hat_is_recorded_and_is_no_gate() -> None:
    chains = [c._replace(khat=k) for c, k in zip(healthy(), (0.5, 9.0, math.inf, 0.1), strict=True)]
    found = diagnose(chains, INFERENCE)
    assert found.khat == (0.5, 9.0, None, 0.1)
    assert found.passed
    assert diagnose([c._replace(khat=None) for c in healthy()], INFERENCE).khat == ()


def test_numbers_are_published_to_six_digits() -> None:
    assert rounded(1.0000049999) == 1.0
    assert rounded(1234.5678) == 1234.57
    assert math.isnan(rounded(math.nan))
    assert rounded(math.inf) == math.inf


def test_a_verdict_survives_its_own_json() -> None:
    found = diagnose(healthy(), INFERENCE)
    assert Diagnostics.model_validate_json(found.model_dump_json()) == found
