"""A specification's parts speak of the columns it declares, and everything that is wrong is told once, in one order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import SpecError
from engine.spec_data import DataSpec
from engine.spec_model import ModelSpec
from engine.spec_names import faults
from tests import classes, small
from tests.classes import MULTIPACK, PORTFOLIO, PRICE, PROMOTION, SEARCH, TV

ERROR = {"name": "sales_error", "column": "SalesError", "unit": "USD"}
AWARENESS: dict[str, Any] = classes.AWARENESS[0]
CROSS = {"source": "multipack", "target": "sales", "kind": "halo", "scale": 0.3, "promotion": None, "lagged": False}
MEDIATOR: dict[str, Any] = {
    "name": "awareness", "kind": "full", "channels": ["tv"], "outcomes": ["sales"], "path_scale": 1.0,
    "effect_scale": 0.2, "positive": True, "noise_scale": 0.5, "survey_scale": None,
}  # fmt: skip
TWO_STATES: dict[str, Any] = {"kind": "two_state", "gap_scale": 0.5, "share_a": 4.0, "share_b": 4.0}
LKJ = {"kind": "lkj", "eta": 2.0}


def told(**changes: Any) -> list[str]:
    """What is wrong with `tests.small`'s data and model, a few values replaced, each of the two sound by itself."""
    whole = small.raw()
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = whole
        for parent in parents:
            place = place[parent]
        place[name] = value
    data, model = (json.dumps(whole[part]) for part in ("data", "model"))
    return faults(DataSpec.model_validate_json(data), ModelSpec.model_validate_json(model))


