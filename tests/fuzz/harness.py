"""Targets under libFuzzer: `python -m tests.fuzz.harness LOGS JOBS`, and on standard input a line for each target.

A line is the target and libFuzzer's arguments, separated by spaces. Each runs in a process of its own, JOBS at once,
because libFuzzer never returns; all are forked from this one, which has imported and instrumented the parsers once.
What one prints goes to LOGS/TARGET; when it ends, "TARGET CODE" is printed here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import atheris

atheris.enabled_hooks.add("str")
with atheris.instrument_imports(include=["audit", "rfc8785", "tuf", "securesystemslib"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """The command."""
    logs, jobs = Path(sys.argv[1]), int(sys.argv[2])
    running: dict[int, str] = {}
    for line in sys.stdin:
        name, *arguments = line.split()
        if len(running) == jobs:
            _await(running)
        child = os.fork()
        if child == 0:
            _fuzz(name, arguments, logs / name)
        running[child] = name
    while running:
        _await(running)


def _await(running: dict[int, str]) -> None:
    child, status = os.wait()
    print(running.pop(child), os.waitstatus_to_exitcode(status), flush=True)


def _fuzz(name: str, arguments: list[str], log: Path) -> NoReturn:
    target = TARGETS[name]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)

    def one(raw: bytes) -> None:
        target(raw)

    atheris.Setup([name, f"-max_len={target.max_bytes}", *arguments], one)
    atheris.Fuzz()
    os._exit(0)  # never reached: libFuzzer ends the process


if __name__ == "__main__":
    main()
