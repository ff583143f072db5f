"""`python -m registry`: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from registry_case import GOOD, ROOT, folder, named, shipped

from registry import cli, regimes


def test_check_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regimes", "check"]) == 0
    said = capsys.readouterr().out
    assert f"{len(shipped().events)} events: " in said
    assert shipped().digest in said


def test_list_has_one_line_an_event_in_order_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regimes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shipped().events)
    assert lines == sorted(lines, key=lambda line: line[:10])


def test_show_gives_every_field_of_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regimes", "show", "gdpr_2018"]) == 0
    said = capsys.readouterr().out
    for part in (
        "class: regime_change",
        "effective: 2018-05-25",
        "regions: EU, GB",
        "reason: ",
        "source: GDPR mayhem",
    ):
        assert part in said


def test_exit_codes_tell_invalid_from_unavailable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path, outage_2020=GOOD.replace("high", "certain"))
    assert cli.main(["regimes", "--folder", str(tmp_path), "check"]) == 1
    assert "outage_2020.yaml: confidence" in capsys.readouterr().err
    assert cli.main(["regimes", "--folder", str(tmp_path / "absent"), "check"]) == 2
    assert "unavailable" in capsys.readouterr().err
    assert cli.main(["regimes", "show", "nothing_2020"]) == 2
    assert cli.main(["regimes"]) == 2
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0


def test_the_command_needs_no_numeric_package() -> None:
    code = (
        "import sys\nfrom registry.cli import main\ncode = main(['regimes', 'check'])\n"
        "loaded = {'numpy', 'jax', 'pyarrow', 'engine'} & set(sys.modules)\nsys.exit(code or len(loaded))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    command = [sys.executable, "-m", "registry", "regimes", "show", "x"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2


def test_record_takes_an_edit_only_as_the_next_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["regimes", "--folder", str(folder(tmp_path, outage_2020=GOOD))]
    record = [*where, "record", "--on", "2026-01-03", "--reason"]
    assert cli.main([*record, "nothing happened"]) == 1
    assert "nothing to record" in capsys.readouterr().err
    (tmp_path / "outage_2020.yaml").write_text(GOOD.replace("confidence: high", "confidence: low"))
    assert cli.main([*where, "check"]) == 1
    assert cli.main([*record, "doubts"]) == 1
    assert "outage_2020: version: expected 2" in capsys.readouterr().err
    (tmp_path / "outage_2020.yaml").write_text(named("outage_2020", confidence="low", version="2"))
    assert cli.main([*record, "doubts"]) == 0
    assert capsys.readouterr().out == "outage_2020 version 2: doubts\n"
    assert cli.main([*where, "show", "outage_2020"]) == 0
    said = capsys.readouterr().out
    assert "recorded: 2026-01-02 version 1: as made\nrecorded: 2026-01-03 version 2: doubts\n" in said


@pytest.mark.parametrize("reason", ["", " ", "two\nlines"])
def test_an_edit_without_a_reason_is_refused(tmp_path: Path, reason: str) -> None:
    folder(tmp_path, outage_2020=GOOD)
    (tmp_path / "second_2020.yaml").write_text(named("second_2020", channels="[email]"))
    before = (tmp_path / "history.jsonl").read_bytes()
    where = ["regimes", "--folder", str(tmp_path), "record", "--on", "2026-01-03"]
    assert cli.main([*where, "--reason", reason]) == 1
    assert cli.main(where) == 2
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_only_the_events_that_are_named_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, channel in (("one_2020", "email"), ("other_2020", "sms")):
        (tmp_path / f"{name}.yaml").write_text(named(name, channels=f"[{channel}]"))
    where = ["regimes", "--folder", str(tmp_path)]
    assert cli.main([*where, "record", "one_2020", "--on", "2026-01-03", "--reason", "first"]) == 0
    assert cli.main([*where, "check"]) == 1
    assert "other_2020: version" in capsys.readouterr().err
    assert cli.main([*where, "record", "absent_2020", "--on", "2026-01-03", "--reason", "first"]) == 1
    assert cli.main([*where, "record", "--on", "2026-01-03", "--reason", "then"]) == 0
    assert cli.main([*where, "check"]) == 0


def test_private_events_are_shown_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = folder(tmp_path / "acme", price_rise_2020=named("price_rise_2020"))
    private = ["regimes", "--private", str(own)]
    for action in ("list", "timeline"):
        assert cli.main(["regimes", action]) == 0
        without = capsys.readouterr().out
        assert cli.main([*private, action]) == 0
        assert "price_rise_2020" in capsys.readouterr().out
        assert "price_rise_2020" not in without
    assert cli.main([*private, "check"]) == 0
    pinned = regimes.Registry(regimes.own(regimes.SHIPPED, own)).digest
    assert f"private: 1 events, sha256 {pinned}" in capsys.readouterr().out


def test_timeline_writes_the_drawing_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["regimes", "timeline", "-o", str(tmp_path / "t.svg")]) == 0
    assert (tmp_path / "t.svg").read_text().startswith("<svg ")
    assert cli.main(["regimes", "timeline", "-o", str(tmp_path / "absent" / "t.svg")]) == 2
    assert "unavailable" in capsys.readouterr().err
