"""Which witnesses must have seen a head before it counts (C2SP tlog-policy).

    log noptik.example/ledger+5e0e7a2c+AQ...               optional: only this log's key may sign
    witness north client.example/w1+8b2f6a10+BN...
    witness south client.example/w2+c3d4e5f6+BO...
    group both all north south                             or `any`, or a number
    quorum both                                            a witness, a group, or none

A cosignature says when the witness saw the head, and that it knew of none larger. So a head that is shown although
newer ones exist (frozen) can have no new cosignatures: `not_before` counts only those from some time on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from audit.cosignature import COSIGNATURE_ED25519, Cosignature, VKey, cosignature
from audit.errors import BadSignature, Malformed
from audit.note import Note, Verifier, open_checkpoint, parse_note
from audit.signing import NOTE_ED25519

MAX_POLICY_BYTES = 2**16
MAX_NAMES = 100
NONE: Final = "none"
_COUNT = re.compile(r"[1-9][0-9]{0,2}")
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Group:
    """Cosigned when `threshold` of its members are; members are names of witnesses or groups defined before."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The witnesses and groups by name, and which of them is the quorum; `logs` is empty where any log will do."""

    witnesses: Mapping[str, VKey] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE
    logs: tuple[VKey, ...] = ()

    def met(self, names: frozenset[str]) -> bool:
        """Whether the quorum is reached when the witnesses of these names have cosigned."""
        return self.quorum == NONE or self._met(self.quorum, names)

    def missing(self, names: frozenset[str]) -> tuple[str, ...]:
        """The witnesses under the quorum that are not among these names."""
        return tuple(sorted(self._below(self.quorum) - names))

    def _met(self, name: str, names: frozenset[str]) -> bool:
        if (group := self.groups.get(name)) is None:
            return name in names
        return sum(self._met(member, names) for member in group.members) >= group.threshold

    def _below(self, name: str) -> frozenset[str]:
        if (group := self.groups.get(name)) is None:
            return frozenset({name} - {NONE})
        return frozenset[str]().union(*(self._below(member) for member in group.members))


def check(policy: Policy, raw: bytes, where: str = "checkpoint", *, not_before: int = 0) -> tuple[Cosignature, ...]:
    """The cosignatures of the policy's witnesses on the checkpoint `raw`; returned only if the quorum is met.

    Only those of `not_before` (seconds since the Epoch) or later count. BadSignature: the quorum is not met, a known
    witness's line does not verify, or, where the policy names logs, none of them has signed. Malformed: no checkpoint.
    """
    note = parse_note(raw, where)
    _require_log(policy, raw, where)
    found = _cosignatures(policy, note, where)
    names = frozenset(name for name, seen in found.items() if seen.time >= not_before)
    if not policy.met(names):
        late = sorted(found.keys() - names)
        lacking = ", ".join(name + (" (too old)" if name in late else "") for name in policy.missing(names))
        raise BadSignature("policy of witnesses not met", where, f"quorum {policy.quorum}", f"missing: {lacking}")
    return tuple(found[name] for name in sorted(names))


def parse_policy(raw: bytes, where: str = "policy") -> Policy:
    """The policy in a file's bytes; Malformed, naming the line, if there is none.

    Each name is defined once, before it is used, and is a member of one group at most; `quorum` comes exactly once.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise Malformed("policy too long", where, f"at most {MAX_POLICY_BYTES} bytes", f"{len(raw)} bytes")
    lines = raw.split(b"\n")
    if lines[-1]:
        raise Malformed("policy cut short", where, "a newline at the end", lines[-1])
    reader = _Reader(where)
    for number, line in enumerate(lines[:-1], start=1):
        if _FORBIDDEN.search(line):
            raise Malformed("control character in a policy", f"{where}, line {number}", "tab or newline only", line)
        items = line.decode("utf-8", "surrogateescape").replace("\t", " ").split(" ")
        words = [item for item in items if item]
        if words and not words[0].startswith("#"):
            reader.read(number, words)
    return reader.policy()


class _Reader:
    """The definitions of a policy so far, read line by line."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._line = 0
        self._witnesses: dict[str, VKey] = {}
        self._groups: dict[str, Group] = {}
        self._used: set[str] = set()
        self._logs: list[VKey] = []
        self._quorum: str | None = None

    def read(self, line: int, words: list[str]) -> None:
        """Takes in one line that is neither empty nor a comment."""
        self._line = line
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._logs.append(self._vkey(vkey, NOTE_ED25519, self._logs))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._define(name)
                self._witnesses[name] = self._vkey(vkey, COSIGNATURE_ED25519, list(self._witnesses.values()))
            case ["group", name, threshold, *members]:
                self._group(name, threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    self._refuse("a second quorum", "one quorum line", name)
                if name != NONE and name not in self._witnesses and name not in self._groups:
                    self._refuse("quorum of an unknown name", "a witness or group defined before, or none", name)
                self._quorum = name
            case _:
                self._refuse("not a line of a policy", "log, witness, group or quorum", " ".join(words))

    def policy(self) -> Policy:
        """The policy of all lines; Malformed without a quorum."""
        if self._quorum is None:
            raise Malformed("policy without a quorum", self._where, "one quorum line", "none")
        return Policy(self._witnesses, self._groups, self._quorum, tuple(self._logs))

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        for member in members:
            if member not in self._witnesses and member not in self._groups:
                self._refuse("group of an unknown name", "witnesses or groups defined before", member)
            if member in self._used:
                self._refuse("a name is a member twice", "once", member)
            self._used.add(member)
        self._define(name)
        count = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if not _COUNT.fullmatch(count) or int(count) > len(members):
            self._refuse("threshold of a group", f"any, all, or 1 to {len(members)}", threshold)
        self._groups[name] = Group(int(count), tuple(members))

    def _define(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            self._refuse("a name is defined twice", "a new name", name)
        if len(self._witnesses) + len(self._groups) >= MAX_NAMES:
            self._refuse("too many names", f"at most {MAX_NAMES}", name)

    def _vkey(self, text: str, type_: bytes, others: list[VKey]) -> VKey:
        vkey = VKey.parse(text, type_, self._place)
        if vkey.key in [other.key for other in others]:
            self._refuse("a key occurs twice", "each key once", text)
        return vkey

    @property
    def _place(self) -> str:
        return f"{self._where}, line {self._line}"

    def _refuse(self, what: str, expected: str, found: str) -> NoReturn:
        raise Malformed(what, self._place, expected, found)


def _cosignatures(policy: Policy, note: Note, where: str) -> dict[str, Cosignature]:
    found = {name: cosignature(note, vkey, where) for name, vkey in policy.witnesses.items()}
    return {name: seen for name, seen in found.items() if seen is not None}


def _require_log(policy: Policy, raw: bytes, where: str) -> None:
    """Returns only if some log of the policy signed the checkpoint, or it names none."""
    errors = []
    for vkey in policy.logs:
        try:
            open_checkpoint(raw, Verifier(vkey.name, vkey.key), where)
            return
        except (BadSignature, Malformed) as error:
            errors.append(error)
    if errors:
        raise BadSignature("not signed by a log of the policy", where, str(policy.logs[0]), errors[0].what)
