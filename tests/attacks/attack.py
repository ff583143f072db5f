"""What an attack is: bytes made from the good bundle, the command line that must refuse them, and with which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.taken import Taken


@dataclass(frozen=True)
class Good:
    """The good folder: the bundles, taken apart, and every file of the folder by name."""

    bundle: Taken
    older: Taken
    small: Taken
    files: Mapping[str, bytes]


Made: TypeAlias = "bytes | Taken | Mapping[str, bytes]"  # a bundle.tar, or the files of the folder


@dataclass(frozen=True)
class Attack:
    """One tampering vector. `words` must all be in the one line on standard error; `did` and `gain` are for people.

    `options` follow `python -m audit`; the command runs in the vector's folder.
    """

    name: str
    make: Callable[[Good], Made] = field(repr=False)
    words: tuple[str, ...]
    did: str
    gain: str
    options: str = "verify bundle.tar --root ../good/root.pem"
    code: int = 1

    @property
    def folder(self) -> str:
        """The vector's folder."""
        return f"{self.name}_fail"

    def files(self, good: Good) -> Mapping[str, bytes]:
        """The folder's files, the README among them."""
        made = self.make(good)
        if isinstance(made, Taken):
            made = made.tar()
        files = {"bundle.tar": made} if isinstance(made, bytes) else dict(made)
        return {**files, "README.md": self.readme().encode()}

    def readme(self) -> str:
        """What was done, what for, and what must come of it."""
        words = "".join(f"- `{word}`\n" for word in self.words)
        return f"""\
# {self.name.replace("_", " ")}

What the attacker did: {self.did}

What it would gain: {self.gain}

    python -m audit {self.options}

Exit code: {self.code}

Standard error holds:

{words}"""
