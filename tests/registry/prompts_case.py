"""Folders of frozen prompts, to be read, broken and added to."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from registry import prompt_folder, prompts
from registry.prompt_manifest import DRAFT, FILES, Draft

ROOT = Path(__file__).resolve().parents[2]
PINNED = prompts.pinned_dspy((ROOT / prompts.LOCK).read_bytes())
DAY = date(2026, 11, 30)
NAMES = ("offer_v1", "scene_v1")

SIGNATURE: dict[str, Any] = {
    "adapter": "chat",
    "inputs": [{"name": "body", "kind": "text", "description": "a text"}],
    "outputs": [
        {"name": "offer", "kind": "choice", "values": ["none", "trial"], "description": "what is offered"},
        {"name": "hurry", "kind": "flag", "description": "whether it hurries"},
        {"name": "percent", "kind": "number", "minimum": 0, "maximum": 99.5, "description": "how much less"},
    ],
}


def shipped(where: Path) -> Path:
    """A copy of the prompts that ship, below `where`."""
    return Path(shutil.copytree(prompts.SHIPPED, where / "prompts"))


def faults(root: Path, pinned: str | None = PINNED) -> list[str]:
    """What is wrong with the folder, as text."""
    return [str(fault) for fault in prompt_folder.read(root, pinned).faults]


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """The JSON file at `path`, changed and canonical again."""
    tree = json.loads(path.read_bytes())
    change(tree)
    path.write_bytes(canonical(tree))


def canonical(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def redigested(folder: Path) -> None:
    """What an attacker does after an edit: the manifest's digests of the files, as they are now."""

    def change(manifest: Any) -> None:
        for name in FILES:
            manifest["files"][name] = sha256((folder / name).read_bytes())

    edit(folder / "manifest.json", change)


def draft(where: Path, name: str = "offer_v1", **changes: Any) -> Path:
    """A draft below `where`, made of the files of a frozen version."""
    frozen = prompts.load(prompts.SHIPPED / name, None)
    fields = {field: getattr(frozen.manifest, field) for field in Draft.model_fields}
    files = {**frozen.rendering.files, DRAFT: Draft.model_validate({**fields, **changes}).raw}
    where.mkdir(parents=True)
    for file in (DRAFT, *FILES):
        (where / file).write_bytes(files[file])
    return where
