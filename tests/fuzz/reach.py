"""Which inputs are worth committing: those that take a parser along a way that no committed one does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from tests.fuzz.targets import CORPUS, TARGETS, content_name, corpus

LARGEST = 1024  # bytes
Step: TypeAlias = tuple[str, int, int]  # a file of audit/, and two lines of it that are run one after the other


def keep(target: str, learned: Path) -> int:
    """Afterwards the committed corpus takes every step that the inputs in `learned` take; how many it gained."""
    known: set[Step] = set()
    for path in corpus(target):
        known |= reached(target, path.read_bytes())
    kept = 0
    for path in sorted(learned.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        raw = path.read_bytes()
        if len(raw) <= LARGEST and not (new := reached(target, raw)) <= known:
            known |= new
            (CORPUS / target / content_name(raw)).write_bytes(raw)
            kept += 1
    return kept


def reached(target: str, raw: bytes) -> set[Step]:
    """The steps that the target takes with this input."""
    steps: set[Step] = set()
    last: dict[FrameType, int] = {}

    def follow(frame: FrameType, event: str, _: object) -> Any:
        file = frame.f_code.co_filename
        if f"{os.sep}audit{os.sep}" not in file:
            return None
        if event == "line":
            steps.add((file, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        return follow

    sys.settrace(follow)
    try:
        TARGETS[target](raw)
    finally:
        sys.settrace(None)
    return steps
