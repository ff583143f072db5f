"""A client's own events beside the shipped ones: same schema, no clash of ids, may supersede; bytes that bind them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_case import GOOD, event, folder, named

from registry import regimes
from registry.errors import RegimeError, RegistryUnavailableError
from registry.record import record
from registry.regimes import Registry, events_bytes, parse_events


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return folder(tmp_path / "regimes", outage_2020=GOOD)


def test_private_events_lie_beside_the_shipped_ones(shipped: Path, tmp_path: Path) -> None:
    own = folder(tmp_path / "acme", price_rise_2020=named("price_rise_2020", channels="[stores]"))
    both = regimes.load(shipped, own)
    assert [found.id for found in both.events] == ["outage_2020", "price_rise_2020"]
    assert [found.id for found in regimes.own(shipped, own)] == ["price_rise_2020"]
    assert regimes.own(shipped, None) == ()
    assert both.digest not in (regimes.load(shipped).digest, Registry(regimes.own(shipped, own)).digest)


def test_an_id_of_a_shipped_event_is_taken(shipped: Path, tmp_path: Path) -> None:
    own = folder(tmp_path / "acme", outage_2020=named("outage_2020", channels="[stores]"))
    with pytest.raises(RegimeError, match="outage_2020: id: expected each id once"):
        regimes.load(shipped, own)


def test_a_clients_own_event_may_fall_on_the_days_of_a_shipped_one(shipped: Path, tmp_path: Path) -> None:
    own = folder(tmp_path / "acme", own_outage_2020=named("own_outage_2020"))
    assert len(regimes.load(shipped, own).events) == 2


def test_two_private_events_still_do_not_overlap(shipped: Path, tmp_path: Path) -> None:
    own = folder(tmp_path / "acme", one_2020=named("one_2020"), other_2020=named("other_2020"))
    with pytest.raises(RegimeError, match="no overlap with one_2020"):
        regimes.load(shipped, own)


def test_a_private_event_may_supersede_a_shipped_one_for_its_client_alone(shipped: Path, tmp_path: Path) -> None:
    own = tmp_path / "acme"
    text = named("own_outage_2020").replace("confidence:", "supersedes: outage_2020\nconfidence:")
    own.mkdir()
    (own / "own_outage_2020.yaml").write_text(text)
    with pytest.raises(RegimeError, match="another event's id"):
        regimes.load(own)  # alone it supersedes nothing that is there
    record(own, (), date(2026, 1, 2), "our own dates", regimes.load(shipped).events)
    found = regimes.load(shipped, own).matching(date(2020, 1, 6), 0, ("meta_ads",), ("US",))
    assert [match.id for match in found] == ["own_outage_2020"]
    assert [match.id for match in regimes.load(shipped).current] == ["outage_2020"]


def test_a_private_edit_is_a_version_with_a_reason_too(shipped: Path, tmp_path: Path) -> None:
    own = folder(tmp_path / "acme", price_rise_2020=named("price_rise_2020"))
    (own / "price_rise_2020.yaml").write_text(named("price_rise_2020", confidence="low"))
    with pytest.raises(RegimeError, match="price_rise_2020: version: expected 2"):
        regimes.load(shipped, own)


def test_a_private_folder_that_is_not_there_is_unavailable_and_not_empty(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailableError, match="absent"):
        regimes.load(shipped, tmp_path / "absent")


# ---- the bytes in which they are registered


def test_bytes_give_the_events_back() -> None:
    events = (event(id="b_2020", channels=["email"]), event(id="a_2020"))
    raw = events_bytes(events)
    assert parse_events(raw, "private.json") == (events[1], events[0])
    assert events_bytes(events[::-1]) == raw
    assert parse_events(regimes.NO_EVENTS, "private.json") == ()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "canonical JSON"),
        (b"{}", "an array"),
        (b"[ ]", "canonical JSON"),
        (b'[{"id":"x"}]', "a value"),
        (b"[1]", "private.json"),
        (events_bytes([event()])[:-1] + b"," + events_bytes([event()])[1:], "each id once"),
        (events_bytes([event()]).replace(b'"high"', b'"sure"'), "confidence"),
    ],
    ids=["nothing", "no array", "spaces", "no event", "a number", "an event twice", "a bad field"],
)
def test_bytes_that_are_no_events_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(RegimeError, match=said):
        Registry(()).merged(parse_events(raw, "private.json"))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, len(events_bytes([event()])) - 1), st.integers(1, 255))
def test_other_bytes_are_other_events_or_none(at: int, change: int) -> None:
    raw = bytearray(events_bytes([event()]))
    raw[at] ^= change
    try:
        found = parse_events(bytes(raw), "private.json")
    except RegimeError:
        return
    assert found != (event(),)
