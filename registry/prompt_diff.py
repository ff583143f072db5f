"""What changed between two frozen prompts, as lines to be read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from registry import prompt_program
from registry.prompt_manifest import PROGRAM, Examples
from registry.prompts import Prompt


def lines(one: Prompt, other: Prompt) -> Iterator[str]:
    """Instruction, demonstrations, signature, optimiser and scores: `-` as in `one`, `+` as in `other`."""
    for title, before, after in zip(_TITLES, _parts(one), _parts(other), strict=True):
        changed = [
            line
            for line in difflib.unified_diff(before, after, n=0, lineterm="")
            if not line.startswith(("---", "+++", "@@"))
        ]
        if changed:
            yield f"{title}:"
            yield from (f"  {line}" for line in changed)


_TITLES = ("instruction", "demonstrations", "signature", "optimiser", "scores")


def _parts(prompt: Prompt) -> Iterator[list[str]]:
    raw, manifest = prompt.rendering.files[PROGRAM], prompt.manifest
    yield prompt_program.instruction(raw).splitlines()
    yield [_json(demo) for demo in prompt_program.demonstrations(raw)]
    signature = prompt.signature.model_dump(mode="json")
    yield [f"{side[:-1]} {_json(field)}" for side in ("inputs", "outputs") for field in signature[side]]
    settings = [f"{name}={value}" for name, value in sorted(manifest.optimiser.settings.items())]
    named = f"{manifest.optimiser.name} seed {manifest.optimiser.seed}"
    yield [f"dspy {manifest.dspy}", named, *settings, f"model {manifest.model} {manifest.revision}"]
    yield [score("train", manifest.train), score("held-out", manifest.held_out)]


def score(title: str, held: Examples) -> str:
    """`held-out 41 -> 55 of 66 outputs right (33 examples)`."""
    counts = held.score
    return f"{title} {counts.before} -> {counts.after} of {counts.outputs} outputs right ({held.examples} examples)"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
