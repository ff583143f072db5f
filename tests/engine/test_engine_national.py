"""Laws of national media: told by the data, refused effects by location, held to their declaration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SpecError
from engine.national import first_departure, national_faults, require_identified
from engine.spec_media import Pooling
from tests import small

LAW = settings(max_examples=40, deadline=None, derandomize=True)
AMOUNT = st.floats(1.0, 100.0)
T, PLACE = st.integers(0, 2), st.integers(0, 1)
PARTIAL = {"kind": "partial", "over": ["location"], "tau_scale": 1.0, "centring": {"kind": "non_centred"}}
OVER_PRODUCTS = PARTIAL | {"over": ["product"]}
SHARED = np.asarray([[10.0, 30.0], [20.0, 60.0], [0.0, 0.0], [15.0, 45.0]])  # a quarter and three quarters
SAME = np.asarray([[10.0, 10.0], [20.0, 20.0], [0.0, 0.0], [15.0, 15.0]])
LOCAL = np.asarray([[10.0, 30.0], [20.0, 50.0], [0.0, 0.0], [15.0, 45.0]])


def faults(spend: np.ndarray, pooling: dict[str, Any], national: bool) -> list[str]:
    """Of a table whose channel tv is `spend` (time, 2) and whose search is local."""
    media = small.raw()["data"]["media"]
    spec = small.spec(data__media=[media[0] | {"national": national}, media[1]], model__media__pooling=pooling)
    panel = small.panel(spec, time=len(spend))
    panel.media[:, :, 0] = spend
    return list(national_faults(spec.data.media, spec.model.media.pooling, panel))


@pytest.mark.parametrize("spend", [SAME, SHARED], ids=["same", "shared"])
@pytest.mark.parametrize("pooling", [PARTIAL, {"kind": "none"}], ids=["partial", "none"])
def test_effects_by_location_of_national_media_are_refused(spend: np.ndarray, pooling: dict[str, Any]) -> None:
    (fault,) = faults(spend, pooling, national=False)
    assert "data.media.tv: expected national: true" in fault
    assert f"found pooling {pooling['kind']}" in fault


@pytest.mark.parametrize("spend", [SAME, SHARED], ids=["same", "shared"])
@pytest.mark.parametrize("pooling", [PARTIAL, {"kind": "none"}, {"kind": "complete"}], ids=lambda p: str(p["kind"]))
def test_declared_national_media_are_accepted(spend: np.ndarray, pooling: dict[str, Any]) -> None:
    assert faults(spend, pooling, national=True) == []


@pytest.mark.parametrize("pooling", [{"kind": "complete"}, OVER_PRODUCTS], ids=["complete", "products"])
def test_one_effect_for_all_locations_needs_no_declaration(pooling: dict[str, Any]) -> None:
    assert faults(SHARED, pooling, national=False) == []


def test_local_media_are_free_and_may_not_be_declared_national() -> None:
    assert faults(LOCAL, PARTIAL, national=False) == []
    (fault,) = faults(LOCAL, PARTIAL, national=True)
    assert fault.startswith("data.media.tv.national: expected the same, or a fixed share, in every location")


@pytest.mark.parametrize("odd", [61.0, 0.0])
def test_the_odd_period_is_named_and_not_the_first(odd: float) -> None:
    spend = np.repeat(SHARED, 5, axis=0)
    spend[7, 1] = odd
    departure = first_departure(spend)
    assert departure is not None
    assert departure.time == 7
    (fault,) = faults(spend, PARTIAL, national=True)
    assert f"on {small.START + timedelta(days=49)}, where its share is" in fault


def test_the_message_says_what_was_found_and_what_a_share_would_be() -> None:
    spend = np.repeat(SAME, 5, axis=0)
    spend[3, 1] = 0.0
    (fault,) = faults(spend, {"kind": "complete"}, national=True)
    assert f"found 10.0 in East on {small.START + timedelta(days=21)}, where its share is 5.0" in fault


@LAW
@given(st.lists(AMOUNT, min_size=2, max_size=8), st.lists(AMOUNT, min_size=2, max_size=4))
def test_any_shares_of_any_series_are_national(totals: list[float], shares: list[float]) -> None:
    assert first_departure(np.outer(totals, shares)) is None
    cents = np.round(np.outer(totals, shares) * 1000.0, 2)  # an allocation is booked in cents
    assert first_departure(cents) is None


@LAW
@given(st.lists(AMOUNT, min_size=3, max_size=8), st.lists(AMOUNT, min_size=2, max_size=4), st.tuples(T, PLACE))
def test_one_cell_doubled_is_local(totals: list[float], shares: list[float], cell: tuple[int, int]) -> None:
    spend = np.outer(totals, shares)
    spend[cell] *= 2.0
    assert first_departure(spend) is not None


@pytest.mark.parametrize(
    "spend",
    [
        [[10.0, 0.0], [20.0, 0.0], [5.0, 0.0], [7.0, 0.0]],  # bought in one location alone
        [[0.0, 0.0], [20.0, 30.0], [0.0, 0.0], [0.0, 0.0]],  # on once, at rates of its own
    ],
)
def test_what_varies_between_locations_is_local_though_its_shares_are_fixed(spend: Sequence[Sequence[float]]) -> None:
    assert faults(np.asarray(spend), PARTIAL, national=False) == []


def test_a_channel_that_never_spent_and_a_single_location_raise_no_question() -> None:
    assert faults(np.zeros((4, 2)), PARTIAL, national=False) == []
    spec = small.spec(data__locations=["East"], model__media__pooling=PARTIAL)
    assert list(national_faults(spec.data.media, spec.model.media.pooling, small.panel(spec))) == []


def test_every_fault_is_in_one_refusal() -> None:
    spec = small.spec(model__media__pooling=PARTIAL)
    panel = small.panel(spec, time=4)
    pooling: Pooling = spec.model.media.pooling
    require_identified(spec.data.media, pooling, panel)
    panel.media[:, :, 0], panel.media[:, :, 1] = SAME, SHARED
    with pytest.raises(SpecError, match=r"national media: data.media.tv: .*; data.media.search: "):
        require_identified(spec.data.media, pooling, panel)
