"""Frozen prompts: those that ship hold, and each kind of change to one is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompts_case import DAY, NAMES, PINNED, ROOT, canonical, draft, edit, faults, redigested, sha256, shipped

from registry import (
    prompt_folder,
    prompt_history,
    prompt_manifest,
    prompt_probes,
    prompt_program,
    prompt_signature,
    prompt_template,
    prompts,
)
from registry.errors import RegistryError, RegistryUnavailableError, UnsoundPromptError
from registry.prompt_manifest import FILES, Draft, Manifest

HISTORY = "registry/prompts/history.jsonl"

# SHA-256 of each version's manifest, which names all else. A row never changes and never goes: it is what was frozen,
# wherever the past of a repository is not at hand. A new version adds its row.
FROZEN = {
    "offer_v1": "e5cb28e3e218264a953f99576e95988849e9ab7849d1f0b0f0a84e59ec127aed",
    "scene_v1": "19e7e548553f5d9a64207f4e98c264843b4e01a4a9884b6396f7758dc777db66",
}


def test_what_ships_is_what_was_frozen() -> None:
    found = prompt_folder.read(prompts.SHIPPED, PINNED)
    assert found.faults == ()
    assert [prompt.name for prompt in found.prompts[:2]] == list(NAMES)
    for prompt in found.prompts:
        assert prompt.manifest.optimiser.name in ("MIPROv2", "GEPA")
        assert prompt == prompts.load(prompts.SHIPPED / prompt.name, PINNED)


def test_a_frozen_version_never_changes() -> None:
    found = prompt_folder.read(prompts.SHIPPED, PINNED)
    assert found.faults == ()
    assert {name: sha256((prompts.SHIPPED / name / "manifest.json").read_bytes()) for name in FROZEN} == FROZEN
    assert {entry.name: entry.manifest_sha256 for entry in found.history.entries} == FROZEN


@pytest.mark.parametrize("name", FROZEN)
def test_a_version_frozen_anew_with_a_history_to_match_is_another(tmp_path: Path, name: str) -> None:
    root = tmp_path / "prompts"
    why = "First version"
    for each in FROZEN:
        changes = {"model": "another"} if each == name else {}
        prompt_folder.freeze(root, draft(tmp_path / each, each, **changes), each, "somebody", DAY, why, PINNED)
    assert faults(root) == []  # sound in itself: only what was written down elsewhere tells
    assert sha256((root / name / "manifest.json").read_bytes()) != FROZEN[name]


def test_every_history_that_git_ever_held_is_the_beginning_of_the_next() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip(f"no repository at {ROOT}: an exported tree has no past")
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        pytest.skip("a shallow clone has no past")
    commits = git("log", "--first-parent", "--reverse", "--format=%H", "--", HISTORY).decode().split()
    held = [git("show", f"{commit}:{HISTORY}") for commit in commits]
    for older, newer in pairwise([*held, (ROOT / HISTORY).read_bytes()]):
        assert newer.startswith(older)


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


# ---- changes to a version


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", [*FILES, "manifest.json"])
def test_one_changed_byte_is_found_and_its_file_named(tmp_path: Path, name: str, file: str) -> None:
    root = shipped(tmp_path)
    path = root / name / file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    said = faults(root)
    assert any(f"{name}/{file}" in line or line.startswith(f"{name}: {file}") for line in said), said
    assert not any(other in line for line in said for other in set(NAMES) - {name})


def added_value(tree: Any) -> None:
    tree["outputs"][0]["values"].append("lease")


def other_kind(tree: Any) -> None:
    tree["outputs"][1].update(kind="number")


def other_description(tree: Any) -> None:
    tree["inputs"][0]["description"] = "another"


def other_order(tree: Any) -> None:
    tree["inputs"].reverse()


@pytest.mark.parametrize("change", [added_value, other_kind, other_description, other_order])
def test_a_changed_signature_is_found_by_its_digest_and_by_the_manifest(
    tmp_path: Path, change: Callable[[Any], None]
) -> None:
    root = shipped(tmp_path)
    edit(root / "offer_v1" / "signature.json", change)
    with pytest.raises(UnsoundPromptError, match=r"offer_v1/signature\.json: file: expected SHA-256"):
        prompts.load(root / "offer_v1", PINNED)
    redigested(root / "offer_v1")  # the digests hold again: the history's line does not
    assert any("offer_v1: manifest.json: expected SHA-256" in line for line in faults(root))


def test_a_template_that_renders_otherwise_is_found_by_its_probes_though_its_digest_holds(tmp_path: Path) -> None:
    root = shipped(tmp_path)

    def change(tree: Any) -> None:
        tree["said"][0]["content"] += " Answer none."

    edit(root / "offer_v1" / "template.json", change)
    redigested(root / "offer_v1")
    with pytest.raises(UnsoundPromptError, match=r"probes\.jsonl:1: messages: expected SHA-256"):
        prompts.load(root / "offer_v1", PINNED)


def test_a_program_of_other_fields_is_found_though_its_digest_holds(tmp_path: Path) -> None:
    root = shipped(tmp_path)

    def change(tree: Any) -> None:
        tree["signature"]["fields"][0]["description"] = "another"

    edit(root / "offer_v1" / "program.json", change)
    redigested(root / "offer_v1")
    with pytest.raises(UnsoundPromptError, match=r"program\.json: signature\.fields"):
        prompts.load(root / "offer_v1", PINNED)


def test_a_dropped_probe_is_found(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    path = root / "scene_v1" / "probes.jsonl"
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    redigested(root / "scene_v1")
    with pytest.raises(UnsoundPromptError, match=r"scene_v1/probes\.jsonl: lines: expected 24, found 23"):
        prompts.load(root / "scene_v1", PINNED)


def test_another_dspy_than_the_pinned_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(UnsoundPromptError, match=rf"dspy: expected 9\.9\.9, which .*, found {PINNED}"):
        prompts.load(prompts.SHIPPED / "offer_v1", "9.9.9")
    assert len([line for line in faults(shipped(tmp_path), "9.9.9") if "dspy: expected 9.9.9" in line]) == 2
    assert prompts.load(prompts.SHIPPED / "offer_v1", None).manifest.dspy == PINNED


def test_a_renamed_version_is_no_version(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    (root / "offer_v1").rename(root / "offer_v2")
    said = faults(root)
    assert any("name: expected 'offer_v2', found 'offer_v1'" in line for line in said)
    assert any(line.startswith("offer_v1: folder: expected the version that was frozen") for line in said)
    assert any(line.startswith("offer_v2: folder: expected a line in history.jsonl") for line in said)


def test_a_removed_version_is_found(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    shutil.rmtree(root / "scene_v1")
    assert [line.partition(":")[0] for line in faults(root)] == ["scene_v1"]


def test_a_history_cut_changed_or_gone_is_found(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    path = root / "history.jsonl"
    raw = path.read_bytes()
    first, second = raw.splitlines(keepends=True)[:2]
    for broken in (first, second + first, raw.replace(b"First version", b"Best version", 1), raw[:-1], b"", b"\n"):
        path.write_bytes(broken)
        assert faults(root), broken
    path.unlink()
    assert len(faults(root)) >= 2


@pytest.mark.parametrize("file", [*FILES, "manifest.json"])
def test_a_missing_file_and_one_too_many_are_found(tmp_path: Path, file: str) -> None:
    root = shipped(tmp_path)
    (root / "offer_v1" / file).rename(root / "offer_v1" / "notes.txt")
    with pytest.raises(UnsoundPromptError) as caught:
        prompts.load(root / "offer_v1", PINNED)
    assert [fault.where for fault in caught.value.faults] == sorted([f"offer_v1/{file}", "offer_v1/notes.txt"])
    assert faults(root)


def test_a_link_is_no_file_and_no_folder(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    path = root / "offer_v1" / "template.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert any("template.json: file: expected a regular file" in line for line in faults(root))
    shutil.rmtree(root / "scene_v1")
    (root / "scene_v1").symlink_to(prompts.SHIPPED / "scene_v1")
    assert any(line.startswith("scene_v1: file: expected folders of prompts") for line in faults(root))


def test_what_cannot_be_read_is_unavailable_and_not_unsound(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailableError):
        prompts.load(tmp_path / "absent_v1", PINNED)
    assert prompt_folder.read(tmp_path / "absent", PINNED) == prompt_folder.Frozen((), prompt_history.History(), ())


def test_a_prompt_too_large_is_refused(tmp_path: Path) -> None:
    root = shipped(tmp_path)
    (root / "offer_v1" / "program.json").write_bytes(b" " * (prompts.MAX_BYTES + 1))
    with pytest.raises(UnsoundPromptError, match=r"program\.json: file: expected at most"):
        prompts.load(root / "offer_v1", PINNED)


# ---- the lock


def test_the_pin_is_read_from_the_lock_and_from_nothing_else() -> None:
    assert prompts.pinned_dspy(b"abc==1\ndspy==3.4.1 \\\n    --hash=sha256:00\n") == "3.4.1"
    for lock in (b"", b"dspy-ai==3.4.1\n", b"# dspy==3.4.1\n", b"dspy==1.0\ndspy==2.0\n", b"dspy>=3\n", b"\xff\x00"):
        with pytest.raises(UnsoundPromptError, match="dspy"):
            prompts.pinned_dspy(lock)


# ---- hostile bytes


PARSERS: dict[str, Callable[[bytes], object]] = {
    "signature": lambda raw: prompt_signature.parse(raw, "file"),
    "manifest": lambda raw: prompt_manifest.parse(Manifest, raw, "file"),
    "draft": lambda raw: prompt_manifest.parse(Draft, raw, "file"),
    "template": lambda raw: prompt_template.parse(raw, OFFER.signature, "file"),
    "probes": lambda raw: prompt_probes.parse(raw, OFFER.signature, "file"),
    "program": lambda raw: list(prompt_program.faults(raw, OFFER.signature, PINNED, "file")),
    "history": prompt_history.parse,
}
OFFER = prompts.load(prompts.SHIPPED / "offer_v1", None)
SOUND = [*OFFER.rendering.files.values(), OFFER.manifest.raw, (ROOT / HISTORY).read_bytes()]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["inputs", "outputs", "said", "sections", "name", "files", "kind"]), inner)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound file, cut, spliced or with a value replaced."""
    raw = draw(st.sampled_from(SOUND))
    at = draw(st.integers(0, len(raw)))
    end = draw(st.integers(at, min(len(raw), at + 40)))
    return raw[:at] + draw(st.binary(max_size=8) | json_values.map(canonical)) + raw[end:]


