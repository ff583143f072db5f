"""Laws of the ledger: append-only, once each, whole or not at all, whoever else writes and whenever it is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_case import FORECAST, KEY, home_at, project, stages, statement, verdict

from audit import merkle
from audit.digest import sha256
from audit.errors import Inconsistent, KeyRefused, Unavailable, Usage
from audit.home import Home, origin
from audit.ledger import Ledger, Pending
from audit.note import Verifier, open_checkpoint
from audit.receipt import check_receipt, receipt_bytes
from audit.trust import TrustedLog, trust

VERIFIER = Verifier(origin(KEY.public), KEY.public)
WRITER = """
import sys
from ledger_case import KEY, stages
from audit.home import Home
from pathlib import Path
home, name = Home(Path(sys.argv[1])), sys.argv[2]
for i in range(int(sys.argv[3])):
    home.writer(KEY).append(stages(f"shared {i}", f"{name} {i}"))
    print(i, flush=True)
"""


def ledger_at(folder: Path) -> Ledger:
    return home_at(folder).writer()


def trusted(folder: Path) -> TrustedLog:
    return trust(Home(folder).reader(KEY.public).snapshot(), VERIFIER, "ledger")


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, env={"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def test_a_new_ledger_is_empty_under_a_signed_head(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    assert ledger.entries() == ()
    assert open_checkpoint(ledger.checkpoint(), VERIFIER).root == merkle.EMPTY_ROOT
    assert trusted(tmp_path).head.size == 0


def test_a_missing_ledger_is_unavailable_and_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Home(tmp_path).reader(KEY.public)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_not_taken_over_by_another_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    made = home.writer()
    with pytest.raises(KeyRefused):
        home.writer(KEY)
    (tmp_path / "keys" / "ledger.pem").unlink()
    with pytest.raises(KeyRefused):
        home.writer()
    assert not (tmp_path / "keys" / "ledger.pem").exists()
    assert home.public_key() == made.public_key


def test_nothing_is_appended_without_a_key(tmp_path: Path) -> None:
    ledger_at(tmp_path)
    with pytest.raises(Usage):
        Home(tmp_path).reader(KEY.public).append(stages("a"))


def test_every_receipt_proves_its_entry_and_never_changes(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    first = ledger.append(stages("a", "b", "c"))
    before = [receipt_bytes(receipt) for receipt in first]
    ledger.append(stages("d"))
    again = ledger.append(stages("c", "b", "a", second=9))
    assert [receipt_bytes(receipt) for receipt in reversed(again)] == before
    for receipt in first:
        assert check_receipt(receipt, VERIFIER).size == 3
    assert len(ledger.entries()) == 4


def test_an_append_of_nothing_new_signs_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    ledger.append(stages("a"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    ledger.append(stages("a", second=5))
    ledger.append([])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_the_same_statement_twice_in_one_append_is_one_entry(tmp_path: Path) -> None:
    one, two = ledger_at(tmp_path).append(stages("a", "a"))
    assert one == two
    assert one.tree_size == 1


def test_equal_appends_under_one_key_give_equal_heads_and_receipts(tmp_path: Path) -> None:
    ledgers = [ledger_at(tmp_path / name) for name in ("one", "two")]
    receipts = [ledger.append(stages("a", "b")) for ledger in ledgers]
    assert receipts[0] == receipts[1]
    assert ledgers[0].checkpoint() == ledgers[1].checkpoint()


def test_an_entry_names_the_run_its_own_forecast_sealed_last(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    seals = [Pending("seal", statement("seal", f"run {i}")) for i in range(2)]
    other = Pending("stage", statement("fit", "x", forecast="geo"))
    receipts = ledger.append([*stages("a"), seals[0], *stages("b"), other, seals[1], Pending("verdict", verdict("1"))])
    previous = [entry.leaf.decode().split('"previousRun":"')[1:] for entry in ledger.entries()]
    first, second = receipts[1].core_sha256, receipts[4].core_sha256
    assert [part[0][:64] if part else None for part in previous] == [None, None, first, None, first, second]
    assert [run.core_sha256 for run in ledger.runs(FORECAST)] == [first, second]


@pytest.mark.parametrize(
    ("kind", "stage"), [("seal", "fit"), ("stage", "seal"), ("verdict", "fit"), ("register", "register")]
)
def test_a_statement_logged_as_another_kind_is_refused_and_nothing_is_logged(
    tmp_path: Path, kind: str, stage: str
) -> None:
    ledger = ledger_at(tmp_path)
    with pytest.raises((Inconsistent, Usage)):
        ledger.append([*stages("a"), Pending(kind, statement(stage, "b"))])  # type: ignore[arg-type]
    assert ledger.entries() == ()
    assert trusted(tmp_path).head.size == 0


def test_specifications_of_the_same_data_are_numbered_and_registered_once(tmp_path: Path) -> None:
    case = project(tmp_path)
    first = case.register("data")
    assert case.register("data", second=7) == first
    case.path("register/spec.json").write_text('{"factor":3.0}')
    second = case.register("data")
    assert case.register("other data").registration.number == 1  # type: ignore[union-attr]
    assert [r.registration.number for r in (first, second) if r.registration] == [1, 2]
    case.path("register/spec.json").write_text('{"factor":2.0}')
    assert receipt_bytes(case.register("data")) == receipt_bytes(first)
    assert len(case.ledger.entries()) == 3
    trust(case.ledger.snapshot(), VERIFIER, "ledger")


def test_a_registration_that_says_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Inconsistent):
        ledger_at(tmp_path).register("d" * 64, "e" * 64, lambda _: statement("register", "x"))
    assert ledger_at(tmp_path).entries() == ()


def test_proofs_of_the_ledger_verify(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    ledger.append(stages("a", "b", "c"))
    old = ledger.head
    ledger.append(stages("d", "e"))
    hashes = ledger.leaf_hashes()
    for seq in range(5):
        merkle.verify_inclusion(hashes[seq], seq, 5, ledger.inclusion(seq), ledger.head.root)
    merkle.verify_consistency(3, 5, old.root, ledger.head.root, ledger.consistency(3, 5))


def test_two_writers_at_once_lose_nothing_and_log_nothing_twice(tmp_path: Path) -> None:
    ledger_at(tmp_path)
    writers = [writer(tmp_path, name, 12) for name in ("one", "two")]
    assert [process.communicate()[0].count("\n") for process in writers] == [12, 12]
    assert [process.returncode for process in writers] == [0, 0]
    log = trusted(tmp_path)
    expected = {f"{name} {i}" for name in ("shared", "one", "two") for i in range(12)}
    found = {entry.statement.subject[0].sha256 for entry in log.entries}
    assert found == {sha256(content.encode()) for content in expected}
    assert len(log.entries) == 36


def test_the_files_digest_is_one_that_coreutils_check(tmp_path: Path) -> None:
    ledger_at(tmp_path).append(stages("a"))
    subprocess.run(["sha256sum", "--check", "--strict", "ledger.sqlite.sha256"], cwd=tmp_path, check=True)


def test_two_creators_at_once_make_one_ledger(tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 1) for name in ("one", "two", "three")]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert len(trusted(tmp_path).entries) == 4


def test_kill_minus_nine_leaves_a_consistent_ledger_and_a_retry_is_idempotent(tmp_path: Path) -> None:
    """What was acknowledged is there; what was not is there wholly or not at all; a retry brings it to the same end."""
    random_ = random.Random(20240101)
    ledger_at(tmp_path)
    acknowledged = 0
    for _ in range(5):
        process = writer(tmp_path, "killed", 10_000)
        assert process.stdout is not None
        for _ in range(acknowledged + 1):  # what earlier lives logged is acknowledged again, and one more
            process.stdout.readline()
        time.sleep(random_.uniform(0.0, 0.03))
        process.send_signal(signal.SIGKILL)
        acknowledged += 1 + process.communicate()[0].count("\n")
        entries = len(trusted(tmp_path).entries)
        assert entries in (2 * acknowledged, 2 * acknowledged + 2)  # two an append; the last may be unacknowledged
        acknowledged = entries // 2
    contents = [f"{name} {i}" for i in range(acknowledged + 1) for name in ("shared", "killed")]
    receipts = ledger_at(tmp_path).append(stages(*contents, second=30))
    assert [receipt.seq for receipt in receipts] == list(range(len(contents)))
    assert len(trusted(tmp_path).entries) == len(contents)


class LedgerMachine(RuleBasedStateMachine):
    """The real ledger against a Python list of what was logged, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = ledger_at(Path(self.folder.name))
        self.model: list[tuple[str, str]] = []
        self.specs: dict[str, list[str]] = {}
        self.heads: list[tuple[int, bytes]] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    def _log(self, *names: tuple[str, str]) -> None:
        self.model += [name for name in dict.fromkeys(names) if name not in self.model]

    @rule(contents=st.lists(st.sampled_from("abcdefgh"), max_size=4), second=st.integers(0, 59))
    def append(self, contents: list[str], second: int) -> None:
        receipts = self.ledger.append(stages(*contents, second=second))
        self._log(*(("stage", content) for content in contents))
        assert [receipt.seq for receipt in receipts] == [self.model.index(("stage", c)) for c in contents]

    @rule(content=st.sampled_from("abc"))
    def seal(self, content: str) -> None:
        (receipt,) = self.ledger.append([Pending("verdict", verdict(content))])
        self._log(("verdict", content))
        assert receipt.seq == self.model.index(("verdict", content))

    @rule(data=st.sampled_from("xy"), spec=st.sampled_from("123"))
    def register(self, data: str, spec: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            case = project(Path(name), factor=spec)
            object.__setattr__(case, "home", Home(Path(self.folder.name)))
            receipt = case.register(data)
        known = self.specs.setdefault(data, [])
        if spec not in known:
            known.append(spec)
            self.model.append(("register", data + spec))
        assert receipt.registration is not None
        assert receipt.registration.number == known.index(spec) + 1
        assert receipt.seq == self.model.index(("register", data + spec))

    @rule()
    def reopen(self) -> None:
        self.ledger = ledger_at(Path(self.folder.name))

    @invariant()
    def holds_what_the_list_holds_and_every_old_head_is_a_prefix(self) -> None:
        log = trusted(Path(self.folder.name))
        assert [entry.row.kind for entry in log.entries] == [kind for kind, _ in self.model]
        hashes = [entry.row.leaf_hash for entry in log.entries]
        for size, root in self.heads:
            assert merkle.root(hashes[:size]) == root
        self.heads.append((log.head.size, log.head.root))


LedgerMachine.TestCase.settings = settings(max_examples=5, stateful_step_count=10, deadline=None, derandomize=True)
TestLedgerMachine = LedgerMachine.TestCase
