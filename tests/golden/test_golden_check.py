"""`golden check` and `golden update` on the quickest case, and what they say of bytes that differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr

from engine.table import write_parquet
from golden import emulate, vary
from golden.case import HERE
from golden.compare import ABSENT, artifacts, differences


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's packages with their golden cases, to damage."""
    for package in ("audit", "engine", "golden", "registry", "stages"):
        shutil.copytree(HERE.parent / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def golden(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "golden", *arguments]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=300, check=False)


def test_detection_is_as_expected(copy: Path) -> None:
    done = golden(copy, "check", "--case", "detection", "--workers", "0", "--no-cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("detection  equal")


def test_a_flipped_byte_of_an_expected_file_is_named(copy: Path) -> None:
    verdict = copy / "golden/detection/expected/verdict.json"
    raw = bytearray(verdict.read_bytes())
    raw[-3] ^= 1
    verdict.write_bytes(raw)
    done = golden(copy, "check", "--case", "detection", "--workers", "0")
    assert done.returncode == 1
    assert "verdict.json: expected" in done.stdout


def test_an_edit_of_the_shipped_registry_is_noticed(copy: Path) -> None:
    event = copy / "registry/regimes/covid_pandemic_2020.yaml"
    event.write_text(event.read_text().replace("\nversion: 1", "\nversion: 2"))
    assert golden(copy, "check", "--case", "detection", "--workers", "0").returncode == 2  # not recorded
    said = ["regimes", "record", "--on", "2099-01-01", "--reason", "a test"]
    subprocess.run([sys.executable, "-m", "registry", *said], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    assert golden(copy, "check", "--case", "detection", "--workers", "0").returncode == 1


@pytest.mark.parametrize("reason", ["", " \n"])
def test_update_refuses_an_empty_reason(copy: Path, reason: str) -> None:
    before = (copy / "golden/CHANGES.md").read_bytes()
    done = golden(copy, "update", "--case", "detection", "--reason", reason)
    assert done.returncode == 2
    assert "reason" in done.stderr
    assert (copy / "golden/CHANGES.md").read_bytes() == before


def test_update_refuses_to_say_why_nothing_changed(copy: Path) -> None:
    done = golden(copy, "update", "--case", "detection", "--workers", "0", "--reason", "no change at all")
    assert done.returncode == 2
    assert "nothing changed" in done.stderr


def test_update_writes_what_a_run_gives_and_records_both_digests(copy: Path) -> None:
    expected = copy / "golden/detection/expected/verdict.json"
    right = expected.read_bytes()
    expected.write_bytes(b"{}")
    done = golden(copy, "update", "--case", "detection", "--workers", "0", "--reason", "the verdict was lost")
    assert done.returncode == 0, done.stderr
    assert expected.read_bytes() == right
    entry = (copy / "golden/CHANGES.md").read_text().rpartition("\n## ")[2]
    assert "the verdict was lost" in entry
    assert entry.count(" -> ") == 1


def test_a_case_without_expected_bytes_is_unavailable_and_not_different(copy: Path) -> None:
    shutil.rmtree(copy / "golden/detection/expected")
    done = golden(copy, "check", "--case", "detection")
    assert done.returncode == 2
    assert "no expected bytes" in done.stderr


def test_the_distance_of_numbers_is_told_in_ulp(tmp_path: Path) -> None:
    for name, value in (("expected", 1.0), ("found", np.nextafter(1.0, 2.0))):
        (tmp_path / name).mkdir()
        write_parquet(pa.table({"x": pa.array([0.5, value])}), tmp_path / name / "table.parquet")
        group = zarr.create_group(store=zarr.storage.LocalStore(tmp_path / name / "draws.zarr"), zarr_format=3)
        group.create_array("x", data=np.asarray([value, -value]))
        (tmp_path / name / "page.html").write_text(str(value))
    draws, page, table = differences(tmp_path / "expected", tmp_path / "found")
    assert [draws.artifact, page.artifact, table.artifact] == ["draws.zarr", "page.html", "table.parquet"]
    assert "at most 1 ulp" in str(draws)
    assert "at most 1 ulp" in str(table)
    assert "not comparable" in str(page)


def test_missing_and_extra_artifacts_are_differences(tmp_path: Path) -> None:
    for name in ("expected/a/one", "expected/two", "found/two", "found/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert artifacts(tmp_path / "expected") == {"a/one", "two"}
    missing, extra = differences(tmp_path / "expected", tmp_path / "found")
    assert (missing.artifact, missing.found) == ("a/one", ABSENT)
    assert (extra.artifact, extra.expected) == ("three", ABSENT)


def test_every_variation_is_named_once_and_changes_how_a_check_starts(tmp_path: Path) -> None:
    assert len(vary.NAMES) == len(set(vary.NAMES)) == 14
    for group in vary.GROUPS:
        for variation in group.variations:
            (scratch := tmp_path / variation.__name__).mkdir()
            start = vary.Start(scratch, tuple(os.environ.items()))
            assert variation(start) != start


def test_variations_alone_keep_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    """The quick ones, on the quick case: the rest is `make golden-variations`."""
    group = vary.Group((vary.hash_seed, vary.umask, vary.timezone), ("detection",))
    assert vary.check(group, 1) == 0
    assert capfd.readouterr().out.count(" equal ") == 3


def test_an_emulator_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Exception, match="apt-get install qemu-user"):
        emulate.emulate("Haswell", ("detection",))
