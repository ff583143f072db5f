"""Laws of the intent: what was to be signed is signed, that and nothing else, whatever happened in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import databases
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_case import KEY, home_at, stages
from test_audit_ledger_attacks import Case, copied, restore

from audit import intent as intents
from audit import ledgerbatch
from audit.canonical import decode, encode
from audit.errors import AuditError, Inconsistent, Tampered, Usage
from audit.intent import IntentFile, intent_bytes, parse_intent
from audit.kepthead import KeptHead
from audit.ledger import Ledger
from audit.note import Checkpoint, parse_checkpoint, parse_note, sign_checkpoint
from audit.receipt import receipt_bytes
from audit.signing import SigningKey


class DiedError(Exception):
    """The process dies here."""


@pytest.fixture(params=databases.KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """A ledger of three entries, in each kind of database."""
    (tmp_path / "case" / "project").mkdir(parents=True)
    home = home_at(tmp_path / "case" / "home", databases.new_database(request.param))
    home.writer().append(stages("a", "b", "c"))
    return Case(tmp_path / "case" / "project", home)


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool) -> Iterator[None]:
    """Inside, the process dies in this method, before or after it is done."""
    original: Callable[..., object] = getattr(owner, name)

    def die(self: object, *arguments: object) -> None:
        if after:
            original(self, *arguments)
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(DiedError):
            yield


def interrupted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards an append of two entries is intended, and nothing of it is done."""
    with dying(monkeypatch, IntentFile, "write", after=True):
        case.ledger.append(stages("d", "e"))
    assert state(case) == (3, True)


def state(case: Case) -> tuple[int, bool]:
    """The size of the log, and whether an intent is open."""
    with case.home.reader().reading() as log:
        return log.size, intent_path(case).exists()


def intent_path(case: Case) -> Path:
    return case.home.root / "keys" / "ledger.intent"


STEPS = [
    (IntentFile, "write", False, 3),
    (IntentFile, "write", True, 5),
    (ledgerbatch.Batch, "write", True, 5),
    (KeptHead, "keep", False, 5),
    (KeptHead, "keep", True, 5),
    (IntentFile, "clear", True, 5),
]


@pytest.mark.parametrize(("owner", "name", "after", "size"), STEPS)
def test_wherever_an_append_dies_the_next_writer_ends_as_if_it_had_not(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: type, name: str, after: bool, size: int
) -> None:
    twin = copied(case, tmp_path / "twin")
    expected = [receipt_bytes(receipt) for receipt in twin.ledger.append(stages("d", "e"))]
    with dying(monkeypatch, owner, name, after=after):
        case.ledger.append(stages("d", "e"))
    case.home.writer()
    assert state(case) == (size, False)
    assert [receipt_bytes(receipt) for receipt in case.ledger.append(stages("d", "e", second=9))] == (
        expected if size == 5 else [receipt_bytes(receipt) for receipt in case.ledger.append(stages("d", "e"))]
    )
    case.ledger.append(stages("f"))
    with case.home.reader().trusted() as log:
        assert log.head.size == 6


