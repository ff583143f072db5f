"""Calibration on data whose truth is known, and the shipped forecasts' holdouts as the last run left them.

exchangeable  one forecast after N_SCORES past ones, outcomes and intervals drawn alike: coverage within binomial error
drift         the simulation of Barber, Candes, Ramdas & Tibshirani 2023 (doi:10.1214/23-AOS2276, section 5.2): four
              covariates, N = 2000, coefficients that stay, change twice, or drift; forecast by least squares from
              everything before, or weighted by .99 a step. They conformalise fully; here scores are those of past
              one-step forecasts, as in a backtest. ACI and PID follow the misses of unweighted least squares
recurring     calm and storm take turns; spend, disjoint from what is scored, tells which; decay alone beside the hybrid
              weights, in the configuration of the shipped forecast `retail`
holdout       what `calibrate` measured on the shipped forecasts' holdouts, beside seasonal naive conformalised the same
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine import conformal, conformal_online, conformal_weights
from engine.evaluation import EVERYWHERE
from engine.spec import parse_spec
from engine.spec_calibrate import Adaptive, Calibrate, Controlled, Method, Split
from engine.table import read_parquet
from stages.bench_row import Row
from stages.stage import declared_spec, load_params
from stages.wording import wilson

Floats = npt.NDArray[np.float64]

SEED = 20261121
LEVELS = (0.5, 0.8, 0.9, 0.95)
N_SCORES, FORECASTS = 99, 4000
N, TRIALS, FIRST, WARM, FORGET, LEVEL = 2000, 12, 100, 20, 0.99, 0.9
START, MIDDLE, END = (2.0, 1.0, 0.0, 0.0), (0.0, -2.0, -1.0, 0.0), (0.0, 0.0, 2.0, 1.0)  # coefficients
CYCLE, STORM, WEEKS, WORLDS = 104, 40, 624, 100  # weeks of a cycle and of its storm; weeks and number of worlds

SPLIT = Split(kind="split")
ACI = Adaptive(kind="aci", rate=0.005)  # the rate of the paper's experiments
PID = Controlled(kind="pid", rate=0.1, gain=0.1, saturation=0.55)  # rate and saturation by the paper's rules for N


class Rival(NamedTuple):
    """One way to calibrate one way to forecast, and what Barber et al. publish for it, by setting."""

    name: str
    forget: float  # weight of an observation in the fit, per step of age
    decay: float  # weight of a score, per step of age
    method: Method
    published: dict[str, str]


RIVALS = (
    Rival("CP+LS", 1.0, 1.0, SPLIT, {"exchangeable": ".900/3.31", "changes": ".835/5.99", "drift": ".838/3.73"}),
    Rival("NexCP+LS", 1.0, FORGET, SPLIT, {"exchangeable": ".907/3.40", "changes": ".884/6.84", "drift": ".888/4.26"}),
    Rival(
        "NexCP+WLS", FORGET, FORGET, SPLIT, {"exchangeable": ".907/3.42", "changes": ".906/4.13", "drift": ".907/3.45"}
    ),
    Rival("ACI+LS", 1.0, 1.0, ACI, {}),
    Rival("PID+LS", 1.0, 1.0, PID, {}),
)


def rows(root: Path) -> Iterator[Row]:
    """The table's lines; a process in the determinism profile, the project's root."""
    shipped = parse_spec(declared_spec(root, "retail")).calibrate
    yield from _exchangeable(shipped)
    yield from _drift()
    yield from _recurring(shipped)
    for forecast in load_params(root)["forecasts"]:
        yield from _holdout(root, forecast)


def _exchangeable(shipped: Calibrate) -> Iterator[Row]:
    """Equal weights are exact; decay with uninformative moments must not fall below."""
    rng = np.random.default_rng(SEED)
    outcome = rng.standard_t(4, size=(FORECASTS, N_SCORES + 1))
    middle, half = 0.3 * rng.normal(size=outcome.shape), rng.uniform(0.2, 1.5, size=outcome.shape)
    scores = np.stack([conformal.conformity(y, m - h, m + h) for y, m, h in zip(outcome, middle, half, strict=True)])
    moments = rng.normal(size=(N_SCORES + 1, 3))
    age, known = np.arange(N_SCORES, 0, -1.0)[None], np.ones((1, N_SCORES), dtype=bool)
    for what, decay, features in (("equal weights", 1.0, moments[:, :0]), ("hybrid weights", shipped.decay, moments)):
        for level in LEVELS:
            support = max(shipped.support, conformal_weights.needed_support(level))
            w = conformal_weights.weights(age, known, features[:-1], features[-1:], decay, shipped.bandwidth, support)
            q = np.asarray([conformal.quantiles(row[:-1], w, level).item() for row in scores])
            inside = int(np.count_nonzero(scores[:, -1] <= q))
            low, high = wilson(inside, FORECASTS)
            verdict = "within" if low <= level <= high else "above" if low > level else "BELOW"
            note = f"{verdict} binomial error ({low:.3f} to {high:.3f}), {inside} of {FORECASTS}"
            yield Row(f"exchangeable, {what}: covered at {level:g}", f"{inside / FORECASTS:.3f}", note)


def _drift() -> Iterator[Row]:
    for setting in ("exchangeable", "changes", "drift"):
        trials = [_series(setting, np.random.default_rng((SEED, trial))) for trial in range(TRIALS)]
        fits = {forget: [_one_step(x, y, forget) for x, y in trials] for forget in (1.0, FORGET)}
        for rival in RIVALS:
            found = np.asarray([_followed(rival, errors) for errors in fits[rival.forget]])
            covered, width, endless = found.mean(axis=0)
            published = rival.published.get(setting, "none")
            note = f"published {published}; N = {N}, {TRIALS} trials, {100 * endless:.1f} % of intervals unbounded"
            yield Row(f"{setting}, {rival.name}: covered/width at {LEVEL:g}", f"{covered:.3f}/{width:.2f}", note)


def _series(setting: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Covariates (N, 4) and outcomes (N,) with noise of sd 1."""
    x = rng.normal(size=(N, 4))
    start, end, at = np.asarray(START), np.asarray(END), np.arange(N)[:, None]
    if setting == "exchangeable":
        beta = np.broadcast_to(start, x.shape)
    elif setting == "changes":
        beta = np.where(at < 500, start, np.where(at < 1500, np.asarray(MIDDLE), end))
    else:
        beta = start + (end - start) * at / (N - 1)
    return x, np.sum(x * beta, axis=1) + rng.normal(size=N)


