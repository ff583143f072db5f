"""A specification is exactly what is written: no unknown field, no coercion, no value that is not a number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import SpecError
from engine.spec import Spec, parse_spec, period_dates
from tests import small


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key), inner
        yield from leaves(inner, (*path, key))


def replaced(path: tuple[str | int, ...], value: object) -> bytes:
    whole: Any = small.raw()
    place = whole
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(whole).encode()


NUMBERS = [path for path, value in leaves(small.raw()) if isinstance(value, int | float)]
TEXTS = [path for path, value in leaves(small.raw()) if isinstance(value, str)]
OBJECTS = [(), *(path for path, value in leaves(small.raw()) if isinstance(value, dict))]


def test_the_small_specification_is_valid_and_survives_its_own_json() -> None:
    spec = small.spec()
    assert parse_spec(spec.model_dump_json().encode()) == spec


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_an_unknown_field_is_refused_by_name(path: tuple[str | int, ...]) -> None:
    with pytest.raises(SpecError, match="typo: Extra inputs are not permitted"):
        parse_spec(replaced((*path, "typo"), 1))


@pytest.mark.parametrize("path", OBJECTS[1:], ids=str)
def test_a_missing_field_is_refused_by_name(path: tuple[str | int, ...]) -> None:
    whole: Any = small.raw()
    place = whole
    for part in path:
        place = place[part]
    name = next(iter(place))
    del place[name]
    with pytest.raises(SpecError, match=f"{name}: Field required|discriminator '{name}'"):
        parse_spec(json.dumps(whole).encode())


@pytest.mark.parametrize("path", NUMBERS, ids=str)
@pytest.mark.parametrize("value", ["1", True, None, -1.5, float("nan"), float("inf"), [1], 1e300])
def test_what_is_not_the_number_asked_for_is_refused(path: tuple[str | int, ...], value: object) -> None:
    if path[-1] == "offset_days" and value == -1:
        return
    if value == 1e300 and path[-1] not in ("seed", "alpha") and isinstance(_at(path), float):
        return  # a huge scale is a number all the same
    with pytest.raises(SpecError, match=r"not valid"):
        parse_spec(replaced(path, value))


def _at(path: tuple[str | int, ...]) -> Any:
    return dict(leaves(small.raw()))[path]


@pytest.mark.parametrize("path", TEXTS, ids=str)
@pytest.mark.parametrize("value", [1, None, "", "x" * 501, ["a"]])
def test_what_is_not_the_text_asked_for_is_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(SpecError, match=r"not valid"):
        parse_spec(replaced(path, value))


def test_every_fault_is_named_with_what_was_found() -> None:
    whole = small.raw()
    whole["model"]["outcome"] = "logarithmic"
    whole["holdout"]["periods"] = 0
    with pytest.raises(SpecError) as refused:
        parse_spec(json.dumps(whole).encode())
    assert "model.outcome: Input should be 'linear' or 'log' (found 'logarithmic')" in str(refused.value)
    assert "holdout.periods:" in str(refused.value)
    assert "(found 0)" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data__kpi": {"name": "tv", "column": "Sales", "unit": "USD"}}, "name used twice: tv"),
        ({"data__kpi": {"name": "sales", "column": "TV", "unit": "USD"}}, "column used twice: TV"),
        ({"data__media": []}, "at least one channel"),
        ({"data__locations": []}, "at least one"),
        ({"data__locations": ["East", "East"]}, "each location once"),
        ({"data__layout": "wide"}, "exactly one location"),
        ({"holdout__periods": 6}, "a multiple of the horizon 4"),
        ({"backtest__first_origin": 13}, "more than a year before the first origin"),
        ({"calibrate__levels": [0.8, 0.5]}, "distinct and ascending"),
        ({"calibrate__levels": [0.5, 0.5]}, "distinct and ascending"),
        ({"calibrate__levels": [0.5, 1.0]}, "less than 1"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        small.spec(**changes)


def test_a_plan_that_looks_back_less_than_a_year_may_start_earlier() -> None:
    assert small.spec(plan__media="recent_mean", backtest__first_origin=13).backtest.first_origin == 13


def test_a_specification_cannot_be_changed() -> None:
    spec = small.spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 8


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff", b'{"schema_version": 2}'])
def test_what_is_no_specification_at_all_is_refused(raw: bytes) -> None:
    with pytest.raises(SpecError):
        parse_spec(raw)


def test_equal_specifications_hash_alike_and_serve_as_keys() -> None:
    assert {small.spec(): 1}[small.spec()] == 1
    assert small.spec(seed=8) not in {small.spec(): 1}
    assert isinstance(small.spec(), Spec)


def test_period_dates_are_whole_steps_apart() -> None:
    assert period_dates(date(2016, 12, 26), 7, 3) == [date(2016, 12, 26), date(2017, 1, 2), date(2017, 1, 9)]
