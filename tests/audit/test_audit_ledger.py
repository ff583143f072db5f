"""Laws of the ledger: append-only, once each, whole or not at all, whoever else writes; in either database."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import databases
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_case import FORECAST, KEY, home_at, project, stages, statement, verdict

from audit import ledgerdb, merkle
from audit.digest import sha256
from audit.errors import Inconsistent, KeyRefused, Unavailable, Usage
from audit.filelock import locked
from audit.home import Home
from audit.intent import IntentFile
from audit.ledger import Ledger, Pending
from audit.note import Verifier, open_checkpoint
from audit.receipt import Receipt, check_receipt, receipt_bytes
from audit.signing import SigningKey
from audit.trust import TrustedLog

WRITER = """
import sys
from ledger_case import KEY, stages
from audit.home import Home
from pathlib import Path
home, name = Home(Path(sys.argv[1]), sys.argv[4] or None), sys.argv[2]
for i in range(int(sys.argv[3])):
    home.writer(KEY).append(stages(f"shared {i}", f"{name} {i}"))
    print(i, flush=True)
"""


@pytest.fixture(params=databases.KINDS)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A home without a ledger yet, whose log will lie in each kind of database."""
    return home_at(tmp_path / "home", databases.new_database(request.param))


@contextmanager
def trusted(home: Home) -> Iterator[TrustedLog]:
    with home.reader().trusted() as log:
        yield log


def leaves(ledger: Ledger) -> list[bytes]:
    with ledger.reading() as log:
        return [merkle.leaf_hash(entry.leaf) for entry in log.entries()]


def head(ledger: Ledger) -> tuple[int, bytes]:
    with ledger.reading() as log:
        return log.head()


def start(home: Home, name: str, count: int) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", WRITER, str(home.root), name, str(count), home.database or ""]
    return subprocess.Popen(command, env={"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def test_a_new_ledger_is_empty_under_a_signed_head(home: Home) -> None:
    size, note = head(home.writer())
    assert size == 0
    assert open_checkpoint(note, Verifier(home.trust().origin, KEY.public)).root == merkle.EMPTY_ROOT
    with trusted(home) as log:
        assert log.head.size == 0


def test_a_missing_ledger_is_unavailable_and_is_not_made_by_looking(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Home(tmp_path / "none").reader()
    with pytest.raises(Unavailable, match="no ledger here"):
        home.reader()
    assert not (tmp_path / "none").exists()
    assert {path.name for path in home.root.iterdir()} == {"keys"}


def test_a_ledger_is_not_taken_over_by_another_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made = home.writer()
    with pytest.raises(KeyRefused):
        home.writer(KEY)
    (tmp_path / "keys" / "ledger.pem").unlink()
    with pytest.raises(Unavailable, match="gone"):
        home.writer()
    assert not (tmp_path / "keys" / "ledger.pem").exists()
    assert home.trust().spans[-1].key == made.public_key


def test_nothing_is_appended_without_a_key(home: Home) -> None:
    home.writer()
    with pytest.raises(Usage):
        home.reader().append(stages("a"))


def test_nothing_is_appended_under_a_key_that_is_not_the_logs(home: Home) -> None:
    ledger = home.writer()
    other = Ledger(ledger.database, ledger.keyring, None, SigningKey.from_seed(b"\x07" * 32))
    with pytest.raises(KeyRefused):
        other.append(stages("a"))
    assert head(ledger)[0] == 0


def test_every_receipt_proves_its_entry_and_never_changes(home: Home) -> None:
    ledger = home.writer()
    first = ledger.append(stages("a", "b", "c"))
    before = [receipt_bytes(receipt) for receipt in first]
    ledger.append(stages("d"))
    again = ledger.append(stages("c", "b", "a", second=9))
    assert [receipt_bytes(receipt) for receipt in reversed(again)] == before
    for receipt in first:
        assert check_receipt(receipt, home.trust()).size == 3
    assert len(leaves(ledger)) == 4


def test_one_append_signs_one_head_however_many_entries_it_has(home: Home) -> None:
    ledger = home.writer()
    ledger.append(stages(*(f"entry {i}" for i in range(300))))
    ledger.append(stages("one more"))
    with ledger.reading() as log:
        assert [size for size, _ in log.heads()] == [0, 300, 301]
        assert [len(log.tile(level, index)) // 32 for level, index in log.tile_places()] == [256, 45, 1]


def test_an_append_of_nothing_new_signs_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    home.writer().append(stages("a"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    home.writer().append(stages("a", second=5))
    home.writer().append([])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_same_statement_twice_in_one_append_is_one_entry(home: Home) -> None:
    one, two = home.writer().append(stages("a", "a"))
    assert one == two
    assert one.tree_size == 1


def test_equal_appends_under_one_key_give_equal_logs_in_every_database(tmp_path: Path) -> None:
    homes = [home_at(tmp_path / kind, databases.new_database(kind)) for kind in databases.KINDS]
    receipts = [home.writer().append(stages("a", "b")) for home in homes]
    assert receipts[0] == receipts[1]
    assert head(homes[0].reader()) == head(homes[1].reader())
    with homes[0].reader().reading() as one, homes[1].reader().reading() as two:
        assert list(one.entries()) == list(two.entries())


def test_an_entry_names_the_run_its_own_forecast_sealed_last(home: Home) -> None:
    ledger = home.writer()
    seals = [Pending("seal", statement("seal", f"run {i}")) for i in range(2)]
    other = Pending("stage", statement("fit", "x", forecast="geo"))
    ledger.append(stages("a"))
    receipts = [
        *ledger.append([seals[0], *stages("b"), other, seals[1]]),
        *ledger.append([Pending("verdict", verdict("1"))]),
    ]
    with ledger.reading() as log:
        previous = [entry.leaf.decode().split('"previousRun":"')[1:] for entry in log.entries()]
        first, second = receipts[0].core_sha256, receipts[3].core_sha256
        assert [part[0][:64] if part else None for part in previous] == [None, None, first, None, first, second]
        assert log.last_run(FORECAST) == second


@pytest.mark.parametrize(
    ("kind", "stage"), [("seal", "fit"), ("stage", "seal"), ("verdict", "fit"), ("register", "register")]
)
def test_a_statement_logged_as_another_kind_is_refused_and_nothing_is_logged(home: Home, kind: str, stage: str) -> None:
    ledger = home.writer()
    with pytest.raises((Inconsistent, Usage)):
        ledger.append([*stages("a"), Pending(kind, statement(stage, "b"))])  # type: ignore[arg-type]
    assert leaves(ledger) == []
    with trusted(home) as log:
        assert log.head.size == 0


def test_specifications_of_the_same_data_are_numbered_and_registered_once(home: Home, tmp_path: Path) -> None:
    case = project(tmp_path, database=home.database)
    first = case.register("data")
    assert case.register("data", second=7) == first
    case.path("register/spec.json").write_text('{"factor":3.0}')
    second = case.register("data")
    assert case.register("other data").registration.number == 1  # type: ignore[union-attr]
    assert [r.registration.number for r in (first, second) if r.registration] == [1, 2]
    case.path("register/spec.json").write_text('{"factor":2.0}')
    assert receipt_bytes(case.register("data")) == receipt_bytes(first)
    with trusted(case.home) as log:
        assert log.head.size == 3


def test_a_registration_that_says_something_else_is_refused(home: Home) -> None:
    ledger = home.writer()
    with pytest.raises(Inconsistent):
        ledger.register("d" * 64, "e" * 64, lambda _: statement("register", "x"))
    assert leaves(ledger) == []


def test_proofs_of_the_ledger_verify(home: Home) -> None:
    ledger = home.writer()
    ledger.append(stages("a", "b", "c"))
    ledger.append(stages("d", "e"))
    hashes = leaves(ledger)
    with ledger.reading() as log:
        for size in range(1, 6):
            for seq in range(size):
                assert log.inclusion(seq, size) == merkle.inclusion_proof(hashes, seq, size)
            assert log.consistency(size, 5) == merkle.consistency_proof(hashes, size, 5)
        for impossible in (lambda: log.inclusion(0, 6), lambda: log.inclusion(5, 5), lambda: log.consistency(0, 5)):
            with pytest.raises(Usage):
                impossible()


def test_what_others_sign_over_a_head_is_attached_once_and_changes_no_entry(home: Home) -> None:
    ledger = home.writer()
    ledger.append(stages("a"))
    for _ in range(2):
        ledger.attach(1, "timestamp", b"token")
        ledger.attach(1, "cosignature", "\u2014 witness line\n".encode())
    with pytest.raises(Usage):
        ledger.attach(2, "timestamp", b"token")
    with trusted(home), ledger.reading() as log:
        assert log.attached(1) == (("cosignature", "\u2014 witness line\n".encode()), ("timestamp", b"token"))
        assert log.attached(0) == ()


def test_a_reading_sees_one_moment_whatever_is_appended_meanwhile(tmp_path: Path) -> None:
    """In PostgreSQL; SQLite's writers wait for its readers."""
    home = home_at(tmp_path, databases.new_schema())
    home.writer().append(stages("a"))
    with home.reader().reading() as log:
        before = log.head()
        home.writer().append(stages("b"))
        assert log.head() == before
        assert len(list(log.entries())) == 1


def test_two_writers_at_once_lose_nothing_and_log_nothing_twice(home: Home) -> None:
    home.writer()
    writers = [start(home, name, 12) for name in ("one", "two")]
    assert [process.communicate()[0].count("\n") for process in writers] == [12, 12]
    assert [process.returncode for process in writers] == [0, 0]
    expected = {sha256(f"{name} {i}".encode()) for name in ("shared", "one", "two") for i in range(12)}
    with trusted(home) as log:
        found = [entry.require().statement.subject[0].sha256 for entry in log.entries()]
    assert set(found) == expected
    assert len(found) == 36


def test_two_creators_at_once_make_one_ledger(home: Home) -> None:
    writers = [start(home, name, 1) for name in ("one", "two", "three")]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    with trusted(home) as log:
        assert log.head.size == 4


def test_a_busy_ledger_is_unavailable_not_tampered(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = home.writer()
    monkeypatch.setattr(ledgerdb, "BUSY_SECONDS", 0.05)
    with locked(ledger.keyring.folder / "ledger.lock", 1, "the ledger"), pytest.raises(Unavailable, match="busy"):
        ledger.append(stages("x"))
    with ledger.database.writing(), pytest.raises(Unavailable, match="busy"):
        ledger.append(stages("x"))
    with trusted(home) as log:
        assert log.head.size == 0


def test_a_passphrase_or_password_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        home_at(tmp_path, "postgresql+psycopg://user:sesame@localhost:1/none").writer()
    assert "sesame" not in f"{caught.value}{caught.value!r}"
    assert "sesame" not in repr(Home(tmp_path, "postgresql+psycopg://user:sesame@localhost:1/none", b"sesame"))


@pytest.mark.parametrize("url", ["", "mysql://x/y", "postgresql+psycopg2://x/y", "ledger.sqlite"])
def test_another_kind_of_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Usage, match="postgresql"):
        home_at(tmp_path, url).writer()


class StoppedError(Exception):
    """The process dies here."""


class LedgerMachine(RuleBasedStateMachine):
    """The real ledger against a Python list of what was logged, in order."""

    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.home = home_at(Path(self.folder.name), databases.new_database(self.kind))
        self.ledger = self.home.writer()
        self.model: list[tuple[str, str]] = []
        self.receipts: dict[tuple[str, str], bytes] = {}
        self.specs: dict[str, list[str]] = {}
        self.roots: list[tuple[int, bytes]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    def _log(self, *names: tuple[str, str]) -> None:
        self.model += [name for name in dict.fromkeys(names) if name not in self.model]

    def _same(self, name: tuple[str, str], receipt: Receipt) -> None:
        assert receipt.seq == self.model.index(name)
        assert self.receipts.setdefault(name, receipt_bytes(receipt)) == receipt_bytes(receipt)

    @rule(contents=st.lists(st.sampled_from("abcdefgh"), max_size=4), second=st.integers(0, 59))
    def append(self, contents: list[str], second: int) -> None:
        receipts = self.ledger.append(stages(*contents, second=second))
        self._log(*(("stage", content) for content in contents))
        for content, receipt in zip(contents, receipts, strict=True):
            self._same(("stage", content), receipt)

    @rule(content=st.sampled_from("abc"))
    def judge(self, content: str) -> None:
        (receipt,) = self.ledger.append([Pending("verdict", verdict(content))])
        self._log(("verdict", content))
        self._same(("verdict", content), receipt)

    @rule(data=st.sampled_from("xy"), spec=st.sampled_from("123"))
    def register(self, data: str, spec: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            case = project(Path(name), factor=spec)
            object.__setattr__(case, "home", self.home)
            receipt = case.register(data)
        known = self.specs.setdefault(data, [])
        if spec not in known:
            known.append(spec)
            self.model.append(("register", data + spec))
        assert receipt.registration is not None
        assert receipt.registration.number == known.index(spec) + 1
        self._same(("register", data + spec), receipt)

    @rule(
        contents=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), when=st.sampled_from(["write", "clear"])
    )
    def die_in_an_append(self, contents: list[str], when: str) -> None:
        """Just after the intent is on disk, or after the commit: the next writer finds the intent, and does it."""
        original = getattr(IntentFile, when)

        def die(file: IntentFile, *arguments: object) -> None:
            if when == "write":
                original(file, *arguments)
            raise StoppedError

        new = any(("stage", content) not in self.model for content in contents)
        setattr(IntentFile, when, die)
        try:
            self.ledger.append(stages(*contents))
        except StoppedError:
            assert new
        else:
            assert not new
        finally:
            setattr(IntentFile, when, original)
        self._log(*(("stage", content) for content in contents))
        self.ledger = self.home.writer()

    @rule()
    def reopen(self) -> None:
        self.ledger = self.home.writer()

    @invariant()
    def holds_what_the_list_holds_and_every_old_head_is_a_prefix(self) -> None:
        with trusted(self.home) as log:
            entries = list(log.entries())
            assert [entry.record.kind for entry in entries] == [kind for kind, _ in self.model]
            hashes = [entry.leaf_hash for entry in entries]
            for size, root in self.roots:
                assert merkle.root(hashes[:size]) == root
            self.roots.append((log.head.size, log.head.root))


class PostgreSQLMachine(LedgerMachine):
    """The same in the other database."""

    kind = "postgresql"


LedgerMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=12, deadline=None, derandomize=True)
PostgreSQLMachine.TestCase.settings = settings(max_examples=4, stateful_step_count=10, deadline=None, derandomize=True)
TestLedgerMachine = LedgerMachine.TestCase
TestPostgreSQLMachine = PostgreSQLMachine.TestCase
