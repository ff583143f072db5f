"""The fast twin: planted effects are recovered, none is negative, and every result says that it is released never."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from engine.errors import SpecError
from engine.fast import TABLE, FastData, FastResult, Release, contributions_table, fit, geometric_logistic
from engine.fast_bootstrap import rechosen, resampled
from engine.fast_ridge import coefficients, degrees, eliminate, problem, solve
from engine.spec_fast import FastSpec, Shape
from tests import reference_media

LAGS = 6
SHAPES = tuple(Shape(alpha=alpha, lam=lam) for alpha in (0.2, 0.7) for lam in (0.5, 2.0))
TRUE_SHAPES = (0, 1, 2, 3)
EFFECTS = (0.4, 0.3, 0.0, 0.2)
NOISE = 0.02


def spec(**changes: Any) -> FastSpec:
    values: dict[str, Any] = {
        "shapes": SHAPES, "folds": 3, "ahead": 13, "passes": 3, "pooling": "complete", "media_penalty": 1e-6,
        "control_penalty": 1e-3, "basis_penalty": 1e-3, "bootstraps": 60, "block": 8, "level": 0.9,
    }  # fmt: skip
    return FastSpec(**{**values, **changes})


def stream(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def world(seed: int, time: int = 156, places: int = 1, outcomes: int = 1, rho: float = 0.4) -> FastData:
    """Effects EFFECTS under TRUE_SHAPES at every location; the second outcome's are twice the first's."""
    draw = np.random.default_rng(seed)
    x = draw.gamma(1.5, 0.7, size=(time + LAGS - 1, places, len(EFFECTS)))
    media = np.stack([x[LAGS - 1 - lag : LAGS - 1 - lag + time] for lag in range(LAGS)], axis=-1)
    years = np.arange(time) / 52.0
    basis = np.stack([years, np.cos(2 * np.pi * years), np.sin(2 * np.pi * years)], axis=1)
    controls = draw.normal(size=(time, places, 2))
    shaped = truly(media)
    mean = 0.1 + (basis @ [0.1, 0.1, 0.05])[:, None] + controls @ [0.05, -0.03] + shaped @ np.asarray(EFFECTS)
    error = NOISE * draw.normal(size=(time, places, outcomes))
    for t in range(1, time):
        error[t] += rho * error[t - 1]
    y = mean[:, :, None] * np.arange(1.0, outcomes + 1.0) + error
    return FastData(y.reshape(time, places * outcomes), media, basis, controls)


def truly(media: np.ndarray) -> np.ndarray:
    """Media under their true shapes: (T, L, M)."""
    carried = geometric_logistic(media, SHAPES)
    return np.stack([carried[shape, :, :, m] for m, shape in enumerate(TRUE_SHAPES)], axis=-1)


def twin(data: FastData, declared: FastSpec | None = None, seed: int = 1) -> FastResult:
    declared = declared or spec()
    return fit(data, geometric_logistic(data.media, declared.shapes), declared, stream(seed))


def known(data: FastData, **changes: Any) -> FastResult:
    """The twin where the shapes are the true ones."""
    return fit(data, truly(data.media)[None], spec(shapes=SHAPES[:1], **changes), stream())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.0, 0.3]))
def test_the_solution_is_that_of_bounded_least_squares_on_all_rows(seed: int, penalty: float) -> None:
    """SciPy's trust-region solver, of b and c together, the penalties as rows."""
    draw = np.random.default_rng(seed)
    X, Z, y = draw.normal(size=(40, 3)), draw.normal(size=(40, 4)), draw.normal(size=40)
    penalties = np.asarray([0.0, 0.1, 1.0, 10.0])
    free = eliminate(Z, penalties)
    of = problem(free, X[:, None], penalty)
    b = solve(of, of.left.T @ y, (0, 0, 0)).effects
    c = coefficients(free, y - X @ b)
    rows = np.block(
        [[X, Z], [np.sqrt(penalty) * np.eye(3), np.zeros((3, 4))], [np.zeros((4, 3)), np.diag(np.sqrt(penalties))]]
    )
    expected = lsq_linear(
        rows, np.concatenate([y, np.zeros(7)]), ([0.0] * 3 + [-np.inf] * 4, [np.inf] * 7), tol=1e-14
    ).x
    assert np.allclose(np.concatenate([b, c]), expected, atol=1e-6)
    assert np.all(b >= 0.0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_cost_ranks_choices_as_their_residuals_do(seed: int) -> None:
    draw = np.random.default_rng(seed)
    X, Z, y = draw.normal(size=(40, 2, 3)), draw.normal(size=(40, 2)), draw.normal(size=40)
    free = eliminate(Z, np.asarray([0.0, 0.5]))
    of = problem(free, X, 0.2)
    for shapes in ((0, 0, 0), (1, 0, 1)):
        found = solve(of, of.left.T @ y, shapes)
        rest = y - X[:, shapes, [0, 1, 2]] @ found.effects
        c = coefficients(free, rest)
        squares = np.sum((rest - Z @ c) ** 2) + 0.2 * np.sum(found.effects**2) + 0.5 * c[1] ** 2
        level = y @ y - y @ free.top @ (free.top.T @ y)
        assert found.cost == pytest.approx(squares - level, rel=1e-6, abs=1e-6)


def test_carry_over_and_saturation_are_the_models() -> None:
    draw = np.random.default_rng(4)
    x = draw.gamma(1.0, 1.0, size=20)
    padded = np.concatenate([np.zeros(LAGS - 1), x])
    media = np.stack([padded[LAGS - 1 - lag : LAGS - 1 - lag + 20] for lag in range(LAGS)], axis=-1)[:, None, None]
    found = geometric_logistic(media, SHAPES)
    for g, shape in enumerate(SHAPES):
        carried = reference_media.adstock(x.tolist(), shape.alpha, LAGS)
        expected = [reference_media.saturation(value, shape.lam) for value in carried]
        assert found[g, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-12)


def test_planted_effects_are_recovered() -> None:
    """Under the true shapes, in 10 worlds: the mean error is within 4 standard errors of 0, and each within .15."""
    errors = np.stack([known(world(seed)).effect[0] - EFFECTS for seed in range(10)])
    inside = np.asarray([e for e, true in zip(errors.T, EFFECTS, strict=True) if true > 0.0])
    assert np.all(np.abs(np.mean(inside, axis=1)) < 4.0 * np.std(inside, axis=1, ddof=1) / math.sqrt(10))
    assert np.max(np.abs(errors)) < 0.15


def test_shapes_are_chosen_by_what_they_forecast() -> None:
    """A channel that carries nothing over and one that carries much are told apart, in 6 of 6 worlds."""
    for seed in range(6):
        shape = twin(world(seed, 208)).shape[0]
        assert [SHAPES[shape[m]].alpha for m in (0, 3)] == [SHAPES[TRUE_SHAPES[m]].alpha for m in (0, 3)]


def test_the_error_is_that_of_forecasts_whose_outcomes_were_not_seen() -> None:
    """One fold, one shape: fit the first periods, forecast the last."""
    data, ahead = world(3), 13
    past = FastData(data.y[:-ahead], data.media[:-ahead], data.basis[:-ahead], data.controls[:-ahead])
    free_columns = np.concatenate([np.ones((156, 1)), data.basis, data.controls[:, 0]], axis=1)
    fitted = known(past)
    X = truly(data.media)[:, 0]
    rest = past.y[:, 0] - X[:-ahead] @ fitted.effect[0]
    c = coefficients(eliminate(free_columns[:-ahead], np.asarray([0.0, *[1e-3] * 5])), rest)
    missed = data.y[-ahead:, 0] - X[-ahead:] @ fitted.effect[0] - free_columns[-ahead:] @ c
    assert known(data, folds=1).error[0] == pytest.approx(math.sqrt(np.mean(missed**2)), rel=1e-9)


def test_no_effect_is_negative_and_no_interval_below_zero() -> None:
    data = world(2)
    found = twin(data._replace(y=-data.y))
    assert np.all(found.effect >= 0.0)
    assert np.all(found.lower >= 0.0)
    assert np.any(found.effect == 0.0)


def test_intervals_cover_planted_contributions() -> None:
    """Known shapes, rho = .4, level .9, 40 worlds of 3 channels: 4 binomial errors below nominal at most."""
    inside = []
    for seed in range(40):
        data = world(seed)
        found = known(data)
        true = np.asarray(EFFECTS) * np.mean(truly(data.media), axis=0)[0]
        inside += [found.lower[0, m] <= true[m] <= found.upper[0, m] for m in (0, 1, 3)]
    assert np.mean(inside) > 0.9 - 4.0 * math.sqrt(0.09 / len(inside))


def test_equal_streams_give_equal_results_and_others_do_not() -> None:
    first, second, other = (twin(world(1), seed=seed) for seed in (1, 1, 2))
    for name in FastResult._fields:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert not np.array_equal(first.lower, other.lower)
    assert np.array_equal(first.effect, other.effect)  # the stream is the bootstrap's alone


def test_a_channel_that_never_spends_contributes_nothing() -> None:
    data = world(1)
    media = data.media.copy()
    media[:, :, 2] = 0.0
    found = twin(data._replace(media=media), spec(media_penalty=0.0))
    assert found.contribution[0, 2] == found.lower[0, 2] == found.upper[0, 2] == 0.0
    assert np.all(np.isfinite(found.effect))


def test_pooled_locations_share_effects_and_separate_ones_do_not() -> None:
    data = world(1, places=2)
    pooled, separate = twin(data), twin(data, spec(pooling="none"))
    assert np.array_equal(pooled.effect[0], pooled.effect[1])
    assert not np.array_equal(separate.effect[0], separate.effect[1])
    alone = FastData(data.y[:, 1:], data.media[:, 1:], data.basis, data.controls[:, 1:])
    assert np.allclose(separate.effect[1], twin(alone).effect[0], rtol=1e-9)


def test_series_are_location_major() -> None:
    """Outcome 1 has twice the effects of outcome 0, at both locations."""
    found = known(world(4, places=2, outcomes=2))
    ratio = found.contribution[1::2, :2] / found.contribution[0::2, :2]
    assert np.all(np.abs(ratio - 2.0) < 0.3)


def test_fitted_values_and_coefficients_explain_the_outcome() -> None:
    data = world(5)
    found = known(data)
    assert np.std(data.y - found.fitted) < 1.5 * NOISE / math.sqrt(1.0 - 0.4**2)
    assert found.control[0].tolist() == pytest.approx([0.05, -0.03], abs=0.01)


def test_resampled_residuals_are_blocks_of_the_scaled_ones() -> None:
    residual = np.arange(24.0).reshape(12, 2) ** 1.5
    found = resampled(residual, 6.0, 4, 5, stream())
    scaled = (residual - residual.mean(axis=0)) * math.sqrt(24 / (24 - 6.0))
    assert found.shape == (5, 12, 2)
    for path in found:
        for start in range(0, 12, 4):
            block = path[start : start + 4]
            assert any(np.array_equal(block, scaled[t : t + 4]) for t in range(9))


def test_a_block_of_all_periods_is_the_residuals_themselves() -> None:
    residual = np.random.default_rng(1).normal(size=(12, 2))
    found = resampled(residual, 0.0, 12, 3, stream())
    assert np.array_equal(found, np.broadcast_to(residual - residual.mean(axis=0), (3, 12, 2)))


def test_shapes_are_chosen_again_for_every_resampled_outcome() -> None:
    """An outcome made under other shapes, without noise: one round finds them, and the effects."""
    data = world(1)
    X = np.moveaxis(geometric_logistic(data.media, SHAPES), 0, 2)[:, 0]  # (T, G, M)
    of = problem(eliminate(np.ones((156, 1)), np.zeros(1)), X, 0.0)
    y = X[:, (0, 0, 0, 2), range(4)] @ np.asarray([0.5, 0.4, 0.3, 0.2])
    shapes, effects = rechosen(of, (0, 0, 0, 0), y)
    assert shapes == [0, 0, 0, 2]
    assert effects.tolist() == pytest.approx([0.5, 0.4, 0.3, 0.2], abs=1e-5)
    assert rechosen(of, (0, 0, 0, 2), y)[0] == shapes


def test_degrees_of_freedom_are_the_columns_where_nothing_is_penalised() -> None:
    draw = np.random.default_rng(1)
    Z = draw.normal(size=(30, 4))
    free = eliminate(Z, np.zeros(4))
    assert degrees(free, np.asarray([0.0, 1.0, 2.0])) == pytest.approx(6.0, rel=1e-12)
    assert degrees(eliminate(Z, np.full(4, 1e9)), np.zeros(3)) < 1e-5


def test_every_row_says_that_it_is_released_never() -> None:
    assert get_args(Release) == ("never",)
    found = twin(world(1))
    table = contributions_table(found, ["East"], ["a", "b", "c", "d"], 0.9)
    assert table.schema.equals(TABLE)
    assert set(table.column("release").to_pylist()) == {"never"}
    assert table.column("channel").to_pylist() == ["a", "b", "c", "d"]
    assert table.column("contribution").to_pylist() == found.contribution[0].tolist()


@pytest.mark.parametrize(("changes", "message"), [({"block": 157}, "fast.block"), ({"folds": 12}, "fast.folds")])
def test_what_the_data_do_not_reach_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        twin(world(1), spec(**changes))
