"""The command line of an attack, really run: `python -m audit ...` in a copy of its folder, the good one beside it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.fresh import REPOSITORY

TAMPERED = REPOSITORY / "golden" / "tampered"


def run(options: str, files: Mapping[str, bytes], place: Path) -> subprocess.CompletedProcess[str]:
    """What `python -m audit` says with these options, in a new folder below `place` that holds these files."""
    folder = place / "vector"
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    shutil.copytree(TAMPERED / "good", place / "good", dirs_exist_ok=True)
    return audit(options, folder)


def audit(options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `python -m audit` says with these options in this folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NOPTIK_")}
    command = [sys.executable, "-W", "error", "-m", "audit", *shlex.split(options)]
    environ["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120)
