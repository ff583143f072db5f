"""DSPy's own saved state of a program of one predictor, `program.json`, as far as it can be held against ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from audit import canonical
from audit.errors import Malformed
from registry.errors import Fault
from registry.prompt_signature import Signature

MAX_BYTES: Final = 4 * 2**20


def faults(raw: bytes, signature: Signature, dspy: str, where: str) -> Iterator[Fault]:
    """Where the saved state is not one of this signature, saved by this version of DSPy."""
    try:
        tree = canonical.decode(raw, floats=True, max_bytes=MAX_BYTES, where=where)
    except Malformed as error:
        yield Fault(where, "file", "strict JSON", str(error))
        return
    declared = _inner(tree, "signature", "fields")
    saved = [_inner(field, "description") for field in declared] if isinstance(declared, list) else declared
    inputs, outputs = signature.inputs, signature.outputs
    expected = [field.description for field in inputs] + [field.description for field in outputs]
    if saved != expected:
        yield Fault(where, "signature.fields", f"the {len(expected)} descriptions of signature.json", "others")
    version = _inner(tree, "metadata", "dependency_versions", "dspy")
    if version != dspy:
        yield Fault(where, "metadata.dependency_versions.dspy", dspy, repr(version))
    if not isinstance(_inner(tree, "signature", "instructions"), str):
        yield Fault(where, "signature.instructions", "text", "none")
    demos = _inner(tree, "demos")
    if not isinstance(demos, list) or not all(isinstance(demo, dict) for demo in demos):
        yield Fault(where, "demos", "a list of objects", "another value")
    if _inner(tree, "lm") is not None:
        yield Fault(where, "lm", "none: a prompt names no endpoint", "one")


def instruction(raw: bytes) -> str:
    """The instruction of a sound program."""
    return str(_inner(canonical.decode(raw, floats=True, max_bytes=MAX_BYTES), "signature", "instructions"))


def demonstrations(raw: bytes) -> list[dict[str, Any]]:
    """The demonstrations of a sound program, in its order."""
    found: list[dict[str, Any]] = _inner(canonical.decode(raw, floats=True, max_bytes=MAX_BYTES), "demos")
    return found


def _inner(tree: Any, *path: str) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree
