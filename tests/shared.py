"""Where tests find the shared data that does not ship with the project, and how they skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

_REPOSITORY = Path(__file__).resolve().parents[1]


def _root() -> Path:
    named = os.environ.get("NOPTIK_SHARED_DATA")
    return Path(named) if named else _REPOSITORY.parent / "shared" / "data"


def shared(*parts: str) -> Path:
    """The path of shared data that exists; skips the running test, naming the path, where it is absent."""
    path = _root().joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared data absent: {path} (NOPTIK_SHARED_DATA names another folder)")
    return path


def shared_files(folder: str, pattern: str) -> list[ParameterSet]:
    """One test parameter a file under `folder` that matches `pattern`; a skipped one if there is none."""
    root = _root() / folder
    files = sorted(root.glob(pattern))
    if not files:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"shared data absent: {root}/{pattern}"))]
    return [pytest.param(file, id=str(file.relative_to(root))) for file in files]
