"""Laws of the segmentation of raw series: unit and length do not matter, wandering is no change, gaps are bridged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.changepoint import ResidualError
from engine.changepoint_series import Hindsight, autocorrelation, changes, ready

Floats = npt.NDArray[np.float64]
REPOSITORY = Path(__file__).resolve().parents[2]

HOW = Hindsight.model_validate(
    yaml.safe_load((REPOSITORY / "params.yaml").read_text("utf-8"))["change_points"]["hindsight"]
)


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def wandering(seed: int, length: int, phi: float) -> Floats:
    e, x = noise(seed, length), np.zeros(length)
    for t in range(length):
        x[t] = phi * x[t - 1] + e[t] * math.sqrt(1 - phi * phi) if t else e[t]
    return x


def broken(seed: int, length: int = 120) -> Floats:
    """Two levels and then a line, begun at 40 and 80."""
    x = 0.5 * noise(seed, length, 1)
    x[40:] += 4.0
    x[80:, 0] -= 0.15 * np.arange(length - 80)
    return x


@settings(deadline=None, derandomize=True, max_examples=8)
@given(st.integers(0, 50), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_unit_and_origin_change_no_start(seed: int, origin: float, unit: float) -> None:
    x = broken(seed)
    assert changes(origin + unit * x, HOW).starts == changes(x, HOW).starts
    assert changes(-x, HOW).starts == changes(x, HOW).starts


def test_levels_and_a_line_are_cut_where_they_begin() -> None:
    hits = 0
    for seed in range(20):
        starts = changes(broken(seed), HOW).starts
        hits += len(starts) == 3 and abs(starts[1] - 40) <= 1 and abs(starts[2] - 80) <= 6
    assert hits >= 16


def test_what_wanders_is_cut_less_with_its_autocorrelation_taken_out() -> None:
    blunt = HOW.model_copy(update={"autocorrelation": 0.0})
    series = [wandering(seed, 120, 0.6)[:, None] for seed in range(20)]
    taken, left = (sum(len(changes(x, how).starts) - 1 for x in series) for how in (HOW, blunt))
    assert taken <= 6
    assert left >= 2 * taken + 4


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6, 0.9])
def test_autocorrelation_is_found_across_breaks_of_level_and_slope(phi: float) -> None:
    found = []
    for seed in range(30):
        x = wandering(seed, 400, phi) + 0.02 * np.arange(400)
        x[100:] += 8
        x[250:] -= 5
        found.append(autocorrelation(x.tolist()))
    assert np.mean(found) == pytest.approx(phi, abs=0.07)
    assert all(value >= 0 for value in found)


def test_ready_keeps_levels_and_widens_dependent_noise() -> None:
    x = wandering(1, 2000, 0.5)
    x[1000:] += 6
    plain, out = np.array(ready(x.tolist(), 0.0)), np.array(ready(x.tolist(), 0.9))
    assert plain.mean() == pytest.approx(0, abs=1e-12)
    assert plain.std() == pytest.approx(1, rel=1e-12)
    gap = [part[1010:].mean() - part[10:1000].mean() for part in (plain, out)]
    assert gap[1] == pytest.approx(gap[0], rel=0.02)
    assert out[10:1000].std() / plain[10:1000].std() == pytest.approx(math.sqrt((1 + 0.5) / (1 - 0.5)), rel=0.15)


def test_gaps_move_no_start_by_more_than_themselves() -> None:
    x = broken(3)
    x[10:14] = x[60] = x[100:103] = math.nan
    starts = changes(x, HOW).starts
    assert len(starts) == 3
    assert abs(starts[1] - 40) <= 1
    assert abs(starts[2] - 80) <= 6
    silent = np.concatenate([x, np.full((120, 1), math.nan)], axis=1)
    assert changes(silent, HOW).starts == starts


def test_locations_change_together_whatever_their_order() -> None:
    x = np.concatenate([broken(4), noise(5, 120, 1), 1e3 * noise(6, 120, 1)], axis=1)
    starts = changes(x, HOW).starts
    assert any(abs(start - 40) <= 1 for start in starts)
    assert changes(x[:, ::-1].copy(), HOW).starts == starts


@pytest.mark.parametrize("length", [1, 2, 7])
def test_short_and_constant_series_do_not_change(length: int) -> None:
    assert changes(np.full((length, 1), 7.0), HOW).starts == (0,)
    assert changes(np.full((length, 1), math.nan), HOW).starts == (0,)


def test_no_period_at_all_is_refused() -> None:
    with pytest.raises(ResidualError, match="expected 2 axes and a value"):
        changes(np.zeros((0, 1)), HOW)
