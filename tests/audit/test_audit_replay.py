"""Replays that really run: the recorded source, in a fresh folder, compared byte for byte."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from ledger_case import COMPARE, FORECAST, REPLAY, Case, project, sealed_project

from audit.errors import Tampered, Unavailable
from audit.replayhome import ReplayReport, replay
from audit.verify import verify


def run(case: Case, workdir: Path) -> ReplayReport:
    workdir.mkdir()
    return replay(FORECAST, case.ledger, case.home.store, workdir, lambda: "2024-02-03T04:05:06Z", (sys.executable,))


def test_a_replay_from_record_alone_is_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, sealed = sealed_project(tmp_path)
    shutil.rmtree(case.root)
    monkeypatch.setenv("SECRET", "in the user's environment")  # the replayed stage asserts that it is not told
    report = run(case, tmp_path / "one")
    assert (report.verdict.verdict, report.exit_code, report.run.id) == ("identical", 0, sealed.run_id)
    assert len(report.verdict.details) == 3
    size = verify(case.home.reader(), case.home.store, None).head.size
    with case.home.reader().trusted() as log:
        assert log.at(size - 1).record.kind == "verdict"
    again = run(case, tmp_path / "two")
    assert again.receipt == report.receipt  # the same verdict is not logged twice
    assert verify(case.home.reader(), case.home.store, None).head.size == size


def differing(folder: Path, replayed: str) -> Case:
    """A sealed project whose recorded source, unlike what was run, computes `replayed`."""
    case = project(folder)
    receipt = case.register()
    case.run()
    (case.root / "stages/replay.py").write_text(REPLAY.replace("float(x) * factor", replayed))
    case.seal(receipt)
    return case


@pytest.mark.parametrize(
    ("replayed", "verdict", "code"),
    [
        ("float(x) * factor * (1 + 1e-9)", "different", 1),  # the folder's files are no lists of numbers
        ("float(x) * factor * 1.001", "different", 1),
        ("float(x) * factor + float('nan')", "different", 1),
    ],
)
def test_a_replay_that_computes_something_else_is_different(
    tmp_path: Path, replayed: str, verdict: str, code: int
) -> None:
    report = run(differing(tmp_path, replayed), tmp_path / "work")
    assert (report.verdict.verdict, report.exit_code) == (verdict, code)
    changed = [d.name for d in report.verdict.details if d.expected != d.found]
    assert changed == [f"artifacts/{FORECAST}/fit/posterior", f"artifacts/{FORECAST}/fit/result.json"]


@pytest.mark.parametrize(
    ("factor", "verdict", "code"), [("(1 + 1e-9)", "within_tolerance", 3), ("(1 + 1e-5)", "different", 1)]
)
def test_numbers_within_the_tolerance_are_told_from_those_beyond(
    tmp_path: Path, factor: str, verdict: str, code: int
) -> None:
    case = project(tmp_path)
    receipt = case.register()
    case.run()
    compare = COMPARE.replace("pathlib.Path(p).read_text()", "read(pathlib.Path(p))").replace(
        "a, b =",
        "def read(p):\n"
        "    parts = [f.read_text() for f in sorted(p.iterdir())] if p.is_dir() else None\n"
        "    return f'[{\",\".join(parts)}]' if parts else p.read_text()\n"
        "a, b =",
    )
    (case.root / "stages/compare.py").write_text(compare)
    (case.root / "stages/replay.py").write_text(REPLAY.replace("float(x) * factor", f"float(x) * factor * {factor}"))
    case.seal(receipt)
    report = run(case, tmp_path / "work")
    assert (report.verdict.verdict, report.exit_code) == (verdict, code)
    assert any("max_rel" in detail.found for detail in report.verdict.details)
    verify(case.home.reader(), case.home.store, None)


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        ('(home / "fit" / "more.json").write_text("{}")', "fit/more.json"),
        ('(home / "fit" / "result.json").unlink()', "fit/result.json"),
    ],
)
def test_an_artifact_too_many_or_too_few_is_different(tmp_path: Path, edit: str, name: str) -> None:
    case = project(tmp_path)
    receipt = case.register()
    case.run()
    (case.root / "stages/replay.py").write_text(REPLAY + edit)
    case.seal(receipt)
    report = run(case, tmp_path / "work")
    assert report.verdict.verdict == "different"
    changed = [(d.name, d.expected, d.found) for d in report.verdict.details if d.expected != d.found]
    assert [entry[0] for entry in changed] == [f"artifacts/{FORECAST}/{name}"]
    assert "absent" in changed[0][1:]


def test_packages_that_are_not_the_recorded_ones_make_a_replay_unavailable_and_are_named(tmp_path: Path) -> None:
    case = project(tmp_path, lock=f"pydantic=={version('pydantic')}\npytest==0.0.1\n")
    receipt = case.register()
    case.run()
    case.seal(receipt)
    with pytest.raises(Unavailable, match=rf"pytest {version('pytest')} \(locked 0.0.1\)"):
        run(case, tmp_path / "work")
    assert not (tmp_path / "work" / "tree" / "artifacts" / FORECAST / "fit").exists()


def test_a_replay_that_fails_is_unavailable_and_logs_no_verdict(tmp_path: Path) -> None:
    case = project(tmp_path)
    receipt = case.register()
    case.run()
    (case.root / "stages/replay.py").write_text("raise SystemExit(9)")
    case.seal(receipt)
    size = verify(case.home.reader(), case.home.store, None).head.size
    with pytest.raises(Unavailable, match="did not finish"):
        run(case, tmp_path / "work")
    assert verify(case.home.reader(), case.home.store, None).head.size == size


def test_tampered_evidence_is_never_replayed(tmp_path: Path) -> None:
    case, _ = sealed_project(tmp_path)
    for path in (case.home.root / "store" / "sha256").rglob("*"):
        if path.is_file() and path.read_bytes() == REPLAY.encode():
            path.chmod(0o644)
            path.write_bytes(REPLAY.encode() + b"print('owned')\n")
    with pytest.raises(Tampered):
        run(case, tmp_path / "work")
    assert not (tmp_path / "work" / "tree").exists()
