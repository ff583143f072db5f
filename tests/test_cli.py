"""`noptik` hands the line to the command it names, from any folder, and its exit codes are those it documents."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from stages import cli
from stages.cli import COMMANDS

SCRIPT = Path(sys.executable).parent / "noptik"


def noptik(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_the_console_script_is_the_one_that_gathers_the_commands() -> None:
    (script,) = entry_points(group="console_scripts", name="noptik")
    assert script.load() is cli.main


def test_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    done = noptik("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name, (_, text) in COMMANDS.items():
        assert f"{name:<10} {text}" in done.stdout
    for code in ("0 done", "1 not verified", "2 usage or unavailable", "3 within tolerance"):
        assert code in done.stdout


def code(arguments: Sequence[str]) -> int | str | None:
    """What the process would end with."""
    try:
        return cli.main(arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("line", [(), ("nonsense",), ("--nonsense",)])
def test_a_line_without_a_known_command_is_usage(line: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code(line) == 2
    assert "usage: noptik" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_answers_for_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(importlib.import_module(COMMANDS[name][0]).main)
    assert code([name, "--help"]) == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_of_a_command_is_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code([name, "--nonsense"]) == 2
    assert "usage:" in capsys.readouterr().err


def test_where_there_is_no_project_it_says_so_on_one_line(tmp_path: Path) -> None:
    done = noptik("where", cwd=tmp_path)
    assert done.returncode == 2
    assert "params.yaml: cannot read params.yaml" in done.stderr
    assert done.stderr.count("\n") == 1


def test_before_any_run_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("forecasts: [retail]\nspecs: {retail: {}}\n", "utf-8")
    done = noptik("where", cwd=tmp_path)
    assert done.returncode == 2
    assert "run `make repro`" in done.stdout


def test_an_empty_place_is_unavailable_and_not_tampered(tmp_path: Path) -> None:
    done = noptik("audit", "verify", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
