"""The bench measures what it says: its simulations, its forecasters, and the holdout rows it only reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.evaluation import evaluate
from engine.origins import holdout_origins
from engine.table import write_parquet
from stages import bench_conformal as bench
from tests import past, small


def test_coefficients_stay_change_twice_or_drift() -> None:
    noise = {}
    for setting in ("exchangeable", "changes", "drift"):
        x, y = bench._series(setting, np.random.default_rng(1))
        assert x.shape == (bench.N, 4)
        noise[setting] = {
            at: y[at] - x[at] @ np.asarray(beta)
            for at, beta in {
                "exchangeable": {0: bench.START, 1999: bench.START},
                "changes": {499: bench.START, 500: bench.MIDDLE, 1499: bench.MIDDLE, 1500: bench.END},
                "drift": {0: bench.START, 1999: bench.END},
            }[setting].items()
        }
    same = bench._series("drift", np.random.default_rng(1))
    expected = np.random.default_rng(1)
    expected.normal(size=same[0].shape)
    drawn = expected.normal(size=bench.N)
    for found in noise.values():
        for at, value in found.items():
            assert value == pytest.approx(drawn[at], abs=1e-12)


@pytest.mark.parametrize("forget", [1.0, 0.99])
def test_one_step_errors_are_those_of_weighted_least_squares_on_everything_before(forget: float) -> None:
    x, y = bench._series("drift", np.random.default_rng(2))
    errors = bench._one_step(x, y, forget)
    for t in (bench.WARM, 700, bench.N - 1):
        root = np.sqrt(forget ** np.arange(t - 1, -1, -1.0))
        beta = np.linalg.lstsq(x[:t] * root[:, None], y[:t] * root, rcond=None)[0]
        assert errors[t - bench.WARM] == pytest.approx(abs(y[t] - x[t] @ beta), rel=1e-8)


def test_without_a_run_the_holdout_is_said_to_be_missing(tmp_path: Path) -> None:
    (row,) = bench._holdout(tmp_path, "retail")
    assert row.value == "not run"


def test_the_holdout_rows_are_what_calibrate_wrote(tmp_path: Path) -> None:
    spec = small.spec()
    panel = small.panel(spec)
    card, cover = evaluate(spec, panel, past.forecasts(spec, panel), holdout_origins(spec, small.TIME))
    folder = tmp_path / "artifacts" / "retail" / "calibrate"
    folder.mkdir(parents=True)
    write_parquet(card, folder / "scorecard_holdout.parquet")
    write_parquet(cover, folder / "coverage_holdout.parquet")
    first, *rows = bench._holdout(tmp_path, "retail")
    wis = {row["forecaster"]: row["wis"] for row in card.to_pylist() if row["horizon"] == 0}
    assert first.value == f"{wis['noptik'] / wis['seasonal_naive']:.2f}"
    assert [row.what.split(":")[0] for row in rows] == ["retail, this forecast"] * 2 + ["retail, seasonal naive"] * 2
    ours = next(row for row in cover.to_pylist() if row["forecaster"] == "noptik")
    assert rows[0].value == f"{ours['inside_after'] / ours['cases']:.3f}/{ours['width_after']:.2f}"
