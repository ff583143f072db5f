"""What a person sees while a case runs: one line on stderr for each step of more than a moment."""

from __future__ import annotations

import sys

MOMENT_SECONDS = 2.0


def say(what: str, seconds: float) -> None:
    """`what` and how long it took are on stderr, unless it was a moment."""
    if seconds > MOMENT_SECONDS:
        print(f"{what}: {seconds:.0f} s", file=sys.stderr, flush=True)