@pytest.mark.parametrize("parser", PARSERS)
@given(raw=damaged() | json_values.map(canonical) | st.binary(max_size=200))
@settings(max_examples=60)
def test_no_bytes_are_read_but_as_a_value_or_a_typed_refusal(parser: str, raw: bytes) -> None:
    with suppress(UnsoundPromptError):
        PARSERS[parser](raw)


@given(file=st.sampled_from(FILES), raw=damaged())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_version_with_any_file_replaced_and_redigested_is_refused(
    tmp_path_factory: pytest.TempPathFactory, file: str, raw: bytes
) -> None:
    root = shipped(tmp_path_factory.mktemp("hostile"))
    folder = root / "offer_v1"
    held = (folder / file).read_bytes()
    (folder / file).write_bytes(raw)
    redigested(folder)
    try:
        found = prompts.load(folder, PINNED)
    except RegistryError:
        pass
    else:  # sound in itself, as another instruction inside program.json is: the history's line still names the old one
        assert (found.sha256 == OFFER.sha256) == (raw == held)
    if raw != held:
        assert faults(root)


# ---- without DSPy and without a network


def test_a_prompt_is_loaded_rendered_and_read_with_sockets_blocked_and_no_dspy() -> None:
    code = f"""
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(event)
sys.addaudithook(refuse)
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dspy", "litellm", "optuna", "gepa"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from registry import prompts
from registry.cli import main
prompt = prompts.load(prompts.SHIPPED / "offer_v1", {PINNED!r})
assert len(prompt.messages({{"headline": "Try it", "body": "for a week"}})) > 2
assert prompt.read("[[ ## offer ## ]]\\ntrial\\n\\n[[ ## urgency ## ]]\\nFalse")["offer"] == "trial"
assert main(["prompts", "check"]) == 0
assert "numpy" not in sys.modules and "dspy" not in sys.modules
"""
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "not rendered again: DSPy is not installed here" in done.stdout
