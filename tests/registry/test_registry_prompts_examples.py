"""Labelled examples: every fault of a file is named with its line, and nothing held out is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompts_case import ROOT

from registry import prompt_examples, prompts
from registry.errors import RegistryUnavailableError, UnsoundPromptError

SCENE = prompts.load(prompts.SHIPPED / "scene_v1", None).signature
GOOD: dict[str, Any] = {"id": "one", "headline": "h", "body": "b", "scene": "people", "offer": "passed over"}


def file(where: Path, *lines: object) -> Path:
    path = where / "train.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def test_the_labels_that_ship_are_examples_of_what_ships() -> None:
    labels = ROOT / "data/creatives/labels"
    for name in ("offer_v1", "scene_v1"):
        frozen = prompts.load(prompts.SHIPPED / name, None)
        train = prompt_examples.read(labels / "train.jsonl", frozen.signature)
        held_out = prompt_examples.read(labels / "held_out.jsonl", frozen.signature)
        prompt_examples.require_apart(train, held_out)
        assert (train.sha256, held_out.sha256) == (frozen.manifest.train.sha256, frozen.manifest.held_out.sha256)
        assert len(train.examples) == frozen.manifest.train.examples


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "strict|JSON"),
        ([], "id: expected text"),
        ({**GOOD, "id": ""}, "id: expected text"),
        ({**GOOD, "body": None}, "body: expected a text, found none"),
        ({**GOOD, "body": 3}, "body: expected text, found int"),
        ({**GOOD, "scene": "sky"}, "scene: expected one of product, people, text, none, found 'sky'"),
        ({**GOOD, "image": "../x.png"}, "image: expected a path below"),
        ({**GOOD, "image": "/etc/x.png"}, "image: expected a path below"),
        ({**GOOD, "image": "x.svg"}, "image: expected a path below"),
        ({**GOOD, "image": 7}, "image: expected a path below"),
        (GOOD, "id: expected each once, found one"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(UnsoundPromptError, match=said):
        prompt_examples.read(file(tmp_path, GOOD, line), SCENE)


def test_an_image_is_its_digest_and_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"picture")
    (found,) = prompt_examples.read(file(tmp_path, {**GOOD, "image": "x.png"}), SCENE).examples
    assert list(found.images) == [found.inputs["image"]]
    assert found.images[found.inputs["image"]] == "data:image/png;base64,cGljdHVyZQ=="
    with pytest.raises(RegistryUnavailableError):
        prompt_examples.read(file(tmp_path, {**GOOD, "image": "y.png"}), SCENE)
    with pytest.raises(RegistryUnavailableError):
        prompt_examples.read(tmp_path / "absent.jsonl", SCENE)


@pytest.mark.parametrize("change", [{"id": "two"}, {"headline": "other"}])
def test_what_was_trained_on_cannot_be_held_out(tmp_path: Path, change: dict[str, str]) -> None:
    train = prompt_examples.read(file(tmp_path, GOOD), SCENE)
    held_out = prompt_examples.read(file(tmp_path, {**GOOD, **change}), SCENE)
    with pytest.raises(UnsoundPromptError, match="one that is not in the training set"):
        prompt_examples.require_apart(train, held_out)


def test_an_empty_file_has_no_examples(tmp_path: Path) -> None:
    with pytest.raises(UnsoundPromptError, match="at least one example"):
        prompt_examples.read(file(tmp_path), SCENE)


@given(raw=st.binary(max_size=200) | st.text().map(lambda text: json.dumps({**GOOD, "scene": text}).encode()))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_are_read_but_as_examples_or_a_typed_refusal(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(raw)
    try:
        found = prompt_examples.read(path, SCENE)
    except UnsoundPromptError:
        return
    assert all(example.labels["scene"] in SCENE.outputs[0].values for example in found.examples)