@pytest.mark.parametrize("name", classes.CLASSES)
def test_nothing_is_wrong_with_a_sound_specification(name: str) -> None:
    spec = classes.spec(name)
    assert faults(spec.data, spec.model) == []


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an outcome named like a channel": (
        {"data__further": [{**MULTIPACK, "name": "tv"}]}, "data: name used twice: tv"
    ),
    "an error named like its outcome": (
        {"data__errors": [{**ERROR, "name": "sales"}]}, "data: name used twice: sales"
    ),
    "a column that is two outcomes": (
        {"data__further": [{**MULTIPACK, "column": "Sales"}]}, "data: column used twice: Sales"
    ),
    "an error read from its outcome": (
        {"data__errors": [{**ERROR, "column": "Sales"}]}, "data: column used twice: Sales"
    ),
    "a frequency read from another channel's spend": (
        {"data__media": [{**TV, "frequency": "Search"}, SEARCH]}, "data: column used twice: Search"
    ),
    "one frequency for two channels": (
        {"data__media": [{**TV, "frequency": "Contacts"}, {**SEARCH, "frequency": "Contacts"}]},
        "data: column used twice: Contacts",
    ),
    "a mediator read from a control": (
        {"data__mediators": [{**AWARENESS, "column": "Price"}], "model__mediators": [MEDIATOR]},
        "data: column used twice: Price",
    ),
    "an error of one outcome alone": (
        {"data__further": [MULTIPACK], "data__errors": [ERROR]},
        "data.errors: expected none or one an outcome (2), found 1",
    ),
    "more errors than outcomes": (
        {"data__errors": [ERROR, {"name": "other", "column": "Other", "unit": "USD"}]},
        "data.errors: expected none or one an outcome (1), found 2",
    ),
    "a covariance of one outcome": (
        {"model__covariance": LKJ}, "model.covariance: expected none with one outcome, found lkj"
    ),
    "two states of two outcomes": (
        {"data__further": [MULTIPACK], "model__likelihood": TWO_STATES, "model__residual": {"kind": "white"}},
        "model.likelihood: expected normal or student_t with 2 outcomes, found two_state",
    ),
    "an interaction with no channel": (
        {"model__media__interactions": [{"first": "tv", "second": "radio", "sd": 0.1}]},
        "model.media.interactions: expected a declared channel (tv, search), found radio",
    ),
    "an interaction with a control": (
        {"model__media__interactions": [{"first": "price", "second": "tv", "sd": 0.1}]},
        "model.media.interactions: expected a declared channel (tv, search), found price",
    ),
    "a cross-effect of no outcome": (
        {"model__cross_effects": [CROSS]},
        "model.cross_effects: expected a declared outcome (sales), found multipack",
    ),
    "a promotion that is no control": (
        {"data__further": [MULTIPACK], "model__cross_effects": [{**CROSS, "promotion": "tv"}]},
        "model.cross_effects: expected a declared control (price), found tv",
    ),
    "a promotion where there are no controls": (
        {
            "data__further": [MULTIPACK], "data__controls": [],
            "model__cross_effects": [{**CROSS, "promotion": "price"}],
        },
        "model.cross_effects: expected a declared control (none), found price",
    ),
    "a cross-effect twice": (
        {"data__further": [MULTIPACK], "model__cross_effects": [CROSS, {**CROSS, "kind": "spillover"}]},
        "model.cross_effects: expected each effect once, found multipack on sales twice",
    ),
    "a mediator of no channel": (
        {"data__mediators": [AWARENESS], "model__mediators": [{**MEDIATOR, "channels": ["tv", "radio"]}]},
        "model.mediators.awareness.channels: expected a declared channel (tv, search), found radio",
    ),
    "a mediator of no outcome": (
        {"data__mediators": [AWARENESS], "model__mediators": [{**MEDIATOR, "outcomes": ["multipack"]}]},
        "model.mediators.awareness.outcomes: expected a declared outcome (sales), found multipack",
    ),
    "a mediator without its column": (
        {"model__mediators": [MEDIATOR]}, "data.mediators: expected the columns of awareness, found none"
    ),
    "a column without its mediator": (
        {"data__mediators": [AWARENESS]}, "data.mediators: expected the columns of no mediator, found awareness"
    ),
    "a latent mediator with a column": (
        {"data__mediators": [AWARENESS], "model__mediators": [{**MEDIATOR, "kind": "latent"}]},
        "data.mediators: expected the columns of no mediator, found awareness",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_what_is_wrong_is_told_once_with_what_was_expected_and_found(what: str) -> None:
    changes, message = FAULTS[what]
    assert told(**changes) == [message]
    with pytest.raises(SpecError) as refused:
        small.spec(**changes)
    assert str(refused.value).count(message) == 1


@pytest.mark.parametrize(
    "other",
    [{"lagged": True}, {"promotion": "promotion"}, {"source": "sales", "target": "multipack"}],
    ids=["lagged", "promoted", "back"],
)
def test_effects_that_differ_in_more_than_their_prior_are_different_effects(other: dict[str, Any]) -> None:
    both = [CROSS, {**CROSS, **other}]
    assert told(data__controls=[PRICE, PROMOTION], data__further=[MULTIPACK], model__cross_effects=both) == []


def test_a_channel_that_is_a_campaigns_group_and_a_shared_unit_are_no_faults() -> None:
    assert told(data__media=[{**TV, "group": "search"}, {**SEARCH, "unit": "EUR"}]) == []


EVERYTHING: dict[str, Any] = {
    "data__further": [{**MULTIPACK, "name": "sales"}],
    "data__errors": [ERROR],
    "data__mediators": [AWARENESS],
    "model__media__interactions": [{"first": "tv", "second": "radio", "sd": 0.1}],
    "model__controls__selection": {"kind": "lasso", "controls": ["price"], "penalty": 1.0},
}


def test_all_names_are_judged_together_and_told_in_one_order() -> None:
    with pytest.raises(SpecError) as refused:
        small.spec(**EVERYTHING)
    said = str(refused.value)
    places = ["name used twice: sales", "found radio", "data.errors:", "data.mediators:", "found confounder price"]
    assert [said.count(place) for place in places] == [1] * len(places)
    assert [said.index(place) for place in places] == sorted(said.index(place) for place in places)


def test_names_come_before_what_contradicts_itself_elsewhere() -> None:
    """One step's faults are all told, and hide those of the next: names first, then the rest."""
    with pytest.raises(SpecError) as refused:
        small.spec(**EVERYTHING, data__layout="wide", holdout__periods=6)
    assert "name used twice" in str(refused.value)
    assert "wide table" not in str(refused.value)
    assert "holdout" not in str(refused.value)


def test_a_part_that_is_wrong_by_itself_is_told_before_parts_are_held_together() -> None:
    with pytest.raises(SpecError) as refused:
        small.spec(**EVERYTHING, model__likelihood=TWO_STATES, data__frequency_days=0)
    said = str(refused.value)
    assert "model: Value error, model.residual: expected white" in said
    assert "data.frequency_days: Input should be greater than or equal to 1 (found 0)" in said
    assert "used twice" not in said


def test_series_are_named_by_location_alone_until_there_are_several_outcomes() -> None:
    one, two = small.spec().data, small.spec(**PORTFOLIO).data
    assert one.series == ("East", "West")
    assert two.series == ("East/sales", "East/multipack", "West/sales", "West/multipack")
    assert small.panel(small.spec(**PORTFOLIO)).series == two.series
    national = small.spec(**PORTFOLIO, data__locations=["US"]).data
    assert national.series == ("US/sales", "US/multipack")
