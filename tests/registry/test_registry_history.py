"""The history of a registry: no edit is silent, no line changes afterwards, and what git holds of it only grew."""

from __future__ import annotations

import subprocess
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_case import DAY, GOOD, ROOT, event, folder, named, refusal, shipped

from registry import folder as folders
from registry import history, regimes
from registry.errors import RegimeError
from registry.history import FIRST, History, parse
from registry.record import record

FILE = "registry/regimes/history.jsonl"


def versions(count: int) -> History:
    """A history of two events, `count` versions of one and then one of the other."""
    past = History()
    for number in range(1, count + 1):
        past = past.recording([event(version=number, title=f"Edit {number}")], DAY, f"edit {number}")
    return past.recording([event(id="second_2020")], DAY, "another")


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


# ---- the history that ships


def test_every_shipped_event_is_its_latest_version() -> None:
    found = folders.read(regimes.SHIPPED)
    assert found.unrecorded == ()
    latest = {entry.event: entry.version for entry in found.history.entries}
    assert latest == {known.id: known.version for known in shipped().events}


def test_every_history_that_git_ever_held_is_the_beginning_of_the_next() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip(f"no repository at {ROOT}: an exported tree has no past")
    commits = git("log", "--first-parent", "--reverse", "--format=%H", "--", FILE).decode().split()
    held = [git("show", f"{commit}:{FILE}") for commit in commits]
    for older, newer in pairwise([*held, (ROOT / FILE).read_bytes()]):
        assert newer.startswith(older)


# ---- edits


def test_an_edited_file_is_refused_until_it_is_the_next_version_and_recorded(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    path = tmp_path / "outage_2020.yaml"
    path.write_text(GOOD.replace("confidence: high", "confidence: low"))
    (fault,) = refusal(tmp_path).faults
    assert (fault.where, fault.field, fault.found) == ("outage_2020", "version", "1")
    assert fault.expected.startswith("2")
    path.write_text(named("outage_2020", confidence="low", version="3"))
    (fault,) = refusal(tmp_path).faults
    assert (fault.expected[:1], fault.found) == ("2", "3")
    path.write_text(named("outage_2020", confidence="low", version="2"))
    (fault,) = refusal(tmp_path).faults
    assert "record" in fault.expected
    (line,) = record(tmp_path, (), DAY, "doubts")
    assert (line.event, line.version, line.reason) == ("outage_2020", 2, "doubts")
    assert regimes.load(tmp_path).events[0].confidence == "low"


def test_spelling_and_comments_are_no_edit(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    (tmp_path / "outage_2020.yaml").write_text("# seen again\n" + GOOD.replace("An outage", "'An outage'"))
    assert regimes.load(tmp_path).events
    assert record(tmp_path, (), DAY, "nothing") == ()


def test_an_event_is_not_taken_away(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD, second_2020=named("second_2020", channels="[email]"))
    (tmp_path / "second_2020.yaml").unlink()
    (fault,) = refusal(tmp_path).faults
    assert (fault.where, fault.found) == ("second_2020", "none")
    assert "superseded" in fault.expected


def test_a_folder_without_its_history_is_refused(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    (tmp_path / history.FILE).unlink()
    assert [fault.where for fault in refusal(tmp_path).faults] == ["outage_2020"]


def test_recording_what_is_not_sound_writes_nothing(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    before = (tmp_path / history.FILE).read_bytes()
    (tmp_path / "second_2020.yaml").write_text(named("second_2020"))  # overlaps the first
    with pytest.raises(RegimeError, match="no overlap"):
        record(tmp_path, (), DAY, "too much")
    assert (tmp_path / history.FILE).read_bytes() == before


def test_a_line_is_not_dated_before_the_line_above(tmp_path: Path) -> None:
    folder(tmp_path, outage_2020=GOOD)
    (tmp_path / "outage_2020.yaml").write_text(named("outage_2020", confidence="low", version="2"))
    with pytest.raises(RegimeError, match=r"history\.jsonl:2: date: expected 2026-01-02 or later"):
        record(tmp_path, (), date(2026, 1, 1), "back-dated")


# ---- attacks on the lines


def broken(lines: list[bytes]) -> list[str]:
    found = parse(b"".join(line + b"\n" for line in lines))
    if isinstance(found, list):
        return [fault.field for fault in found]
    return [fault.field for fault in found.faults([event(version=3, title="Edit 3"), event(id="second_2020")])]


def test_a_sound_history_has_no_faults() -> None:
    past = versions(3)
    assert broken([entry.line for entry in past.entries]) == []
    assert past.entries[0].previous == FIRST
    assert parse(past.raw) == past


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lambda lines: [lines[0], *lines[2:]], id="a line taken out"),
        pytest.param(lambda lines: [lines[1], lines[0], *lines[2:]], id="two lines swapped"),
        pytest.param(lambda lines: [lines[0].replace(b"edit 1", b"edit one"), *lines[1:]], id="a reason rewritten"),
        pytest.param(lambda lines: [lines[0].replace(b"01-02", b"01-01"), *lines[1:]], id="a date rewritten"),
        pytest.param(lambda lines: [*lines, lines[-1]], id="a line twice"),
        pytest.param(lambda lines: lines[1:], id="the beginning lost"),
        pytest.param(lambda lines: lines[:-1], id="the end lost"),
        pytest.param(lambda lines: [lines[0].replace(b":1}", b": 1}"), *lines[1:]], id="not canonical"),
        pytest.param(lambda lines: [*lines, b"{}"], id="no entry"),
        pytest.param(lambda lines: [*lines, b"\xff"], id="not UTF-8"),
        pytest.param(lambda lines: [*lines, b""], id="an empty line"),
    ],
)
def test_no_line_can_be_changed_afterwards(attack: object) -> None:
    assert broken(attack([entry.line for entry in versions(3).entries]))  # type: ignore[operator]


def test_the_last_line_ends_like_the_others() -> None:
    found = parse(versions(1).raw[:-1])
    assert isinstance(found, list)
    assert found[0].expected == "a line feed at its end"


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, len(versions(2).raw) - 1), st.integers(1, 255))
def test_no_replaced_byte_goes_unnoticed(at: int, change: int) -> None:
    past = versions(2)
    raw = bytearray(past.raw)
    raw[at] ^= change
    found = parse(bytes(raw))
    events = [event(version=2, title="Edit 2"), event(id="second_2020")]
    assert isinstance(found, list) or list(found.faults(events)) or found.head != past.head


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 5))
def test_a_history_extends_its_beginnings_and_nothing_else(one: int, other: int) -> None:
    longer = History(versions(max(one, other)).entries[:-1])
    shorter = History(versions(min(one, other)).entries[:-1])
    assert longer.extends(shorter)
    assert shorter.extends(longer) == (one == other)