def _one_step(x: Floats, y: Floats, forget: float) -> Floats:
    """Absolute errors of forecasts by least squares from all before, an age of k weighing forget^k: (N - WARM,)."""
    gram, moment, errors = np.zeros((4, 4)), np.zeros(4), []
    for t in range(N):
        if t >= WARM:
            errors.append(abs(y[t] - x[t] @ np.linalg.solve(gram, moment)))
        gram = forget * gram + np.outer(x[t], x[t])
        moment = forget * moment + x[t] * y[t]
    return np.asarray(errors)


def _followed(rival: Rival, errors: Floats) -> tuple[float, float, float]:
    """Coverage, mean width of the bounded intervals and share of the others, from step FIRST on."""
    n, skipped = errors.size, FIRST - WARM
    made = np.arange(n)
    age = (made[:, None] - 1 - made).astype(np.float64)
    weights = np.where(age >= 0.0, rival.decay ** np.maximum(age, 0.0), 0.0)
    q = conformal_online.track(rival.method, LEVEL, errors, weights, made, made + 1).q[skipped:]
    bounded = np.isfinite(q)
    covered = np.mean(errors[skipped:] <= q)
    return float(covered), float(2.0 * np.mean(np.maximum(q[bounded], 0.0))), 1.0 - float(np.mean(bounded))


def _recurring(shipped: Calibrate) -> Iterator[Row]:
    worlds = [_storms(shipped, np.random.default_rng((SEED, world))) for world in range(WORLDS)]
    found = np.asarray(worlds).mean(axis=0)  # (weights, figure)
    for name, (storm, calm, width) in zip(("decay alone", "hybrid weights"), found, strict=True):
        note = f"calm {calm:.3f}; {WORLDS} worlds of {WEEKS} weeks, storms {STORM} of every {CYCLE}"
        yield Row(f"recurring, {name}: storms covered/width at {LEVEL:g}", f"{storm:.3f}/{width:.2f}", note)


def _storms(shipped: Calibrate, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Coverage in storms and in calm, and mean width over the second half, with decay alone and with moments."""
    storm = (np.arange(WEEKS) + rng.integers(CYCLE)) % CYCLE < STORM
    errors = np.abs(rng.normal(size=WEEKS) * np.where(storm, 3.0, 1.0))
    spend = np.where(storm, 2.0, 1.0) * (1.0 + 0.15 * rng.normal(size=WEEKS))
    window = shipped.moment_window
    moments = np.stack([conformal_weights.regime_moments(spend[t - window : t]) for t in range(window, WEEKS)])
    scores, storm = errors[window:], storm[window:]
    steps = np.arange(WEEKS // 2 - window, scores.size)
    age = (steps[:, None] - 1 - np.arange(scores.size)).astype(np.float64)
    found = []
    for features in (moments[:, :0], moments):
        w = conformal_weights.weights(
            age, age >= 0.0, features, features[steps], shipped.decay, shipped.bandwidth, shipped.support
        )
        q = conformal.quantiles(scores, w, LEVEL)
        inside, storms = scores[steps] <= q, storm[steps]
        found.append((float(inside[storms].mean()), float(inside[~storms].mean()), float(2.0 * q.mean())))
    return found


def _holdout(root: Path, forecast: str) -> Iterator[Row]:
    folder = root / "artifacts" / forecast / "calibrate"
    files = [folder / f"{name}_holdout.parquet" for name in ("scorecard", "coverage")]
    if not all(file.exists() for file in files):
        yield Row(f"{forecast}: holdout", "not run", f"no {folder.relative_to(root)}; `make repro` writes it")
        return
    card, cover = (read_parquet(file).to_pylist() for file in files)
    names = (("noptik", "this forecast"), ("seasonal_naive", "seasonal naive"))
    overall = {row["forecaster"]: row for row in card if row["horizon"] == 0}
    share = overall["noptik"]["wis"] / overall["seasonal_naive"]["wis"]
    mape = " / ".join(f"{overall[key]['mape']:.1f}" for key, _ in names)
    yield Row(f"{forecast}: holdout WIS, share of seasonal naive's", f"{share:.2f}", f"MAPE {mape} %, all levels")
    for key, name in names:
        for row in cover:
            if (row["forecaster"], row["location"]) == (key, EVERYWHERE):
                yield _covered(forecast, name, row)


def _covered(forecast: str, name: str, row: dict[str, Any]) -> Row:
    inside, cases = row["inside_after"], row["cases"]
    low, high = wilson(inside, cases)
    note = f"{inside} of {cases}, Wilson {low:.3f} to {high:.3f}; width as a share of the mean outcome"
    figure = f"{inside / cases:.3f}/{row['width_after']:.2f}"
    return Row(f"{forecast}, {name}: covered/width at {row['level']:g}", figure, note)
