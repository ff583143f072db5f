"""Seasons recur, by the textbook's sums; waves that no data could tell apart are refused."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from engine.seasonality import fourier, fourier_basis, scales
from engine.spec_trend import Season, Seasons
from tests import reference_trend as twin

LAW = settings(max_examples=15, deadline=None, derandomize=True)
YEARLY = Season(period=52.1775, harmonics=3, scale=0.2)
MONTHLY = Season(period=4.348, harmonics=2, scale=0.05)
WEEKLY = Season(period=7.0, harmonics=3, scale=0.1)  # of a daily table


def declared(*seasons: Season) -> tuple[Season, ...]:
    made: tuple[Season, ...] = TypeAdapter(Seasons).validate_python(seasons)
    return made


@pytest.mark.parametrize(
    ("season", "recurs"),
    [(WEEKLY, 7), (MONTHLY, 1087), (Season(period=4.5, harmonics=2, scale=1.0), 9), (YEARLY, 20871)],
)
def test_a_season_recurs_after_whole_periods(season: Season, recurs: int) -> None:
    # 1087 = 250 months of 4.348 weeks, 20871 = 400 years of 52.1775
    found = np.asarray(fourier([season], recurs + 20))
    np.testing.assert_allclose(found[recurs:], found[:20], atol=1e-8)
    assert np.abs(found[recurs - 1] - found[0]).max() > 1e-3


@LAW
@given(st.floats(2.0, 60.0), st.integers(1, 6), st.floats(2.0, 60.0), st.integers(1, 6))
def test_seasons_agree_with_the_textbook(first: float, many: int, second: float, few: int) -> None:
    seasons = [
        Season(period=max(first, 2.0 * many), harmonics=many, scale=0.1),
        Season(period=max(second, 2.0 * few), harmonics=few, scale=0.7),
    ]
    basis = np.asarray(fourier(seasons, 30))
    assert basis.shape == (30, 2 * (many + few))
    weights = [((37 * i) % 101 - 50) / 100.0 for i in range(basis.shape[1])]
    slow = [
        twin.season(seasons[0].period, weights[: 2 * many], t) + twin.season(seasons[1].period, weights[2 * many :], t)
        for t in range(30)
    ]
    np.testing.assert_allclose(basis @ np.asarray(weights), slow, atol=1e-12)


def test_each_season_keeps_its_columns_and_its_scale() -> None:
    seasons = declared(YEARLY, MONTHLY)
    both = fourier(seasons, 60)
    assert both[:, :6].tolist() == fourier_basis(60, 52.1775, 3).tolist()
    assert both[:, 6:].tolist() == fourier_basis(60, 4.348, 2).tolist()
    assert scales(seasons).tolist() == [0.2] * 6 + [0.05] * 4


def test_no_season_has_no_columns() -> None:
    assert fourier((), 10).shape == (10, 0)
    assert scales(()).shape == (0,)
    assert fourier((), 10).dtype == scales(()).dtype == jnp.float64


@pytest.mark.parametrize(("period", "harmonics"), [(7.0, 4), (4.348, 3), (1.9, 1)])
def test_a_wave_faster_than_the_table_can_show_is_refused(period: float, harmonics: int) -> None:
    with pytest.raises(ValidationError, match=rf"expected at most {int(period / 2)} harmonics"):
        Season(period=period, harmonics=harmonics, scale=0.1)


def test_the_wave_refused_looks_like_a_slower_one() -> None:
    fast, slow = np.asarray(fourier_basis(40, 7.0, 4)), np.asarray(fourier_basis(40, 7.0, 3))
    np.testing.assert_allclose(fast[:, 3], slow[:, 2], atol=1e-12)  # cosines of 4/7 and of 3/7


def test_two_waves_of_one_length_are_refused() -> None:
    year = Season(period=52.1775, harmonics=12, scale=0.1)
    with pytest.raises(ValidationError, match=r"harmonic 12 of period 52.1775 and harmonic 1 of period 4.348"):
        declared(year, MONTHLY)
    with pytest.raises(ValidationError, match="which no data tell apart"):
        declared(WEEKLY, WEEKLY)
    assert declared(YEARLY, MONTHLY, WEEKLY) == (YEARLY, MONTHLY, WEEKLY)
