"""Fuzzing of every parser that reads what others wrote: the committed corpus, and atheris for real, for a moment.

`make fuzz` takes longer; NOPTIK_FUZZ_SECONDS gives each target more here too.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType

import pytest

from tests.fresh import REPOSITORY
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

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            code: CodeType = frame.f_code
            called.add((code.co_filename, code.co_name))

    sys.setprofile(note)
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
