"""What a person sees while work goes on: a moving bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

QUIET_SECONDS = 2.0  # shorter work says nothing
LINE_SECONDS = 10.0  # between plain lines


class Progress:
    """Shows how far named tasks are. `quiet` shows nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Within the block, each call of the yielded function says that one of `total` steps is done."""
        if self._quiet:
            yield lambda: None
        elif sys.stderr.isatty():
            with _bar() as bar:
                task = bar.add_task(what, total=total)
                yield lambda: bar.advance(task)
        else:
            yield _Lines(what, total).advance


def _bar() -> Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bar(*columns, console=Console(stderr=True), transient=True)


class _Lines:
    """A line now and then: what, how many of how many, seconds."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._start = monotonic()
        self._said = self._start + QUIET_SECONDS - LINE_SECONDS

    def advance(self) -> None:
        self._done += 1
        now = monotonic()
        last = self._done == self._total and now - self._start > QUIET_SECONDS
        if last or now - self._said > LINE_SECONDS:
            self._said = now
            print(
                f"{self._what}: {self._done}/{self._total} after {now - self._start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
