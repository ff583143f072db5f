"""One thing over and over, an eighth of a megabyte of it: `python -m tests.fuzz.shapes TARGET ...`.

A fuzzer tries small inputs, among which a parser that takes time or memory with the square of its input looks quick.
Prints each input that takes over SECONDS, or more memory than the process may have; prints nothing if there is none.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from typing import Final

from tests.fuzz.targets import TARGETS

SIZE: Final = 128 * 1024
SECONDS: Final = 5.0
MEMORY: Final = 2**31
HEADS = (
    b"",
    b"a" * 64 + b"  ",
    b'["',
    b"c2sp.org/tlog-proof@v1\nextra ",
    b"old 0\n",
    b"-----BEGIN PUBLIC KEY-----\n",
)
PARTS = (
    *(b'\\"', b'"', b"\\", b"[", b'{"a":', b'[{"a":', b'{"a":1},', b"]", b" ", b"\n", b"\n\n", b"9", b"-", b"A", b"="),
    *(b"a/", b"../", b"\0", b"a" * 64 + b"  b\n", "\u2014 a AAAAAAA=\n".encode(), b"witness a b\n", b"group a any b\n"),
)


def shapes() -> Iterator[bytes]:
    """The inputs."""
    for head in HEADS:
        for part in PARTS:
            yield head + part * (SIZE // len(part)) + b"\n"


def _late(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    """The command."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _late)
    for name in sys.argv[1:]:
        for raw in shapes():
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                TARGETS[name](raw)
            except (TimeoutError, MemoryError, RecursionError) as error:
                print(f"{name}: {type(error).__name__} for {raw[:40]!r}...", flush=True)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
