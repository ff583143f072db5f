"""Calibrates: `python -m tests.sbc.run [--models A,B] [--worlds N] [--first SEED] [--processes P] [--every]`.

Truths are drawn from the priors of each model (`tests.sbc.models`), outcomes from the truths, and every model is fitted
to the outcomes of each world by the engine's own sampler. The rank of a truth among nearly independent draws is then
uniform, for every parameter and every function of parameters and data.
Columns of the Markdown table on stdout: p-values of two tests (`tests.sbc.uniform`); the bound on a false alarm over
all tests of the run; mean rank and spread, .5 and 1 but for bias and a wrong width; the effective number of the kept
draws, of the quantity that has least of it; worlds with a divergence, and with a trajectory of the greatest length.
Exit code 1 where the bound is below LEVEL, else 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import precision

CACHE = Path(__file__).resolve().parents[2] / ".noptik" / "test-cache"
WORLDS = 400
BINS = 16
LEVEL = 0.01


def main(argv: Sequence[str]) -> int:
    """Prints the table. Precondition: the process is in the profile."""
    from stages.progress import Progress
    from stages.workers import Workers
    from tests.sbc.models import MODELS
    from tests.sbc.ranks import LENGTH, Task, ranked
    from tests.sbc.verdict import least, markdown, verdicts

    parser = argparse.ArgumentParser(prog="python -m tests.sbc.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="names of tests.sbc.models")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="of each model")
    parser.add_argument("--first", type=int, default=0, help="seed of the first world")
    parser.add_argument("--processes", type=int, default=0, help="0: this one")
    parser.add_argument("--every", action="store_true", help="a row for every quantity, and not for the worst alone")
    arguments = parser.parse_args(argv)
    chosen = arguments.models.split(",")
    unknown = sorted(set(chosen) - set(MODELS))
    if unknown:
        parser.error(f"--models: expected some of {', '.join(MODELS)}, found {', '.join(unknown)}")
    tasks = [Task(name, arguments.first, arguments.worlds) for name in chosen]
    done = dict(zip(chosen, Workers(arguments.processes, CACHE, Progress()).map("sbc", ranked, tasks), strict=True))
    found = verdicts({name: each.worlds for name, each in done.items()}, LENGTH.draws, BINS)
    print(markdown(done, found, arguments.every))
    return int(least(found) < LEVEL)


if __name__ == "__main__":
    if precision.in_profile(os.environ):
        here = [sys.executable, "-m", "tests.sbc.run", *sys.argv[1:]]
        os.execve(sys.executable, here, precision.environment(os.environ))
    precision.enter(os.environ, sys.modules)
    precision.compilation_cache(CACHE)
    sys.exit(main(sys.argv[1:]))
