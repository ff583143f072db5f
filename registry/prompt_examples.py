"""Labelled examples that a prompt is optimised and scored on: a JSON object a line, with its `id`.

Fields that are neither inputs nor outputs of the signature are passed over. An image is named by a path below the
folder of the file, and may be left out or null.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audit import canonical
from audit.errors import Malformed
from registry import chain
from registry import folder as folders
from registry.errors import Fault, InputRefusedError, UnsoundPromptError
from registry.prompt_signature import Output, Signature, Value
from registry.prompt_template import require

MAX_BYTES: Final = 16 * 2**20
MAX_IMAGE_BYTES: Final = 8 * 2**20
TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")


@dataclass(frozen=True, slots=True)
class Example:
    """One example: inputs as `Template.render` takes them, the bytes of their images as data URLs, and the labels."""

    id: str
    inputs: Mapping[str, str]
    images: Mapping[str, str]  # data URL by `sha256:<hex>`
    labels: Mapping[str, Value]

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The inputs, to be compared."""
        return tuple(sorted(self.inputs.items()))


@dataclass(frozen=True, slots=True)
class Examples:
    """A file of examples."""

    sha256: str
    examples: tuple[Example, ...]


def read(path: Path, signature: Signature) -> Examples:
    """The examples in the file.

    Raises UnsoundPromptError with every fault, RegistryUnavailableError if it cannot be read.
    """
    raw = folders.content(path, MAX_BYTES)
    examples: list[Example] = []
    faults: list[Fault] = []
    if len(raw) > MAX_BYTES:
        raise UnsoundPromptError([Fault(path.name, "file", f"at most {MAX_BYTES} bytes", "more")])
    for number, line in enumerate(raw.splitlines(), 1):
        where = f"{path.name}:{number}"
        try:
            tree = canonical.decode(line, floats=True, where=where)
            examples.append(_example(tree, signature, path.parent))
        except (Malformed, InputRefusedError, UnsoundPromptError) as error:
            faults.append(Fault(where, "line", "an example of the signature", str(error)))
    ids = [example.id for example in examples]
    faults += [Fault(path.name, "id", "each once", name) for name in sorted({i for i in ids if ids.count(i) > 1})]
    if not examples:
        faults.append(Fault(path.name, "file", "at least one example", "none"))
    if faults:
        raise UnsoundPromptError(faults)
    return Examples(chain.sha256(raw), tuple(examples))


def require_apart(train: Examples, held_out: Examples) -> None:
    """Returns only if nothing held out was trained on: no id and no inputs in both. Raises UnsoundPromptError."""
    known = {example.id for example in train.examples}
    seen = {example.given for example in train.examples}
    faults = [
        Fault(example.id, "held-out example", "one that is not in the training set", "the same id or inputs")
        for example in held_out.examples
        if example.id in known or example.given in seen
    ]
    if faults:
        raise UnsoundPromptError(faults)


def expand(messages: Sequence[Mapping[str, Any]], images: Mapping[str, str]) -> list[dict[str, Any]]:
    """`messages` with each image's digest replaced by its data URL: what goes over the wire."""
    return [{**each, "content": _expanded(each["content"], images)} for each in messages]


def _expanded(content: Any, images: Mapping[str, str]) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": images[part["image_url"]["url"]]}}
        if part["type"] == "image_url"
        else part
        for part in content
    ]


def _example(tree: Any, signature: Signature, folder: Path) -> Example:
    if not isinstance(tree, dict) or not isinstance(tree.get("id"), str) or not tree["id"]:
        raise InputRefusedError("id: expected text, found none")
    inputs: dict[str, str] = {}
    images: dict[str, str] = {}
    for field in signature.inputs:
        value = tree.get(field.name)
        if value is not None and field.kind == "image":
            name, url = _image(value, folder)
            images[name], value = url, name
        if value is not None:
            inputs[field.name] = value
    require(signature, inputs)
    labels = {field.name: _label(field, tree.get(field.name)) for field in signature.outputs}
    return Example(tree["id"], inputs, images, labels)


def _label(output: Output, value: Any) -> Value:
    if output.kind == "choice" and value in output.values:
        return str(value)
    if output.kind == "flag" and isinstance(value, bool):
        return value
    if output.kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    kinds = {"choice": f"one of {', '.join(output.values)}", "flag": "true or false", "number": "a number"}
    raise InputRefusedError(f"{output.name}: expected {kinds[output.kind]}, found {value!r}")


def _image(value: Any, folder: Path) -> tuple[str, str]:
    """The digest and the data URL of the image at the path `value`."""
    parts = Path(value).parts if isinstance(value, str) else ()
    kind = mimetypes.guess_type(str(value))[0]
    if not parts or Path(value).is_absolute() or ".." in parts or kind not in TYPES:
        raise InputRefusedError(
            f"image: expected a path below the file's folder of {', '.join(TYPES)}, found {value!r}"
        )
    raw = folders.content(folder / value, MAX_IMAGE_BYTES)
    if len(raw) > MAX_IMAGE_BYTES:
        raise InputRefusedError(f"image: expected at most {MAX_IMAGE_BYTES} bytes, found more")
    return f"sha256:{chain.sha256(raw)}", f"data:{kind};base64,{base64.b64encode(raw).decode()}"
