"""Laws and attacks of a witness: it cosigns only what extends all it ever cosigned, and forgets nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from audit import durable
from audit.addcheckpoint import Request, parse_proof, parse_request, proof_bytes
from audit.cosignature import VKey, cosignature
from audit.errors import AuditError, BadProof, BadSignature, Inconsistent, KeyRefused, Malformed, Unavailable, Usage
from audit.note import parse_note, with_lines
from audit.root import parse_root, with_log_key
from audit.signing import Secret, SigningKey
from audit.witness import Conflict, StateDamaged, UnknownLog, Witness
from tests.audit.witness_case import ANCHOR, CHAIN, EVE, LOG, NAME, ORIGIN, ROOT, TIME, Log, cosign, seen, watching

NEW = SigningKey.from_seed(b"n" * 32)
ROTATED = (*CHAIN, with_log_key(parse_root(CHAIN[0]), NEW.public, 5, "rotated").sign(ROOT, LOG, NEW).to_bytes())


@pytest.fixture
def mine(tmp_path: Path) -> Witness:
    return watching(tmp_path / "witness")


def head_file(mine: Witness) -> Path:
    (path,) = mine.folder.glob("logs/*/head")
    return path


def test_a_growing_log_is_cosigned_head_by_head(mine: Witness) -> None:
    log = Log()
    for old, size in ((0, 0), (0, 1), (1, 1), (1, 7), (7, 8), (8, 40)):
        line = cosign(mine, log, old, size)
        found = cosignature(parse_note(with_lines(log.head(size), [line.line.encode()])), mine.vkey)
        assert found is not None
        assert found.time == TIME
        assert seen(mine) == size


def test_an_older_head_is_refused(mine: Witness) -> None:
    cosign(mine, Log(), 0, 8)
    for old in (0, 5):
        with pytest.raises(Conflict) as caught:
            cosign(mine, Log(), old, 5)
        assert caught.value.size == 8
    with pytest.raises(Malformed, match="beyond"):
        cosign(mine, Log(), 8, 5)
    assert seen(mine) == 8


def test_a_fork_of_the_same_size_is_refused(mine: Witness) -> None:
    cosign(mine, Log(), 0, 8)
    with pytest.raises(Conflict, match="fork"):
        cosign(mine, Log().fork(7), 8, 8)


@pytest.mark.parametrize("size", [9, 12, 16, 40])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_fork_that_grew_is_refused(mine: Witness, at: int, size: int) -> None:
    cosign(mine, Log(), 0, 8)
    with pytest.raises(BadProof):
        cosign(mine, Log().fork(at), 8, size)
    assert seen(mine) == 8
    cosign(mine, Log(), 8, size)


def test_a_proof_is_demanded_and_must_be_the_right_one(mine: Witness) -> None:
    log = Log()
    with pytest.raises(BadProof, match="empty tree"):
        mine.add(replace(log.request(0, 6), proof=(bytes(32),)), TIME)
    cosign(mine, log, 0, 6)
    good = log.request(6, 11)
    for proof in ((), good.proof[:-1], (*good.proof, bytes(32)), good.proof[::-1], (b"", *good.proof[1:])):
        with pytest.raises(BadProof):
            mine.add(replace(good, proof=proof), TIME)
    with pytest.raises(BadProof):
        mine.add(replace(log.request(6, 6), proof=(bytes(32),)), TIME)
    mine.add(good, TIME)


def test_other_logs_and_other_keys_are_refused(mine: Witness) -> None:
    with pytest.raises(UnknownLog):
        cosign(mine, Log(origin="client.example/other"), 0, 3)
    with pytest.raises(BadSignature):
        cosign(mine, Log(EVE), 0, 3)
    with pytest.raises(BadSignature):
        cosign(mine, Log(ROOT), 0, 3)
    unsigned = parse_note(Log().head(3)).text.encode() + b"\n"
    with pytest.raises((Malformed, BadSignature)):
        mine.add(Request(0, (), unsigned), TIME)
    assert seen(mine) == 0


def test_a_rotated_key_counts_from_its_size_once_the_witness_knows_it(mine: Witness) -> None:
    cosign(mine, Log(), 0, 4)
    with pytest.raises(BadSignature):
        cosign(mine, Log(NEW), 4, 5)
    mine.pin(ANCHOR, ROTATED)
    with pytest.raises(BadSignature):
        cosign(mine, Log(LOG), 4, 5)
    cosign(mine, Log(NEW), 4, 5)
    with pytest.raises(BadSignature):
        cosign(mine, Log(LOG), 5, 6)


def test_a_revoked_key_s_heads_are_not_cosigned(mine: Witness) -> None:
    revoked = with_log_key(parse_root(CHAIN[0]), NEW.public, 9, "revoked", 6).sign(ROOT, NEW).to_bytes()
    mine.pin(ANCHOR, (*CHAIN, revoked))
    cosign(mine, Log(), 0, 5)
    with pytest.raises(BadSignature, match="revoked"):
        cosign(mine, Log(), 5, 7)
    cosign(mine, Log(NEW), 5, 9)


def test_a_log_is_pinned_once_and_its_root_of_trust_only_grows(mine: Witness) -> None:
    mine.pin(ANCHOR, CHAIN)
    mine.pin(ANCHOR, ROTATED)
    mine.pin(ANCHOR, CHAIN)
    assert mine.trust(ORIGIN).version == 2
    with pytest.raises(Usage, match="another anchor"):
        mine.pin(CHAIN[0], CHAIN)
    other = with_log_key(parse_root(CHAIN[0]), EVE.public, 3, "revoked", 2).sign(ROOT, EVE).to_bytes()
    with pytest.raises(Inconsistent, match="another version"):
        mine.pin(ANCHOR, (*CHAIN, other))
    assert mine.trust(ORIGIN).spans[-1].key == NEW.public


def test_a_root_of_trust_that_the_anchor_does_not_reach_is_not_pinned(tmp_path: Path) -> None:
    fresh = Witness(tmp_path / "witness")
    fresh.create(NAME)
    with pytest.raises(BadSignature):
        fresh.pin(EVE.public.to_pem(), CHAIN)
    assert fresh.origins() == ()


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_truncated_or_garbled_memory_stops_the_witness(mine: Witness, cut: int) -> None:
    cosign(mine, Log(), 0, 8)
    path = head_file(mine)
    whole = path.read_bytes()
    for raw in (whole[:cut] if cut else b"", whole.replace(b"\n8\n", b"\n7\n"), b"\xff" * 100, Log(EVE).head(3)):
        path.write_bytes(raw)
        with pytest.raises(StateDamaged):
            cosign(mine, Log(), 8, 9)
        with pytest.raises(StateDamaged):
            mine.head(ORIGIN)
        assert path.read_bytes() == raw
    path.write_bytes(whole)
    cosign(mine, Log(), 8, 9)


@pytest.mark.parametrize("name", ["anchor", "root/1.root.json"])
def test_a_damaged_root_of_trust_stops_the_witness(mine: Witness, name: str) -> None:
    (path,) = mine.folder.glob(f"logs/*/{name}")
    path.write_bytes(path.read_bytes()[:-3])
    for ask in (lambda: cosign(mine, Log(), 0, 1), mine.origins):
        with pytest.raises(StateDamaged):
            ask()


def test_a_memory_that_was_rolled_back_is_given_away_by_the_witness_s_own_cosignature(mine: Witness) -> None:
    log = Log()
    cosign(mine, log, 0, 4)
    old = head_file(mine).read_bytes()
    line = cosign(mine, log, 4, 8)
    head_file(mine).write_bytes(old)
    request = log.request(4, 8)
    with pytest.raises(StateDamaged, match="does not remember"):
        mine.add(replace(request, checkpoint=with_lines(request.checkpoint, [line.line.encode()])), TIME)


def test_the_head_is_on_disk_before_the_cosignature_leaves(mine: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise Unavailable("cannot write: No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(Unavailable):
        cosign(mine, Log(), 0, 3)
    monkeypatch.undo()
    assert seen(mine) == 0
    cosign(mine, Log(), 0, 3)


KILLED = """
import os, signal, sys
from pathlib import Path
from audit import durable, witness
from tests.audit.witness_case import Log, cosign
real, moment = durable.replace, sys.argv[2]
def replace(*arguments):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
    if moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
