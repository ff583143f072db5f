"""Fresh Python processes for tests of what only a process's start decides: the determinism profile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.precision import environment

REPOSITORY = Path(__file__).resolve().parents[1]


def defaults() -> dict[str, str]:
    """This process's environment with every pin of the profile taken out: what a user might have."""
    pinned = environment({})
    return {name: value for name, value in environment(os.environ).items() if name not in pinned}


def python(code: str, environ: Mapping[str, str], *, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`code` run by a fresh interpreter, warnings as errors, in exactly `environ`; `before`: an emulator."""
    return subprocess.run(
        [*before, sys.executable, "-W", "error", "-c", code],
        cwd=REPOSITORY,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def inside(code: str) -> str:
    """What `code` printed in a fresh process that entered the profile first; fails the test if it failed."""
    enter = "import os, sys\nfrom engine import precision\nprecision.enter(os.environ, sys.modules)\n"
    done = python(enter + code, environment(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout
