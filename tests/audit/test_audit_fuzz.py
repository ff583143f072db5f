"""Fuzzing of every parser that reads what others wrote: the committed corpus, and atheris for real, for a moment.

`make fuzz` takes longer; NOPTIK_FUZZ_SECONDS gives each target more here too.
"""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType

import pytest

from audit import note
from audit.errors import AuditError
from audit.timestamp import read_roots, request_timestamp
from audit.witnessclient import cosigned_by
from tests.fresh import REPOSITORY
from tests.fuzz import texts
from tests.fuzz.run import Fuzzed, fuzz
from tests.fuzz.targets import CORPUS, TARGETS, content_name, corpus

SECONDS = float(os.environ.get("NOPTIK_FUZZ_SECONDS", "1"))
KILOBYTES = 600

ALL = pytest.mark.parametrize("target", TARGETS)


@ALL
def test_every_committed_input_is_accepted_whole_or_refused_for_a_reason(target: str) -> None:
    verdicts = [TARGETS[target](path.read_bytes()) for path in corpus(target)]
    assert verdicts
    assert any(verdicts) or target in SIGNED, "no input of the corpus is a good one"


SIGNED = ("timestamp", "cosignature")  # only their maker can write a good one that is new


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Fuzzed]:
    """What came of a moment's fuzzing of every target, two at once."""
    work = tmp_path_factory.mktemp("fuzz")
    results = {result.target: result for result in fuzz(TARGETS, SECONDS, work, seed=1, jobs=2)}
    assert [path.name for path in (work / "found").iterdir()] == []
    return results


@ALL
def test_a_fuzzer_that_is_led_by_coverage_finds_nothing(target: str, fuzzed: Mapping[str, Fuzzed]) -> None:
    result = fuzzed[target]
    assert result.code == 0, result.log[-4000:]
    assert result.tried >= len(corpus(target))
    assert result.edges > 0


FAULTS = {
    "crash": ("raise ValueError(raw)", "fuzz target exited"),
    "hang": ("while True: pass", "ALARM: working on the last Unit"),
    "memory": (r"held.append(bytes(2**27).replace(b'\0', b'\1'))", "out-of-memory"),
}


def test_planted_faults_are_found(tmp_path: Path) -> None:
    code = "from tests.fuzz import harness\nfrom tests.fuzz.targets import TARGETS, Target\nheld = []\n"
    for name, (fault, _) in FAULTS.items():
        code += f"def {name}(raw):\n    if raw[:1] == b'{{':\n        {fault}\nTARGETS[{name!r}] = Target({name})\n"
    limits = f"-max_total_time=20 -timeout=2 -rss_limit_mb=1024 -artifact_prefix={tmp_path}/"
    subprocess.run(
        [sys.executable, "-c", f"{code}harness.main()", str(tmp_path), "3"],
        input="".join(f"{name} {limits}{name}- {CORPUS / 'json'}\n" for name in FAULTS),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, (_, sign) in FAULTS.items():
        assert sign in (tmp_path / name).read_text("utf-8", "replace")
        assert list(tmp_path.glob(f"{name}-*")), "the input was not kept"


def test_no_input_of_a_hostile_shape_hangs_or_fills_the_memory() -> None:
    command = [sys.executable, "-m", "tests.fuzz.shapes", *(name for name in TARGETS if name != "bundle")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


ANSWERS = {
    "nothing": b"",
    "garbage": b"garbage\r\n\r\n",
    "no such status": b"HTTP/1.1 999999 x\r\n\r\n",
    "an endless header": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "no chunk of an error": b"HTTP/1.1 409 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "half an error": b"HTTP/1.1 409 x\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 9\r\n\r\n1",
    "a redirect": b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n",
}


def answering(raw: bytes) -> str:
    """The address of a peer that answers these bytes, once, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with listener, peer:
            peer.recv(2**16)
            peer.sendall(raw)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)
def test_no_answer_of_a_stranger_is_a_crash(raw: bytes) -> None:
    log = note.Verifier("noptik.example/log", texts.KEY.public)
    with pytest.raises(AuditError):
        request_timestamp(answering(raw), texts.CHECKPOINT, log, read_roots(texts.TSA))
    with pytest.raises(AuditError):
        cosigned_by(answering(raw), texts.WITNESS, texts.CHECKPOINT, lambda *_: ())


def readers() -> Iterator[tuple[str, str, int]]:
    """Every public function or method of audit/ that takes `raw: bytes`: its file, name and line."""
    for path in sorted((REPOSITORY / "audit").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                taken = [(a.arg, ast.unparse(a.annotation)) for a in node.args.args if a.annotation]
                if ("raw", "bytes") in taken:
                    yield str(path), node.name, node.lineno


def test_every_function_that_reads_raw_bytes_is_reached_by_the_corpus() -> None:
    called: set[tuple[str, str]] = set()

    def call(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            code: CodeType = frame.f_code
            called.add((code.co_filename, code.co_name))

    sys.setprofile(call)
    try:
        for target in TARGETS:
            for path in corpus(target):
                TARGETS[target](path.read_bytes())
    finally:
        sys.setprofile(None)
    missing = {f"{Path(file).stem}.{name}" for file, name, _ in readers() if (file, name) not in called}
    assert missing == set()


def test_the_corpus_is_small_and_each_input_is_named_by_its_content() -> None:
    inputs = [path for target in TARGETS for path in corpus(target)]
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert [path for path in inputs if path.name != content_name(path.read_bytes())] == []
    assert sum(path.stat().st_size for path in inputs) < KILOBYTES * 1024


def test_the_fuzzer_stays_out_of_this_process() -> None:
    assert "atheris" not in sys.modules
