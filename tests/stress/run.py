"""Stress worlds: `python -m tests.stress.run [--worlds N] [--clean N] [--coverage N]`, Markdown tables on stdout.

The model that is fitted knows nothing of what is wrong in a world (`tests.stress.scenes`); each world has a finding
that must be raised. Three tables: findings beside stated verdicts; alarms of detection on breaks; coverage of forecasts
and effects where residuals have a memory of .6, by a model that has one and by one that has none.
Exit code 1 where a verdict is not met, else 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import precision

CACHE = Path(__file__).resolve().parents[2] / ".noptik" / "test-cache"


def main(argv: Sequence[str]) -> int:
    """Prints the tables. Precondition: the process is in the profile."""
    from tests.stress import table
    from tests.stress.alarmed import alarmed
    from tests.stress.coverage import covered, rates
    from tests.stress.measure import Stress
    from tests.stress.model import AFTER
    from tests.stress.scenes import CLEAN, SCENES

    parser = argparse.ArgumentParser(prog="python -m tests.stress.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=20, help="of each scene")
    parser.add_argument("--clean", type=int, default=100, help="worlds in which nothing is wrong")
    parser.add_argument("--coverage", type=int, default=150, help="worlds with autocorrelated residuals")
    arguments = parser.parse_args(argv)
    stress = Stress()
    clean = [stress.fitted(CLEAN, seed) for seed in range(arguments.clean)]
    rows = [table.clean_row(clean, AFTER["level"])]
    for name, scene in SCENES.items():
        found = [stress.fitted(scene, seed) for seed in range(arguments.worlds)]
        rows.append(table.row(name, scene, found, clean))
        print(f"stress: {name}", file=sys.stderr, flush=True)
    print(table.scenes(rows), flush=True)
    heard = {"clean": CLEAN, **{name: SCENES[name] for name in ("trend break", "trend turn")}}
    seeds = range(arguments.worlds)
    print("\n" + table.alarms({name: [alarmed(stress, each, seed) for seed in seeds] for name, each in heard.items()}))
    lasting, seeds = SCENES["autocorrelated errors"], range(arguments.coverage)
    held = {
        residual: rates([covered(stress, lasting, residual, seed) for seed in seeds]) for residual in ("ar1", "white")
    }
    print("\n" + table.coverages(held))
    return int(any(row.failed for row in rows) or bool(table.outside(held["ar1"])))


if __name__ == "__main__":
    if precision.in_profile(os.environ):
        here = [sys.executable, "-m", "tests.stress.run", *sys.argv[1:]]
        os.execve(sys.executable, here, precision.environment(os.environ))
    precision.enter(os.environ, sys.modules)
    precision.compilation_cache(CACHE)
    sys.exit(main(sys.argv[1:]))
