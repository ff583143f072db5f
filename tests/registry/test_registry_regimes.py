"""Laws and attacks: what an event file may say, what the whole must satisfy, and what matches an alarm."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_case import GOOD, event, folder, named, refusal, shipped

from registry import regimes, scope
from registry.errors import RegistryError, RegistryUnavailableError
from registry.event import Event
from registry.folder import MAX_BYTES
from registry.folder import event as event_of
from registry.regimes import Registry
from registry.strict_yaml import StrictYamlError, parse

# ---- the registry that ships


def test_the_shipped_registry_is_sound_and_spread_over_all_classes() -> None:
    registry = shipped()
    assert regimes.check(registry) == ()
    recent = [found for found in registry.events if 2018 <= found.effective.year <= 2025]
    assert len(recent) >= 80
    assert [found.id for found in recent if found.unsourced] == ["prime_big_deal_2024"]
    kinds = [found.kind for found in registry.events]
    assert {kind: kinds.count(kind) >= 9 for kind in set(kinds)} == dict.fromkeys(
        ["regime_change", "measurement_change", "artefact", "transient_promotion", "null_announcement"], True
    )
    assert [found.id for found in registry.events] == sorted(found.id for found in registry.events)


def test_black_friday_is_the_day_after_the_fourth_thursday_of_november() -> None:
    weekends = [found for found in shipped().events if found.id.startswith("bfcm_")]
    assert weekends
    for found in weekends:
        year = int(found.id.removeprefix("bfcm_"))
        thursdays = [day for n in range(1, 31) if (day := date(year, 11, n)).weekday() == 3]
        assert (found.effective, found.end) == (
            thursdays[3] + timedelta(days=1),
            thursdays[3] + timedelta(days=4),
        )


@pytest.mark.parametrize(
    ("day", "channels", "expected"),
    [
        (date(2015, 7, 12), ("ecommerce",), "prime_day_2015"),
        (date(2020, 3, 15), ("stores",), "covid_pandemic_2020"),
        (date(2021, 1, 18), ("meta_ads",), "facebook_attribution_2021"),
        (date(2025, 9, 14), ("search_console",), "gsc_num100_2025"),
    ],
)
def test_an_alarm_near_a_known_day_finds_its_event(day: date, channels: tuple[str, ...], expected: str) -> None:
    assert expected in [found.id for found in shipped().matching(day, 7, channels, ("US",))]


def test_metrics_that_moved_without_demand_are_not_called_regime_changes() -> None:
    kinds = {found.id: found.kind for found in shipped().events}
    moved = ("facebook_attribution_2021", "apple_mpp_2021", "ua_sunset_2023", "gsc_num100_2025")
    assert {kinds[name] for name in moved} == {"measurement_change"}


# ---- one file


def test_a_good_file_is_read_as_written(tmp_path: Path) -> None:
    (found,) = regimes.load(folder(tmp_path, outage_2020=GOOD)).events
    assert (found.id, found.kind, found.effective, found.end) == (
        "outage_2020",
        "artefact",
        date(2020, 1, 6),
        date(2020, 1, 7),
    )
    assert found.mechanism == "Nothing is delivered for a day."
    assert found.sources[0].date == date(2020, 1, 7)


@pytest.mark.parametrize(
    ("old", "new", "field", "expected", "found"),
    [
        ("id: outage_2020", "id: Outage 2020", "id", "pattern", "Outage 2020"),
        ("id: outage_2020", "id: other_2020", "id", "'outage_2020'", "'other_2020'"),
        ("schema_version: 1", "schema_version: 2", "schema_version", "1", "2"),
        ("version: 1\nclass", "version: true\nclass", "version", "integer", "True"),
        ("class: artefact", "class: outage", "class", "'artefact'", "outage"),
        ("class: artefact", "kind: artefact", "class", "a value", "none"),
        ("class: artefact", "class: artefact\ncolour: red", "colour", "no such field", "red"),
        ("effective: 2020-01-06", "effective: 2020-1-6", "effective", "YYYY-MM-DD", "2020-1-6"),
        ("effective: 2020-01-06", "effective: 2020-02-30", "effective", "YYYY-MM-DD", "2020-02-30"),
        ("effective: 2020-01-06", "effective: 20200106", "effective", "YYYY-MM-DD", "20200106"),
        ("effective: 2020-01-06", "effective: 2020-01-06T00:00:00Z", "effective", "YYYY-MM-DD", "T00"),
        ("effective: 2020-01-06", "effective: 2020-01-08", "end", "2020-01-08 or later", "2020-01-07"),
        ("end: 2020-01-07\n", "", "end", "a date, for a temporary artefact", "none"),
        ("end: 2020-01-07", "end:", "end", "YYYY-MM-DD", "''"),
        ("persistence: temporary", "persistence: permanent", "persistence", "temporary", "permanent"),
        ("class: artefact", "class: null_announcement", "persistence", "none", "temporary"),
        ("[meta_ads]", "[facebook]", "channels.0", "meta_ads", "facebook"),
        ("[meta_ads]", "[]", "channels", "at least one", "none"),
        ("[meta_ads]", "[meta_ads, meta_ads]", "channels", "each once", "meta_ads, meta_ads"),
        ("[meta_ads]", "meta_ads", "channels", "array", "meta_ads"),
        ("[US, GB]", "[usa]", "regions.0", "US-CA", "usa"),
        ("title: An outage", "title: ' An outage'", "title", "pattern", " An outage"),
        ("title: An outage", "title: 7", "title", "string", "7"),
        ("confidence: high", "confidence: certain", "confidence", "'high'", "certain"),
        ("https://example.org", "ftp://example.org", "sources.0.url", "pattern", "ftp"),
        ("    publisher: The Paper\n", "", "sources.0.publisher", "a value", "none"),
        ("sources:", "unsourced: true\nsources:", "sources", "either", "both"),
        (GOOD[GOOD.index("sources:") :], "sources: []\n", "sources", "either", "neither"),
        (GOOD[GOOD.index("sources:") :], "unsourced: true\n", "sources", "a value", "none"),
    ],
)
def test_bad_field_is_named(tmp_path: Path, old: str, new: str, field: str, expected: str, found: str) -> None:
    assert old in GOOD
    error = refusal(folder(tmp_path, outage_2020=GOOD.replace(old, new, 1)))
    fault = next(fault for fault in error.faults if fault.field == field)
    assert fault.where == "outage_2020.yaml"
    assert expected in fault.expected
    assert found in fault.found
    assert str(fault) in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", "line 3: expected each key once, found a again", id="duplicate key"),
        pytest.param("a: {b: 1, b: 2}\n", "line 1: expected each key once", id="duplicate inner key"),
        pytest.param("a: &x 1\n", "line 1: expected no anchors", id="anchor"),
        pytest.param("a: *x\n", "line 1: expected no anchors", id="alias"),
        pytest.param("a: !!python/object/apply:os.system [ls]\n", "line 1: expected no tags", id="code"),
        pytest.param("a: !!str 1\n", "line 1: expected no tags", id="tag"),
        pytest.param("a: ! b\n", "line 1: expected no tags", id="non-specific tag"),
        pytest.param("1: a\n", "line 1: expected text as key", id="number as key"),
        pytest.param("[a]: b\n", "line 1: expected text as key", id="list as key"),
        pytest.param("a: 1\n---\nb: 1\n", "line 2", id="two documents"),
        pytest.param("a: [1\n", "line 2", id="unclosed"),
        pytest.param("[" * 5000, "expected at most 8 levels", id="nesting bomb"),
        pytest.param("", "expected a document, found none", id="empty"),
        pytest.param("a: \x07\n", "expected YAML text", id="control character"),
        pytest.param("\ufeffa: 1\n", "byte order mark", id="byte order mark"),
    ],
)
def test_yaml_that_two_readers_could_read_differently_is_refused(text: str, said: str) -> None:
    with pytest.raises(StrictYamlError) as caught:
        parse(text.encode())
    assert said in str(caught.value)


def test_bytes_that_are_not_utf8_are_named_with_their_line() -> None:
    with pytest.raises(StrictYamlError, match="line 2: expected UTF-8, found byte 0xe9"):
        parse(b"a: 1\nb: \xe9\n")


def test_only_true_false_and_decimal_integers_are_not_text() -> None:
    found = parse(b"[NO, yes, null, ~, 0x1F, 010, 1_000, 1.5, 2020-01-06, true, -7, .inf, <<, =]")
    texts = ["NO", "yes", "null", "~", "0x1F", "010", "1_000", "1.5", "2020-01-06"]
    assert found == [*texts, True, -7, ".inf", "<<", "="]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(0, 255))
def test_one_replaced_byte_gives_an_event_or_named_faults(at: int, byte: int) -> None:
    raw = GOOD.encode()
    found = event_of("outage_2020.yaml", raw[:at] + bytes([byte]) + raw[at + 1 :])
    assert isinstance(found, Event) or all(fault.where == "outage_2020.yaml" for fault in found)


# ---- the folder


def test_every_fault_of_every_file_is_carried(tmp_path: Path) -> None:
    bad = GOOD.replace("[meta_ads]", "[facebook]").replace("high", "certain")
    error = refusal(folder(tmp_path, outage_2020=bad, other_2020=GOOD))
    assert [(fault.where, fault.field) for fault in error.faults] == [
        ("other_2020.yaml", "id"),
        ("outage_2020.yaml", "channels.0"),
        ("outage_2020.yaml", "confidence"),
    ]


def test_what_is_no_event_file_is_refused_not_skipped(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "inner.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "outage_2020.yaml")
    (tmp_path / "long.yaml").write_text("#" * (MAX_BYTES + 1))
    faults = refusal(tmp_path).faults
    assert [fault.where for fault in faults] == ["inner.yaml", "link.yaml", "long.yaml", "notes.txt"]


def test_an_empty_folder_is_a_fault_and_an_absent_one_is_unavailable(tmp_path: Path) -> None:
    assert refusal(tmp_path).faults[0].found == "none"
    with pytest.raises(RegistryUnavailableError, match="absent"):
        regimes.load(tmp_path / "absent")


def test_digest_is_of_content_not_of_spelling_or_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    respelled = "# a comment\n" + GOOD.replace("[US, GB]", "\n  - 'US'\n  - GB").replace("An outage", '"An outage"')
    one = regimes.load(folder(first, outage_2020=GOOD)).digest
    assert regimes.load(folder(second, outage_2020=respelled)).digest == one
    folder(second, outage_2020=GOOD.replace("version: 1\nclass", "version: 2\nclass").replace("high", "low"))
    assert regimes.load(second).digest != one


# ---- between events


def test_two_events_of_one_class_channel_region_and_day_overlap() -> None:
    one, other = event(), event(id="second_2020", effective="2020-01-07", end="2020-01-09")
    (fault,) = regimes.check(Registry((one, other)))
    assert (fault.where, fault.field, fault.found) == ("second_2020", "effective", "2020-01-07")
    assert "outage_2020" in fault.expected


@pytest.mark.parametrize(
    "changes",
    [
        {"effective": "2020-01-08", "end": "2020-01-09"},
        {"channels": ["email"]},
        {"regions": ["DE"]},
        {"class": "transient_promotion"},
        {"supersedes": "outage_2020"},
    ],
)
def test_events_apart_in_one_respect_do_not_overlap(changes: dict[str, Any]) -> None:
    assert regimes.check(Registry((event(), event(id="second_2020", **changes)))) == ()


def test_supersedes_must_lead_to_another_event_and_not_back() -> None:
    lost = event(supersedes="nowhere_2020")
    itself = event(supersedes="outage_2020")
    for found in (lost, itself):
        assert [fault.field for fault in regimes.check(Registry((found,)))] == ["supersedes"]
    circle = (event(supersedes="second_2020"), event(id="second_2020", supersedes="outage_2020"))
    assert [fault.field for fault in regimes.check(Registry(circle))] == ["supersedes"]


def test_an_id_is_used_once() -> None:
    fields = {fault.field for fault in regimes.check(Registry((event(), event())))}
    assert "id" in fields


# ---- matching


def ids(found: tuple[Event, ...]) -> list[str]:
    return [match.id for match in found]


def test_edges_match_and_the_middle_of_a_long_event_does_not() -> None:
    long = Registry((event(end="2020-12-31"),))
    for day in (date(2020, 1, 1), date(2020, 1, 11), date(2020, 12, 26), date(2021, 1, 5)):
        assert ids(long.matching(day, 5, ("meta_ads",), ("US",))) == ["outage_2020"]
    for day in (date(2019, 12, 31), date(2020, 1, 12), date(2020, 7, 1), date(2021, 1, 6)):
        assert long.matching(day, 5, ("meta_ads",), ("US",)) == ()


@pytest.mark.parametrize(
    ("mine", "yours", "meet"),
    [
        (("US",), ("US",), True),
        (("US",), ("GB",), False),
        (("US",), ("US-CA",), True),
        (("US-CA",), ("US",), True),
        (("US-CA",), ("US-NY",), False),
        (("global",), ("JP",), True),
        (("US",), ("global",), True),
        (("EU",), ("DE",), True),
        (("EU",), ("DE-BY",), True),
        (("EU",), ("GB",), False),
        (("FR",), ("EU",), True),
        (("EU",), ("EU",), True),
        (("US", "GB"), ("FR", "GB"), True),
        (("US",), (), False),
    ],
)
def test_regions_meet_when_one_contains_the_other(mine: tuple[str, ...], yours: tuple[str, ...], meet: bool) -> None:
    assert scope.regions_meet(mine, yours) is meet
    assert scope.regions_meet(yours, mine) is meet


def test_all_meets_every_channel_and_nothing_meets_none() -> None:
    for name in scope.CHANNELS:
        assert scope.channels_meet(("all",), (name,))
        assert scope.channels_meet((name,), ("all",))
        assert not scope.channels_meet((name,), ())
    assert not scope.channels_meet(("email",), ("sms",))


def test_an_event_that_did_not_end_lies_on_its_first_day() -> None:
    lasting = event(**{"class": "regime_change", "persistence": "permanent", "end": None})
    assert (lasting.first, lasting.last) == (date(2020, 1, 6), date(2020, 1, 6))
    assert (event().first, event().last) == (date(2020, 1, 6), date(2020, 1, 7))


def test_files_are_all_that_load_reads(tmp_path: Path) -> None:
    folder(tmp_path / "inner", outage_2020=GOOD, other_2020=named("other_2020", channels="[email]"))
    assert regimes.files(tmp_path, "inner") == (
        "inner/history.jsonl",
        "inner/other_2020.yaml",
        "inner/outage_2020.yaml",
    )
    with pytest.raises(RegistryUnavailableError):
        regimes.files(tmp_path, "absent")


def test_a_superseded_event_matches_no_more() -> None:
    registry = Registry((event(), event(id="second_2020", supersedes="outage_2020")))
    assert ids(registry.matching(date(2020, 1, 6), 0, ("all",), ("global",))) == ["second_2020"]


@pytest.mark.parametrize(
    ("days", "channels", "regions", "said"),
    [
        (-1, ("all",), ("US",), "days"),
        (1, ("facebook",), ("US",), "found 'facebook'"),
        (1, ("all",), ("usa",), "found 'usa'"),
    ],
)
def test_a_query_for_what_does_not_exist_is_refused(
    days: int, channels: tuple[str, ...], regions: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        Registry((event(),)).matching(date(2020, 1, 6), days, channels, regions)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    st.dates(date(2014, 1, 1), date(2026, 1, 1)),
    st.integers(0, 60),
    st.lists(st.sampled_from(sorted(scope.CHANNELS)), max_size=3),
    st.lists(st.sampled_from(["global", "EU", "US", "US-CA", "DE", "RU"]), max_size=2),
)
def test_a_wider_question_never_finds_less(day: date, days: int, channels: list[str], regions: list[str]) -> None:
    registry = shipped()
    narrow = set(ids(registry.matching(day, days, channels, regions)))
    assert narrow <= set(ids(registry.matching(day, days + 1, channels, regions)))
    assert narrow <= set(ids(registry.matching(day, days, [*channels, "all"], [*regions, "global"])))
