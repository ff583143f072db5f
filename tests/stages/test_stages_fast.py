"""The fast twin's command: it tells, it writes nothing, and it says that nothing of it is released."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from audit.errors import Malformed
from stages.fast import settings

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT / "golden" / "national" / "project"


def project(place: Path, **changes: object) -> Path:
    """The golden national case with the shipped settings of the twin, some of them replaced."""
    params = yaml.safe_load((CASE / "params.yaml").read_text("utf-8"))
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))["fast"]
    (place / "params.yaml").write_text(yaml.safe_dump({**params, "fast": {**shipped, **changes}}), "utf-8")
    (place / "data").mkdir()
    (place / "data" / "national.csv").write_bytes((CASE / "data" / "national.csv").read_bytes())
    return place


def test_it_says_what_media_added_and_that_this_is_never_released(tmp_path: Path) -> None:
    place = project(tmp_path)
    before = sorted(place.rglob("*"))
    command = [sys.executable, "-m", "stages.cli", "fast", "national"]
    done = subprocess.run(
        command, cwd=place, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "release: never" in done.stdout
    channels = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("national ")]
    assert channels == ["tv", "search"]
    assert sorted(place.rglob("*")) == before


def test_a_setting_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"params.yaml: fast.folds"):
        settings(project(tmp_path, folds=0))