durable.replace = replace
print(cosign(witness.Witness(Path(sys.argv[1])), Log(), 3, 6).line, flush=True)
"""


@pytest.mark.parametrize(("moment", "size"), [("before", 3), ("after", 6)])
def test_killed_around_saving_the_witness_never_cosigns_what_it_does_not_remember(
    mine: Witness, moment: str, size: int
) -> None:
    cosign(mine, Log(), 0, 3)
    command = [sys.executable, "-c", KILLED, str(mine.folder), moment]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL, done
    assert done.stdout == ""
    assert seen(mine) == size
    with pytest.raises((BadProof, Conflict)):
        cosign(mine, Log().fork(2), size, 6)
    cosign(mine, Log(), size, 6)


LOOP = """
import sys
from pathlib import Path
from audit import witness
from tests.audit.witness_case import Log, cosign, seen
mine, log = witness.Witness(Path(sys.argv[1])), Log()
while (size := seen(mine)) < 60:
    cosign(mine, log, size, size + 1)
    print(size + 1, flush=True)
"""


def test_killed_in_a_loop_the_witness_remembers_all_it_released(mine: Witness) -> None:
    released = 0
    for _ in range(6):
        command = [sys.executable, "-c", LOOP, str(mine.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as run:
            assert run.stdout is not None
            for _ in range(4):
                line = run.stdout.readline()
            run.kill()
            rest = [text for text in (line + run.stdout.read()).split("\n") if text]
        released = int(rest[-1]) if rest else released
        assert released <= seen(mine) <= released + 1
    assert released > 20


def test_of_cosigners_at_once_each_head_follows_the_one_before(mine: Witness) -> None:
    log, fork = Log(), Log().fork(1)

    def attempt(number: int) -> tuple[bytes, int] | None:
        source = log if number % 2 else fork
        try:
            size = 1 + number % 7
            cosign(mine, source, seen(mine), size)
            return source.head(size), size
        except (AuditError, Usage):
            return None

    with ThreadPoolExecutor(8) as pool:
        given = [found for found in pool.map(attempt, range(100)) if found]
    assert given
    by_size = {size: {head for head, other in given if other == size} for _, size in given}
    assert all(len(heads) == 1 for heads in by_size.values())
    grown = [next(iter(by_size[size])) for size in sorted(by_size) if size > 1]
    one_source = ({log.head(n) for n in range(64)}, {fork.head(n) for n in range(64)})
    assert any(set(grown) <= heads for heads in one_source)


class WitnessMachine(RuleBasedStateMachine):
    """The witness against a plain model: the list of trees it has cosigned."""

    @initialize(folder=st.uuids())
    def begin(self, folder: Any) -> None:
        self.place = tempfile.TemporaryDirectory(prefix=f"witness-{folder}")
        self.witness = watching(Path(self.place.name) / "w")
        self.logs = [Log(), Log().fork(5), Log().fork(20)]
        self.size, self.leaves = 0, list[bytes]()

    @rule(log=st.integers(0, 2), old=st.integers(0, 30), size=st.integers(0, 30), honest=st.booleans())
    def submit(self, log: int, old: int, size: int, honest: bool) -> None:
        source = self.logs[log]
        old = self.size if honest else old
        extends = old == self.size <= size and source.leaves[: self.size] == self.leaves
        try:
            cosign(self.witness, source, old, size)
        except (Conflict, BadProof, Malformed):
            assert not extends
        else:
            assert extends
            self.size, self.leaves = size, source.leaves[:size]

    @invariant()
    def remembers(self) -> None:
        if hasattr(self, "witness"):
            assert seen(self.witness) == self.size

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.place.cleanup()


TestWitnessAgainstAModel = WitnessMachine.TestCase
TestWitnessAgainstAModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_witness_keeps_its_name_and_key(mine: Witness) -> None:
    before = mine.vkey
    mine.create(NAME)
    assert mine.vkey == before == VKey.cosigner(NAME, before.key)
    with pytest.raises(Usage, match="another name"):
        mine.create("client.example/other")
    for name in ("", "a b", "a+b", "ä", "a\n"):
        with pytest.raises(Usage, match="not a name"):
            mine.create(name)


def test_a_witness_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        cosign(Witness(tmp_path / "none"), Log(), 0, 1)


def test_a_witness_key_may_be_encrypted(tmp_path: Path) -> None:
    locked = Witness(tmp_path / "witness", Secret(b"correct horse"))
    locked.create(NAME)
    locked.pin(ANCHOR, CHAIN)
    cosign(locked, Log(), 0, 3)
    with pytest.raises(KeyRefused, match="encrypted"):
        cosign(Witness(tmp_path / "witness"), Log(), 3, 4)


REQUEST = Log().request(6, 11).to_bytes()


def test_a_request_reads_back() -> None:
    assert parse_request(REQUEST) == Log().request(6, 11)
    assert parse_request(Log().request(0, 0).to_bytes()).old == 0
    assert parse_proof(proof_bytes(6, Log().request(6, 11).proof)) == (6, Log().request(6, 11).proof)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"old 6",
        REQUEST.replace(b"old 6", b"old 06"),
        REQUEST.replace(b"old 6", b"old +6"),
        REQUEST.replace(b"old 6", b"old  6"),
        REQUEST.replace(b"old 6", b"old 6 "),
        REQUEST.replace(b"old 6", b"Old 6"),
        REQUEST.replace(b"old 6", "old \u0666".encode()),
        REQUEST.replace(b"old 6\n", b"old 6\r\n"),
        REQUEST.replace(b"old 6\n", b"old 6\nAAAA\n"),
        REQUEST.replace(b"=\n", b"\n", 1),
        b"old 6\n" + b"A" * 43 + b"=\n\n",
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + Log().head(3),
        b"old 0\n\nclient.example/log\n1\n",
        b"x" * 2**17,
    ],
    ids=range(16),
)
def test_a_request_in_any_other_form_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(raw)
