"""A line of the tables that `make bench` and `make bench-regimes` print, and their printing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from audit.environment import machine


class Row(NamedTuple):
    """What was measured, the figure with its unit, and what the figure rests on."""

    what: str
    value: str
    note: str


def show(benches: Mapping[str, Callable[[Path], Iterable[Row]]], chosen: Iterable[str], width: int) -> None:
    """Prints this machine and the rows of the chosen benches of the project here, every row as soon as it is known."""
    here = machine()
    print(f"{here.cpu}, {here.cores} cores, {here.libc}, Python {here.python}, load {os.getloadavg()[0]:.1f}\n")
    for name in chosen:
        for row in benches[name](Path.cwd()):
            print(f"{row.what:<{width}} {row.value:>16}  {row.note}", flush=True)
