"""`python -m registry prompts`: what it prints, what it writes, and its exit codes; freezing above all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prompts_case import DAY, PINNED, ROOT, draft, edit, faults, shipped

from registry import cli, prompt_folder, prompts
from registry.errors import RegistryUnavailableError, UnsoundPromptError

WHY = ["--by", "somebody", "--reason", "a test", "--on", "2026-11-30"]


def freeze(root: Path, made: Path, name: str) -> None:
    prompt_folder.freeze(root, made, name, "somebody", DAY, "a test", PINNED)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_check_and_list_say_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prompts", "check"]) == 0
    said = capsys.readouterr().out
    for prompt in prompt_folder.read(prompts.SHIPPED, PINNED).prompts:
        assert f"{prompt.name} sha256 {prompt.sha256}" in said
    assert "not rendered again: DSPy is not installed here (make prompts;" in said
    assert cli.main(["prompts", "list"]) == 0
    assert "MIPROv2 for nearest" in capsys.readouterr().out


def test_exit_codes_tell_unsound_from_unavailable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shipped(tmp_path)
    (root / "offer_v1" / "template.json").unlink()
    assert cli.main(["prompts", "--folder", str(root), "check"]) == 1
    assert "offer_v1/template.json: file: expected a file, found none" in capsys.readouterr().err
    assert cli.main(["prompts", "--lock", str(tmp_path / "none.lock"), "check"]) == 2
    assert "unavailable" in capsys.readouterr().err
    assert cli.main(["prompts", "diff", "offer_v1", "offer_v9"]) == 2
    assert cli.main(["prompts"]) == 2


def test_a_bumped_lock_fails_the_check_and_names_dspy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "bumped.lock"
    lock.write_bytes((ROOT / prompts.LOCK).read_bytes().replace(f"dspy=={PINNED}".encode(), b"dspy==9.0.0"))
    assert cli.main(["prompts", "--lock", str(lock), "check"]) == 1
    assert "offer_v1: dspy: expected 9.0.0" in capsys.readouterr().err


def test_compiling_without_dspy_says_how_to_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ROOT / "data/creatives/labels"
    arguments = ["--train", str(labels / "train.jsonl"), "--held-out", str(labels / "held_out.jsonl"), "--seed", "1"]
    signature = str(prompts.SHIPPED / "offer_v1" / "signature.json")
    out = tmp_path / "draft"
    wanted = ["prompts", "compile", signature, *arguments, "--model", "nearest", "--optimiser", "gepa", "-o", str(out)]
    assert cli.main(wanted) == 2
    assert ".prompts/bin/python -m registry prompts" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("wanted", ["prompts diff offer_v1 scene_v1", "prompts list", "regimes list", "prompts check"])
def test_a_reader_that_leaves_is_no_fault(wanted: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before a byte is written: the first one finds nobody
    command = [sys.executable, "-m", "registry", *wanted.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.UNHEARD, b"")


# ---- freezing


def test_a_frozen_draft_is_a_version_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    before = snapshot(root)
    assert cli.main(["prompts", "--folder", str(root), "freeze", str(made), "offer_v2", *WHY]) == 0
    assert faults(root) == []
    found = prompts.load(root / "offer_v2", PINNED)
    assert (found.name, found.manifest.reason, found.manifest.frozen_by) == ("offer_v2", "a test", "somebody")
    after = snapshot(root)
    assert after.pop("history.jsonl").startswith(before.pop("history.jsonl"))
    assert {name: raw for name, raw in after.items() if not name.startswith("offer_v2/")} == before
    capsys.readouterr()
    assert cli.main(["prompts", "--folder", str(root), "diff", "offer_v1", "offer_v2"]) == 0
    assert capsys.readouterr().out == ""  # the same prompt
    assert cli.main(["prompts", "--folder", str(root), "diff", "offer_v1", "scene_v1"]) == 0
    said = capsys.readouterr().out
    for title in ("instruction:", "demonstrations:", "signature:", "optimiser:", "scores:"):
        assert f"{title}\n" in said


@pytest.mark.parametrize(
    "name", ["offer_v1", "offer_v3", "other_v2", "offer", "../offer_v2", "Offer_v2", "offer_v02", ""]
)
def test_only_the_next_version_can_be_frozen_and_nothing_else_changes(tmp_path: Path, name: str) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    before = snapshot(tmp_path)
    with pytest.raises(UnsoundPromptError):
        freeze(root, made, name)
    assert snapshot(tmp_path) == before


def test_nothing_is_frozen_beside_what_is_unsound(tmp_path: Path) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    (root / "scene_v1" / "probes.jsonl").write_bytes(b"")
    before = snapshot(root)
    with pytest.raises(UnsoundPromptError, match="scene_v1/probes"):
        freeze(root, made, "offer_v2")
    assert snapshot(root) == before


def test_a_draft_that_was_edited_is_not_frozen(tmp_path: Path) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    edit(made / "signature.json", lambda tree: tree["outputs"][0]["values"].append("lease"))
    with pytest.raises(UnsoundPromptError, match=r"signature\.json: file: expected SHA-256"):
        freeze(root, made, "offer_v2")
    with pytest.raises(UnsoundPromptError, match="dspy: expected"):
        freeze(root, draft(tmp_path / "older", dspy="3.0.0"), "offer_v2")


def test_an_earlier_day_than_the_last_line_is_refused(tmp_path: Path) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    with pytest.raises(UnsoundPromptError, match="date: expected 2026-11-29 or later"):
        prompt_folder.freeze(root, made, "offer_v2", "somebody", DAY.replace(year=2020), "a test", PINNED)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    history = root / "history.jsonl"
    raw = history.read_bytes()
    history.unlink()
    history.mkdir()  # so that the line cannot be written
    with pytest.raises((RegistryUnavailableError, UnsoundPromptError)):
        freeze(root, made, "offer_v2")
    assert sorted(path.name for path in root.iterdir()) == ["history.jsonl", "offer_v1", "scene_v1"]
    history.rmdir()
    history.write_bytes(raw)
    with pytest.raises(RegistryUnavailableError):
        prompt_folder.place(tmp_path / "no" / "such" / "folder", {"a": b""})
    with pytest.raises(RegistryUnavailableError):
        prompt_folder.place(tmp_path / "half", {"a": b"", "b/c": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["draft", "prompts"]


def test_the_first_version_of_all_makes_the_folder(tmp_path: Path) -> None:
    freeze(tmp_path / "own", draft(tmp_path / "draft"), "offer_v1")
    assert faults(tmp_path / "own") == []


def _race(root: Path, made: Path, name: str) -> None:
    freeze(root, made, name)


def test_two_who_freeze_at_once_both_have_their_line(tmp_path: Path) -> None:
    root, made = shipped(tmp_path), draft(tmp_path / "draft")
    names = [f"{stem}_v1" for stem in ("red", "green", "blue", "grey")]
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_race, args=(root, made, name)) for name in names]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * len(names)
    assert faults(root) == []
    assert {entry.name for entry in prompt_folder.read(root, None).history.entries} >= set(names)


def test_an_older_version_may_be_of_an_older_dspy(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    made = draft(tmp_path / "draft")
    shutil.rmtree(root)
    freeze(root, made, "offer_v1")
    assert [line for line in faults(root, "9.0.0") if "dspy" in line] == [
        f"offer_v1: dspy: expected 9.0.0, which {prompts.LOCK} pins, found {PINNED}"
    ]
