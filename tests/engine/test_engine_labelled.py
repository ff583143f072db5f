"""Labelled series: what each class of event looks like, noise of variance one, and real series as their files say."""

from __future__ import annotations

import csv
import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.errors import CalibrationError
from engine.labelled import PULSE, QUARTER, SHIFT, Labelled, Observed, observed, simulated, together
from engine.registered import Kind, KnownEvent
from registry import regimes
from tests.fresh import REPOSITORY

FIRST = date(2021, 3, 1)
PERIODS = 120
FOLDER = REPOSITORY / "data" / "labelled"


def event(kind: Kind, name: str = "e", weeks: int = 0) -> KnownEvent:
    last = FIRST + timedelta(days=max(7 * weeks - 1, 0))
    return KnownEvent(id=name, kind=kind, first=FIRST, last=last, public=FIRST, confidence="high")


def series(kind: Kind, weeks: int = 0, repeats: int = 60) -> tuple[Labelled, ...]:
    return simulated([event(kind, weeks=weeks)], repeats, PERIODS, seed=1)


def file(name: str) -> Observed:
    return Observed.model_validate_json((FOLDER / f"{name}.json").read_bytes())


def apart(one: Labelled, plain: Labelled) -> np.ndarray:
    """What the event added: the same draws without it."""
    return np.asarray([x - y for x, y in zip(one.residuals, plain.residuals, strict=True)])


def test_each_class_has_its_shape() -> None:
    nothing = series("null_announcement")
    for one, plain in zip(series("measurement_change"), nothing, strict=True):
        (change,) = one.changes
        added = apart(one, plain)
        assert (added[: change.start] == 0.0).all()
        np.testing.assert_allclose(np.abs(added[change.start :]), change.size, rtol=1e-12)
        assert SHIFT[0] <= change.size <= SHIFT[1]
        assert PERIODS // 2 <= change.start < 3 * PERIODS // 4
        assert one.quiet == change.start
    for one, plain in zip(series("transient_promotion", weeks=3), nothing, strict=True):
        added = apart(one, plain)[one.quiet :]
        assert one.changes == ()
        assert PULSE[0] - 1e-9 <= added[0] <= PULSE[1] + 1e-9
        np.testing.assert_allclose(added[:4], [added[0]] * 3 + [0.0], atol=1e-12)
    ways = {
        float(np.sign(apart(one, plain)[one.quiet])) for one, plain in zip(series("artefact", 1), nothing, strict=True)
    }
    assert ways == {-1.0, 1.0}
    assert all(each.changes == () and each.quiet == PERIODS for each in nothing)


def test_a_change_of_regime_is_a_shift_or_a_slope_that_reaches_its_size_in_a_quarter() -> None:
    slopes = 0
    for one, plain in zip(series("regime_change"), series("null_announcement"), strict=True):
        (change,) = one.changes
        added = np.abs(apart(one, plain))[change.start :]
        assert added[0] == pytest.approx(change.size)
        if added[-1] > 1.1 * added[0]:
            slopes += 1
            reached = added[QUARTER - 1]
            assert reached == pytest.approx(QUARTER * added[0])
            assert SHIFT[0] - 1e-9 <= reached <= SHIFT[1] + 1e-9
            assert (np.diff(added) >= -1e-9).all()
            assert added[-1] == pytest.approx(2 * reached)
    assert 5 <= slopes <= 25  # a quarter of 60


def test_a_change_with_an_end_changes_back() -> None:
    for one in series("measurement_change", weeks=10):
        first, second = one.changes
        assert second.start - first.start == 10
        assert first.size == pytest.approx(second.size)


def test_what_took_half_a_year_to_end_is_two_changes() -> None:
    for one in series("artefact", weeks=27, repeats=9):
        assert [each.start - one.quiet for each in one.changes] == [0, 27]
    assert all(one.changes == () for one in series("artefact", weeks=25, repeats=9))


def test_noise_has_variance_one_whatever_its_form() -> None:
    quiet = [np.asarray(one.residuals) for one in series("null_announcement", repeats=600)]
    for form in range(3):
        drawn = np.concatenate(quiet[form::3])
        assert abs(drawn.mean()) < 0.02
        assert abs(drawn.std() - 1.0) < 0.03  # 24,000 draws; t with 4 degrees of freedom has heavy tails
    lagged = [float(np.mean(x[1:] * x[:-1])) for x in (np.concatenate(quiet[form::3]) for form in range(3))]
    np.testing.assert_allclose(lagged, [0.0, 0.0, 0.3], atol=0.03)
    tails = [float(np.mean(np.abs(np.concatenate(quiet[form::3])) > 4.0)) for form in range(3)]
    assert tails[1] > 10 * max(tails[0], tails[2])


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.permutations(["a1", "b2", "c3"]), st.integers(0, 2**40))
def test_a_series_depends_on_its_event_and_the_seed_alone(names: list[str], seed: int) -> None:
    # the form of the noise goes by turns, so that few series hold all three: three repeats keep the turns in step
    events = [event("artefact", name, weeks=2) for name in names]
    found = {each.residuals for each in simulated(events, 3, 40, seed)}
    assert found == {
        each.residuals for one in sorted(names) for each in simulated([event("artefact", one, 2)], 3, 40, seed)
    }
    assert found.isdisjoint(each.residuals for each in simulated(events, 3, 40, seed + 1))


def test_no_events_give_no_series() -> None:
    assert simulated([], 3, 40, 1) == ()


def test_a_real_series_is_standardised_by_what_came_before() -> None:
    nile = file("nile")
    found = observed(nile)
    known = np.asarray(nile.values[: nile.known])
    np.testing.assert_allclose(
        found.residuals, (np.asarray(nile.values) - known.mean()) / known.std(ddof=1), rtol=1e-10
    )
    assert ([each.start for each in found.changes], found.quiet, found.simulated) == ([28], 28, False)


def test_trend_and_season_are_those_of_least_squares() -> None:
    retail = file("retail")
    t = np.arange(len(retail.values))
    angle = 2 * math.pi * np.outer(t, [1, 2, 3]) / 52.1775
    design = np.column_stack([np.ones(len(t)), t, np.cos(angle), np.sin(angle)])
    y = np.log(retail.values)
    fitted = np.linalg.lstsq(design[:105], y[:105], rcond=None)[0]
    left = y - design @ fitted
    sd = math.sqrt(float(left[:105] @ left[:105]) / (105 - 8))
    np.testing.assert_allclose(observed(retail).residuals, left / sd, rtol=1e-7, atol=1e-9)


def test_retail_is_the_shipped_table_without_its_holdout() -> None:
    with (REPOSITORY / "data" / "retail_case_study_209w.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert list(file("retail").values) == [float(row["sales"]) for row in rows[:-26]]


def test_retail_is_labelled_around_its_registered_promotions() -> None:
    shipped = {each.id: each for each in regimes.load(REPOSITORY / "registry" / "regimes").events}
    start = date(2014, 8, 3)
    judged = {t for first, end in file("retail").judged for t in range(first, end)}
    names = file("retail").events
    weeks = {(shipped[name].first - start).days // 7 for name in names}
    assert weeks <= judged
    assert all(min(abs(t - week) for week in weeks) <= 5 for t in judged)
    assert all(shipped[name].kind == "transient_promotion" for name in names)


def test_a_real_series_is_held_out_with_what_was_simulated_around_its_events() -> None:
    made = simulated([event("artefact", "bfcm_2016"), event("artefact", "other_2016")], 3, 40, 1)
    found = together(made, [file("nile"), file("retail")])
    assert [each.group for each in found] == ["retail"] * 3 + ["other_2016"] * 3 + ["nile", "retail"]
    assert [each.residuals for each in found[:6]] == [each.residuals for each in made]
    with pytest.raises(CalibrationError, match="again: expected events of its own, found bfcm_2014 of retail too"):
        together(made, [file("retail"), file("retail").model_copy(update={"name": "again"})])


def test_a_label_outside_the_series_is_refused() -> None:
    with pytest.raises(ValidationError, match="within its 100 values, found 101"):
        Observed.model_validate({**file("nile").model_dump(), "changes": (101,)})
