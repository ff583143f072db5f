"""The committed cases are what CHANGES.md says, hold nothing else, and their data is what it is made by."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from audit.digest import dir_hash
from engine.spec import parse_spec
from golden import changes, synthetic
from golden.case import HERE
from golden.cli import CASES, NAMES
from registry import regimes
from stages.stage import declared_spec

FORECASTS = [case for case in CASES if (case.project / "params.yaml").exists()]
BYTES = 1_500_000  # of all expected files together: a golden file is read by people and travels in every clone


def test_the_last_entry_of_changes_has_the_digest_of_every_case() -> None:
    last = {change.case: change.after for change in changes.recorded()}
    assert last == {case.name: dir_hash(case.expected) for case in CASES}


def test_each_entry_begins_where_the_one_before_it_ended() -> None:
    known: dict[str, str] = {}
    for change in changes.recorded():
        assert change.before == known.get(change.case, changes.NONE)
        known[change.case] = change.after


@pytest.mark.parametrize(("name", "path", "_make"), synthetic.SERIES, ids=[name for name, *_ in synthetic.SERIES])
def test_data_is_what_its_generator_prints(name: str, path: str, _make: object) -> None:
    assert (HERE / path).read_text("ascii") == synthetic.text(name)


@pytest.mark.parametrize("case", FORECASTS, ids=lambda case: case.name)
def test_a_case_declares_itself_and_a_registry_that_loads(case: object) -> None:
    assert parse_spec(declared_spec(case.project, case.name)).name == case.name  # type: ignore[attr-defined]
    assert regimes.load(case.project / "registry" / "regimes").events  # type: ignore[attr-defined]


def test_a_case_folder_holds_its_project_and_its_expected_bytes_and_nothing_else() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*NAMES, "tampered"}  # tests/audit/test_audit_tampered.py looks after those
    for case in CASES:
        assert {path.name for path in case.project.parent.iterdir()} == {"project", "expected"}
        assert not [path for path in case.project.parent.rglob("*") if path.is_symlink()]
    assert sum(path.stat().st_size for case in CASES for path in case.expected.rglob("*") if path.is_file()) < BYTES


def test_no_expected_file_is_ignored_by_git() -> None:
    """`.gitignore` names artifacts and caches: an expected file it caught would be missing from every clone."""
    files = [str(path) for case in CASES for path in case.expected.rglob("*") if path.is_file()]
    done = subprocess.run(
        ["git", "-C", str(HERE), "check-ignore", "--no-index", "--stdin"], input="\n".join(files), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode == 128:
        pytest.skip("not a git work tree")
    assert done.stdout == ""


def test_an_entry_is_appended_after_all_others(tmp_path: Path) -> None:
    file = tmp_path / "CHANGES.md"
    file.write_text("# Changes\n")
    first, second = changes.Change("geo", changes.NONE, "a" * 64), changes.Change("geo", "a" * 64, "b" * 64)
    changes.append("because", [first], file)
    before = file.read_bytes()
    changes.append(" and again\n", [second], file)
    assert file.read_bytes().startswith(before)
    assert changes.recorded(file) == (first, second)
    assert "## 2\nand again\n" in file.read_text()
