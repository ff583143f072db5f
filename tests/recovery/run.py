"""Recovery: `python -m tests.recovery.run [--classes A,B] [--worlds N] [--processes P]`, a Markdown table on stdout.

Truth is drawn from the priors of each class (`tests.recovery.sizes`), so the 90 % interval of every contribution must
hold it in 90 % of worlds. Two rows have a fixed truth, and no bounds: `seven_channels`, made here, and `geo_simulated`,
the table that ships with the project, by channel and location and by channel alone.
Columns: error of total is |estimate - truth| added up over |truth| added up, over pairs and worlds; error of each is
that of one pair, a channel and an outcome, which worlds with channels that do next to nothing push without limit, hence
its median. The estimate is the posterior mean. Exit code 1 where coverage is outside its bounds, else 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import precision

CACHE = Path(__file__).resolve().parents[2] / ".noptik" / "test-cache"
WARMUP, DRAWS = 300, 400  # of the one chain of a world
WORLDS = 24


def main(argv: Sequence[str]) -> int:
    """Prints the table. Precondition: the process is in the profile."""
    from stages.progress import Progress
    from stages.workers import Workers
    from tests.classes import CLASSES
    from tests.recovery.rows import GEO, SEVEN, Task, rows
    from tests.recovery.table import failed, markdown

    names = (*CLASSES, SEVEN, GEO)
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", default=",".join(names), help="names of tests.classes, and the two fixed truths")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="of each class")
    parser.add_argument("--processes", type=int, default=0, help="0: this one")
    arguments = parser.parse_args(argv)
    chosen = arguments.classes.split(",")
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"--classes: expected some of {', '.join(names)}, found {', '.join(unknown)}")
    tasks = [Task(name, arguments.worlds, WARMUP, DRAWS) for name in chosen]
    found = Workers(arguments.processes, CACHE, Progress()).map("recovery", rows, tasks)
    table = [row for each in found for row in each]
    print(markdown(table))
    return int(failed(table))


if __name__ == "__main__":
    if precision.in_profile(os.environ):
        here = [sys.executable, "-m", "tests.recovery.run", *sys.argv[1:]]
        os.execve(sys.executable, here, precision.environment(os.environ))
    precision.enter(os.environ, sys.modules)
    precision.compilation_cache(CACHE)
    sys.exit(main(sys.argv[1:]))
