"""The numeric fingerprint: digests of elementary operations, to compare one machine with another.

Two machines with one fingerprint may replay each other's numbers; an operation that differs names what does
not carry over. It is a cheap gate and not a sufficient one: whole posteriors have differed where no operation
did, so golden replays gate too. Import after `precision.enter`.

Glossary
--------
sentinel    an operation the replayed path may use: a difference means this machine may not replay
canary      one that it avoids (single precision): a difference is information only
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from engine.errors import EngineError
from engine.operations import OPERATIONS, Inputs, Operation, Role, make_inputs
from engine.profile import Profile


@dataclass(frozen=True)
class Fingerprint:
    """Digest (16 hexadecimal digits of SHA-256) by operation, in the order of the names."""

    digests: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """SHA-256 over the sentinels' lines `name digest`: equal on machines that may replay each other."""
        roles = {operation.name: operation.role for operation in OPERATIONS}
        lines = (f"{name} {digest}\n" for name, digest in self.digests if roles.get(name) != "canary")
        return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


class Differing(NamedTuple):
    """One operation whose digest is not the expected one; "(absent)" where one side lacks it."""

    name: str
    role: Role
    expected: str
    found: str


def compute(operations: Iterable[Operation] | None = None) -> Fingerprint:
    """The fingerprint of this process. NaN has one digest whatever its payload."""
    chosen = OPERATIONS if operations is None else tuple(operations)
    inputs = make_inputs()
    device: Inputs = jax.tree.map(jnp.asarray, inputs)
    digests: dict[str, str] = {}
    for family in dict.fromkeys(operation.family for operation in chosen):
        members = [operation for operation in chosen if operation.family == family]
        if family == "numpy":
            results = [operation.compute(inputs) for operation in members]
        else:
            functions = tuple(operation.compute for operation in members)
            results = jax.jit(lambda given, functions=functions: [f(given) for f in functions])(device)
        digests.update({operation.name: digest(result) for operation, result in zip(members, results, strict=True)})
    return Fingerprint(tuple(sorted(digests.items())))


def compare(expected: Fingerprint, found: Fingerprint) -> tuple[Differing, ...]:
    """Every operation whose digests differ or that one side lacks, sentinels first, then by name."""
    roles = {operation.name: operation.role for operation in OPERATIONS}
    want, have = dict(expected.digests), dict(found.digests)
    differing = [
        Differing(name, roles.get(name, "sentinel"), want.get(name, "(absent)"), have.get(name, "(absent)"))
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name)
    ]
    return tuple(sorted(differing, key=lambda difference: (difference.role == "canary", difference.name)))


def may_replay(differing: Iterable[Differing]) -> bool:
    """Whether no sentinel is among `differing`."""
    return all(difference.role == "canary" for difference in differing)


def digest(result: Any) -> str:
    """First 16 hexadecimal digits of SHA-256 over dtype, shape and bytes, every NaN made the same."""
    array = np.ascontiguousarray(np.asarray(result))
    if np.issubdtype(array.dtype, np.inexact):
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    head = f"{array.dtype.str}{array.shape}".encode("ascii")
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:16]


def to_json(profile: Profile, fingerprint: Fingerprint) -> str:
    """`fingerprint` as a committed file: indented JSON that names the profile it was made in."""
    value = {"profile": profile.name, "sha256": profile.sha256, "operations": dict(fingerprint.digests)}
    return json.dumps(value, indent=1) + "\n"


def from_json(profile: Profile, text: str) -> Fingerprint:
    """The fingerprint in `text`. Raises EngineError when it is not one made in `profile`."""
    try:
        value = json.loads(text)
        found = f"{value['profile']} {value['sha256']}"
        digests = tuple(sorted((str(name), str(digest)) for name, digest in value["operations"].items()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"expected fingerprint: not readable: {error!r}") from error
    if found != f"{profile.name} {profile.sha256}":
        wanted = f"{profile.name} {profile.sha256}"
        raise EngineError(f"expected fingerprint: expected one made in profile {wanted}, found {found}")
    return Fingerprint(digests)
