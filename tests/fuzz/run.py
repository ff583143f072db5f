"""Fuzzes: `python -m tests.fuzz.run [--minutes M] [--jobs N] [TARGET ...]`, every target for M minutes, N at once.

Starts from the committed corpus. What it learns goes to .noptik/fuzz/TARGET, which the next run starts from as well;
an input that breaks a target goes to .noptik/fuzz/found. Exit code 1 if there is one, else 0. `--keep` copies the
inputs that reach new code into the committed corpus.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fresh import REPOSITORY
from tests.fuzz.reach import keep
from tests.fuzz.targets import CORPUS, TARGETS

WORK = REPOSITORY / ".noptik" / "fuzz"
SECONDS_AN_INPUT = 10
MEGABYTES = 2048
HARNESS = (sys.executable, "-m", "tests.fuzz.harness")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What a run of one target did: inputs tried, seconds, edges of the parser's code reached, and its exit code."""

    target: str
    tried: int
    seconds: float
    edges: int
    code: int
    log: str

    @classmethod
    def of(cls, target: str, code: int, log: str) -> Fuzzed:
        """What libFuzzer's log says."""
        tried = _last(r"stat::number_of_executed_units: (\d+)", log)
        seconds = _last(r"Done \d+ runs in (\d+) second", log)
        return cls(target, tried, seconds, _last(r"\bcov: (\d+)", log), code, log)

    def __str__(self) -> str:
        verdict = "ok" if self.code == 0 else f"FOUND (exit {self.code})"
        rate = self.tried / self.seconds if self.seconds else 0.0
        work = f"{self.tried:>9} inputs {rate:>8.0f}/s {self.seconds:>6.0f} s"
        return f"{self.target:14} {work} {self.edges:>6} edges {verdict}"


def fuzz(targets: Iterable[str], seconds: float, work: Path = WORK, seed: int = 0, jobs: int = 1) -> Iterator[Fuzzed]:
    """Each target fuzzed for so long, `jobs` at once; what came of it, as each ends. `seed` 0: libFuzzer chooses."""
    plan = "".join(f"{target} {' '.join(_arguments(target, seconds, work, seed))}\n" for target in targets)
    logs = work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    command = [*HARNESS, str(logs), str(jobs)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True
    ) as harness:
        assert harness.stdin
        assert harness.stdout
        harness.stdin.write(plan)
        harness.stdin.close()
        for line in harness.stdout:
            if found := re.fullmatch(r"(\w+) (-?\d+)\n", line):
                yield Fuzzed.of(found[1], int(found[2]), (logs / found[1]).read_text("utf-8", "replace"))


def _arguments(target: str, seconds: float, work: Path, seed: int) -> list[str]:
    learned, found = work / target, work / "found"
    for folder in (learned, found):
        folder.mkdir(parents=True, exist_ok=True)
    words = Path(__file__).parent / "words" / f"{target}.txt"
    return [
        f"-max_total_time={max(1, round(seconds))}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-seed={seed}",
        f"-artifact_prefix={found}/{target}-",
        "-print_final_stats=1",
        *([f"-dict={words}"] if words.exists() else []),
        str(learned),
        str(CORPUS / target),
    ]


def _last(pattern: str, log: str) -> int:
    found: list[str] = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzzes the parsers of audit/.")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once (default: 1)")
    parser.add_argument("--keep", action="store_true", help="copy inputs that reach new code into the corpus")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    arguments = parser.parse_args()
    wanted = arguments.targets or list(TARGETS)
    if unknown := set(wanted) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    done = []
    for result in fuzz(wanted, 60 * arguments.minutes, jobs=arguments.jobs):
        done.append(result)
        print(result, flush=True)
        if result.code:
            print(result.log[-4000:], flush=True)
        if arguments.keep:
            gained = keep(result.target, WORK / result.target)
            print(f"{result.target:14} {gained:>9} inputs are new in the corpus", flush=True)
    return 0 if len(done) == len(wanted) and not any(result.code for result in done) else 1


if __name__ == "__main__":
    sys.exit(main())
