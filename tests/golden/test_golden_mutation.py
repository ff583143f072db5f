"""A change of one unit in the last place, anywhere in the engine, turns the golden check red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from golden.case import HERE

ROOT = HERE.parent
CACHE = ROOT / ".noptik" / "test-cache"  # of compiled programs: a mutated program is another program


class Mutation(NamedTuple):
    """`before` occurs once in engine/<module>.py; `after` differs from it by one ulp; `artifact` shows it."""

    module: str
    before: str
    after: str
    case: str
    artifact: str


NATIONAL, DETECTION = "national", "detection"
MUTATIONS = (
    Mutation("saturation", "1.0 - jnp.exp(", "1.0000000000000002 - jnp.exp(", NATIONAL, "fit/posterior.zarr"),
    Mutation(
        "conformal", "= lower - q,", "= lower - 1.0000000000000002 * q,", NATIONAL, "calibrate/coverage_rolling.parquet"
    ),
    Mutation("forecast", "* last\n", "* last * 1.0000000000000002\n", NATIONAL, "adapt/forecasts.parquet"),
    Mutation("explanation", "= shape + 0.5 * n", "= shape + 0.5000000000000001 * n", DETECTION, "verdict.json"),
)


def copied(to: Path) -> Path:
    """The project's packages with their golden cases, to damage."""
    for package in ("audit", "engine", "golden", "registry", "stages"):
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    return to


def check(root: Path, case: str) -> subprocess.CompletedProcess[str]:
    """`python -m golden check` with the packages of `root`."""
    command = [sys.executable, "-m", "golden", "check", "--case", case, "--workers", "0", "--cache", str(CACHE)]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_the_engine_as_it_is_gives_the_expected_bytes(tmp_path: Path) -> None:
    """The control of the mutations below; the other cases are checked by `make golden`."""
    done = check(copied(tmp_path), NATIONAL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.module)
def test_one_ulp_in_the_engine_turns_the_check_red(tmp_path: Path, mutation: Mutation) -> None:
    source = copied(tmp_path) / "engine" / f"{mutation.module}.py"
    text = source.read_text("utf-8")
    assert text.count(mutation.before) == 1
    source.write_text(text.replace(mutation.before, mutation.after), "utf-8")
    done = check(tmp_path, mutation.case)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"  {mutation.artifact}: expected " in done.stdout
