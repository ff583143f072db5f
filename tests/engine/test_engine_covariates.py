"""Features of creatives as covariates: laws of the summary, and what a specification may not ask for."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.covariates import FieldKind, Flight, covariate, numbers, with_covariates
from engine.errors import SpecError
from engine.spec_creatives import Feature
from engine.table import schema_of, to_panel
from tests import small

START, DAYS = date(2024, 1, 1), 7
PERIODS = [START + timedelta(days=DAYS * t) for t in range(6)]
PLACES = ("East", "North", "West")
CHANNELS = ("tv", "search")

DATES = st.integers(-20, 60).map(lambda d: START + timedelta(days=d))
FLIGHTS = st.builds(
    lambda channel, places, first, length: Flight(channel, tuple(sorted(places)), first, first + timedelta(length)),
    st.sampled_from(CHANNELS), st.sets(st.sampled_from(PLACES)), DATES, st.integers(0, 30),
)  # fmt: skip
VALUES = st.floats(-1e9, 1e9)


def feature(**changes: Any) -> Feature:
    declared = {"extractor": "offer", "field": "offer", "channels": ("tv",), "summary": "mean", "empty": -1.0}
    return Feature.model_validate({**declared, **changes})


@given(st.lists(st.tuples(FLIGHTS, VALUES), max_size=8), st.sampled_from([(), ("tv",), CHANNELS]), st.booleans())
def test_it_is_the_exact_sum_or_mean_over_what_ran(
    creatives: list[tuple[Flight, float]], channels: tuple[str, ...], mean: bool
) -> None:
    asked = feature(channels=channels, summary="mean" if mean else "sum")
    flights, values = [flight for flight, _ in creatives], [value for _, value in creatives]
    found = covariate(asked, flights, values, PERIODS, DAYS, PLACES)
    assert found.shape == (len(PERIODS), len(PLACES))
    for t, period in enumerate(PERIODS):
        week = {period + timedelta(days=d) for d in range(DAYS)}
        for g, place in enumerate(PLACES):
            ran = [
                Fraction(value)
                for flight, value in creatives
                if (not channels or flight.channel in channels)
                and (not flight.locations or place in flight.locations)
                and any(flight.first <= day <= flight.last for day in week)
            ]
            total = float(sum(ran))
            assert found[t, g] == ((total / len(ran) if mean else total) if ran else -1.0)


@given(st.lists(st.tuples(FLIGHTS, VALUES), max_size=8), st.randoms(use_true_random=False))
def test_no_order_of_creatives_shows(creatives: list[tuple[Flight, float]], shuffle: Any) -> None:
    other = list(creatives)
    shuffle.shuffle(other)
    first, second = (
        covariate(feature(channels=()), [f for f, _ in some], [v for _, v in some], PERIODS, DAYS, PLACES)
        for some in (creatives, other)
    )
    assert first.tobytes() == second.tobytes()


def test_a_week_begins_on_its_date_and_ends_before_the_next() -> None:
    ran = Flight("tv", (), START + timedelta(days=6), START + timedelta(days=7))
    found = covariate(feature(), [ran], [2.5], PERIODS, DAYS, ("East",))
    assert found[:, 0].tolist() == [2.5, 2.5, -1.0, -1.0, -1.0, -1.0]


def test_a_share_counts_the_declared_value() -> None:
    kind = FieldKind("choice", ("none", "discount"))
    assert numbers("c", feature(value="discount"), kind, ["none", "discount", "none"]) == [0.0, 1.0, 0.0]
    assert numbers("c", feature(), FieldKind("flag"), [True, False]) == [1.0, 0.0]
    assert numbers("c", feature(), FieldKind("number"), [0.5, 2]) == [0.5, 2.0]


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({}, None, r"data\.controls\.c\.feature\.field: expected a field of extractor offer, found offer"),
        (
            {"value": "gift"},
            FieldKind("choice", ("none", "trial")),
            r"\.value: expected one of .* found gift",
        ),
        ({}, FieldKind("choice", ("none", "trial")), r"\.value: expected one of none, trial, found None"),
        ({"value": "x"}, FieldKind("number"), r"\.value: expected none, for offer is a number, found x"),
        ({"value": "true"}, FieldKind("flag"), r"\.value: expected none, for offer is a flag, found true"),
    ],
)
def test_what_an_extractor_does_not_give_is_refused(
    changes: dict[str, Any], field: FieldKind | None, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        numbers("c", feature(**changes), field, [])


CREATIVES = {
    "folder": "data/creatives/small", "max_bytes": 1000,
    "extractors": [{"kind": "local", "name": "words", "model": "lexicon"}]
}  # fmt: skip
WORDS = {
    "name": "words", "column": "words.urgency", "unit": "share", "role": "precision",
    "feature": {
        "extractor": "words", "field": "urgency", "value": None, "channels": ["tv"], "summary": "mean", "empty": 0.0,
    },
}  # fmt: skip
PRICE = {"name": "price", "column": "price", "unit": "USD", "role": "confounder"}


def test_a_covariate_is_a_control_like_any_other() -> None:
    data = small.spec(data__controls=[WORDS, PRICE], data__creatives=CREATIVES).data
    assert [column.name for column in data.of_table.controls] == ["price"]
    schema = schema_of(data.of_table)
    rows = [(period, place) for period in PERIODS for place in sorted(data.locations)]
    columns = [pa.array([period for period, _ in rows], pa.date32()), pa.array([place for _, place in rows])]
    columns += [pa.array(np.arange(len(rows)) + k, pa.float64()) for k in range(len(schema) - 2)]
    table = pa.Table.from_arrays(columns, schema=schema)
    made = np.arange(len(rows), dtype=float).reshape(len(PERIODS), -1) / 7.0
    panel = to_panel(with_covariates(table, data, {"words": made}), data)
    assert panel.controls[:, :, 0].tolist() == made.tolist()
    own = to_panel(table, data.of_table)
    assert panel.controls[:, :, 1].tolist() == own.controls[:, :, 0].tolist()
    assert (panel.kpi.tolist(), panel.media.tolist()) == (own.kpi.tolist(), own.media.tolist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__creatives": None}, r"data\.controls\.words\.feature: expected an extractor .*\(none\), found words"),
        ({"extractor": "other"}, r"expected an extractor of data\.creatives \(words\), found other"),
        ({"field": "price"}, r"data\.controls\.words\.column: expected words\.price, .* found words\.urgency"),
        ({"channels": ["radio"]}, r"expected a channel \(tv, search\), found radio"),
    ],
)
def test_a_feature_of_nothing_declared_is_refused(changes: dict[str, Any], message: str) -> None:
    moved = {name: value for name, value in changes.items() if not name.startswith("data__")}
    column = {**WORDS, "feature": {**WORDS["feature"], **moved}}
    rest = {name: value for name, value in changes.items() if name.startswith("data__")}
    with pytest.raises(SpecError, match=message):
        small.spec(**{"data__controls": [column], "data__creatives": CREATIVES, **rest})


@pytest.mark.parametrize(
    ("extractors", "message"),
    [
        ([{"kind": "local", "name": "a", "model": "lexicon"}] * 2, "expected distinct names, found a more"),
        (
            [{"kind": "local", "name": "table", "model": "lexicon"}],
            "expected other names .* found table",
        ),
        ([{"kind": "local", "name": "a", "model": "gpt"}], "model"),
    ],
)
def test_extractors_that_cannot_be_told_apart_are_refused(extractors: list[Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        small.spec(data__creatives={**CREATIVES, "extractors": extractors})