def test_what_is_intended_is_done_before_anything_else_is_appended(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(case, monkeypatch)
    (receipt,) = case.ledger.append(stages("something else"))
    assert receipt.seq == 5
    (d, e) = case.ledger.append(stages("d", "e"))
    assert (d.seq, e.seq, e.tree_size) == (3, 4, 5)


def test_a_reader_does_not_do_what_is_intended(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(case, monkeypatch)
    with case.home.reader().trusted() as log:
        assert log.head.size == 3
    assert state(case) == (3, True)


def test_a_backup_put_back_under_an_open_intent_signs_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup = copied(case, tmp_path / "backup")
    case.ledger.append(stages("after the backup"))
    with dying(monkeypatch, IntentFile, "write", after=True):
        case.ledger.append(stages("intended"))
    restored = restore(case, backup)
    before = intent_path(case).read_bytes()
    for attempt in (restored.home.writer, lambda: Ledger(*opened(restored)).append(stages("instead"))):
        with pytest.raises(Inconsistent):
            attempt()
    (case.home.root / "keys" / "ledger.head").unlink()
    with pytest.raises(Inconsistent, match="another tree than that intended"):
        restored.home.writer()
    assert state(restored) == (3, True)
    assert intent_path(case).read_bytes() == before


def opened(case: Case) -> tuple[object, ...]:
    return case.home.log_database, case.home.keyring, None, KEY


def test_a_backup_of_just_before_the_intent_signs_the_same_head_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Committed but not yet kept, then put back: what was intended is done again, to the same bytes."""
    backup = copied(case, tmp_path / "backup")
    with dying(monkeypatch, KeptHead, "keep", after=False):
        case.ledger.append(stages("d", "e"))
    with case.home.reader().reading() as log:
        first = list(log.heads())
    restored = restore(case, backup)
    restored.home.writer()
    with restored.home.reader().reading() as log:
        assert list(log.heads()) == first


def test_a_fork_that_grew_past_the_intent_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fork = copied(case, tmp_path / "fork")
    fork.ledger.append(stages("x", "y", "z"))
    interrupted(case, monkeypatch)
    swapped = restore(case, fork)
    with pytest.raises(Inconsistent, match="another tree than that intended"):
        swapped.home.writer()
    assert state(swapped) == (6, True)


@pytest.mark.parametrize("size", [4, 5])
def test_of_one_size_never_two_heads_are_signed_whatever_dies_and_is_put_back(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """Every head that the key signs is recorded where it is signed; backups and deaths in every order of two."""
    signed: dict[int, set[bytes]] = {}

    def recording(head: Checkpoint, key: SigningKey) -> bytes:
        note = sign_checkpoint(head, key)
        signed.setdefault(head.size, set()).add(note)
        return note

    monkeypatch.setattr(ledgerbatch, "sign_checkpoint", recording)
    contents = ["d", "e"][: size - 3]
    deaths = [(one, two) for one in STEPS for two in STEPS]
    for number, (first, second) in enumerate(deaths if case.home.database is None else deaths[size % 5 :: 5]):
        current = copied(case, tmp_path / f"case-{number}")
        backup = copied(current, tmp_path / f"backup-{number}")
        signed.clear()
        with dying(monkeypatch, first[0], first[1], after=first[2]):
            current.ledger.append(stages(*contents))
        current = restore(current, backup)
        try:
            with dying(monkeypatch, second[0], second[1], after=second[2]):
                current.home.writer().append(stages("another future"))
        except (Inconsistent, pytest.fail.Exception):
            pass  # refused; or there was nothing to die in
        with suppress(Inconsistent):
            current.home.writer().append(stages("yet another"))
        assert all(len(notes) == 1 for notes in signed.values()), (first, second)
        shutil.rmtree(tmp_path / f"backup-{number}")


def edited(raw: bytes, **changes: object) -> bytes:
    return encode({**decode(raw), **changes})


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "another root": lambda raw: edited(raw, root="0" * 64),
    "another base": lambda raw: edited(raw, baseRoot="0" * 64),
    "a smaller base": lambda raw: edited(raw, baseSize=2),
    "another log": lambda raw: edited(raw, origin="another"),
    "an entry less": lambda raw: edited(raw, entries=decode(raw)["entries"][:1]),
    "entries swapped": lambda raw: edited(raw, entries=decode(raw)["entries"][::-1]),
    "an envelope of another entry": lambda raw: edited(
        raw, entries=[{**entry, "envelope": decode(raw)["entries"][0]["envelope"]} for entry in decode(raw)["entries"]]
    ),
    "no salt": lambda raw: edited(raw, entries=[{**entry, "salt": ""} for entry in decode(raw)["entries"]]),
    "no entries": lambda raw: edited(raw, entries=[]),
    "another version": lambda raw: edited(raw, version=2),
    "an unknown field": lambda raw: edited(raw, more=1),
    "base64 that is not canonical": lambda raw: raw.replace(b'=","', b'","', 1),
    "cut short": lambda raw: raw[:-1],
    "empty": lambda _: b"",
    "not canonical": lambda raw: b" " + raw,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_edited_intent_is_refused_and_nothing_is_signed(
    case: Case, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    interrupted(case, monkeypatch)
    intent_path(case).write_bytes(FORGERIES[name](intent_path(case).read_bytes()))
    with pytest.raises(Tampered):
        case.home.writer()
    assert state(case) == (3, True)


def test_an_intent_signed_by_another_key_is_refused(case: Case) -> None:
    """Whoever can write beside the key but not use it gets nothing signed."""
    other = SigningKey.from_seed(b"\x09" * 32)
    with case.home.reader().reading() as log:
        batch = ledgerbatch.Batch(log, log.keys.open_head(log.head()[1]), KEY)
        batch.key = other
        batch.add(stages("forged"))
        intent_path(case).write_bytes(intent_bytes(batch.intent()))
    with pytest.raises(Tampered, match="envelope of entry 3"):
        case.home.writer()
    assert state(case) == (3, True)


def test_too_much_for_one_append_is_refused_before_anything_is_intended(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intents, "MAX_INTENT_BYTES", 4000)
    with pytest.raises(Usage, match="too much for one append"):
        case.ledger.append(stages(*(str(i) for i in range(9))))
    assert state(case) == (3, False)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_intent_or_an_error_of_the_packages_own(raw: bytes) -> None:
    try:
        intent = parse_intent(raw)
    except AuditError:
        return
    assert intent_bytes(intent) == raw


def test_a_still_log_has_no_open_intent_and_nobody_signs_meanwhile(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(case, monkeypatch)
    ledger = Ledger(case.home.log_database, case.home.keyring, None, KEY)
    with ledger.still() as log:
        assert parse_checkpoint(parse_note(log.head()[1]).text).size == 5
        assert not intent_path(case).exists()
