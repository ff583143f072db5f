"""A specification is exactly what is written: no unknown field, no coercion, no value that is not a number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from engine.declared import Frozen
from engine.errors import SpecError
from engine.spec import Spec, parse_spec, period_dates
from tests import classes, small


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


NUMBERS = [path for path, value in leaves(small.raw()) if type(value) in (int, float)]
SWITCHES = [path for path, value in leaves(small.raw()) if isinstance(value, bool)]
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


@pytest.mark.parametrize("path", SWITCHES, ids=str)
@pytest.mark.parametrize("value", [1, 0, "true", "yes", None, [], 1.0])
def test_what_is_neither_true_nor_false_is_refused(path: tuple[str | int, ...], value: object) -> None:
    assert parse_spec(replaced(path, True)) != parse_spec(replaced(path, False))
    with pytest.raises(SpecError, match=r"not valid"):
        parse_spec(replaced(path, value))


@pytest.mark.parametrize("path", TEXTS, ids=str)
@pytest.mark.parametrize("value", [1, None, "", "x" * 501, ["a"]])
def test_what_is_not_the_text_asked_for_is_refused(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(SpecError, match=r"not valid"):
        parse_spec(replaced(path, value))


# Every class of model, and every kind of part.

PARTS_THAT_MAY_BE_LEFT_OUT = {
    "frequency", "group", "national", "role", "further", "errors", "mediators", "covariance", "cross_effects",
    "lift_tests", "roi_priors", "interactions", "variation", "selection", "orthogonalise", "checks", "creatives",
    "feature", "value",
}  # fmt: skip


@pytest.mark.parametrize("name", classes.CLASSES)
def test_every_class_survives_its_own_json_and_is_closed(name: str) -> None:
    """In each of its objects an unknown field is refused, and a missing one unless it is a part that may be absent."""
    spec = classes.spec(name)
    assert parse_spec(spec.model_dump_json().encode()) == spec
    whole = spec.model_dump(mode="json")
    places = [whole, *(value for _, value in leaves(whole) if isinstance(value, dict))]
    for place in places:
        place["typo"] = 1
        with pytest.raises(SpecError, match="typo: Extra inputs are not permitted"):
            parse_spec(json.dumps(whole).encode())
        del place["typo"]
        for field in set(place) - PARTS_THAT_MAY_BE_LEFT_OUT:
            value = place.pop(field)
            with pytest.raises(SpecError, match=f"{field}: Field required|discriminator '{field}'"):
                parse_spec(json.dumps(whole).encode())
            place[field] = value


def declared(of: type[Frozen] = Frozen) -> Iterator[type[Frozen]]:
    """Every class that a specification is made of."""
    for each in of.__subclasses__():
        yield from declared(each)
        if each.__module__.startswith("engine.spec"):
            yield each


def test_no_number_has_a_default() -> None:
    """What may be left out leaves a part of the model out, or says what a column plainly is: no number is implied."""
    found = {
        (field, info.default)
        for each in declared()
        for field, info in each.model_fields.items()
        if not info.is_required()
    }
    assert {default for _, default in found} <= {None, (), False, "confounder"}
    assert {field for field, _ in found} >= PARTS_THAT_MAY_BE_LEFT_OUT


def test_everything_declared_is_frozen_closed_and_strict() -> None:
    for each in declared():
        config = each.model_config
        assert (config["frozen"], config["extra"], config["strict"]) == (True, "forbid", True), each


def test_every_fault_is_named_with_what_was_found() -> None:
    whole = small.raw()
    whole["model"]["outcome"] = "logarithmic"
    whole["holdout"]["periods"] = 0
    with pytest.raises(SpecError) as refused:
        parse_spec(json.dumps(whole).encode())
    assert "model.outcome: Input should be 'linear' or 'log' (found 'logarithmic')" in str(refused.value)
    assert "holdout.periods:" in str(refused.value)
    assert "(found 0)" in str(refused.value)


STUDENT = {"kind": "student_t", "shape": 2.0, "rate": 0.1}
WHITE, LKJ = {"kind": "white"}, {"kind": "lkj", "eta": 2.0}
MEDIATOR: dict[str, Any] = {
    "name": "awareness", "kind": "full", "channels": ["tv"], "outcomes": ["sales"], "path_scale": 1.0,
    "effect_scale": 0.2, "positive": True, "noise_scale": 0.5, "survey_scale": None,
}  # fmt: skip
CROSS = {"source": "sales", "target": "other", "kind": "halo", "scale": 0.3, "promotion": None, "lagged": False}


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
        ({"model__covariance": LKJ, "model__likelihood": STUDENT}, "expected normal with a covariance or mediators"),
        ({"model__mediators": [MEDIATOR], "model__likelihood": STUDENT}, "expected normal with a covariance or media"),
        ({"model__mediators": [{**MEDIATOR, "kind": "partial"}]}, "expected white with mediators .* found ar1"),
        ({"model__mediators": [{**MEDIATOR, "survey_scale": 0.1}]}, "expected white with mediators .* found ar1"),
        (
            {"model__mediators": [{**MEDIATOR, "kind": "latent", "survey_scale": 0.1}], "model__residual": WHITE},
            "awareness.survey_scale: expected none of a latent mediator",
        ),
        ({"model__cross_effects": [{**CROSS, "target": "sales"}]}, "expected two outcomes, found sales twice"),
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
