"""`make bench-regimes`: change-points, breaks and calibration, measured on data not made here and on worlds.

changepoints  F1 and covering on the Turing Change Point Dataset; false alarms, delays, speed
              (`stages.bench_changepoints`)
verdicts      hazard, threshold and reliability out of sample; causes given to planted breaks (`stages.bench_verdicts`)
breaks        forecasts after planted breaks, with and without their consequences (`stages.bench_breaks`)
conformal     coverage and width on exchangeable, drifting and recurring data, and of the shipped forecasts' holdouts
              (`stages.bench_conformal`)

Nothing is asserted. Breaks and holdouts read the artifacts of the last `make repro`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from stages.bench_row import show
from stages.stage import into_profile

BENCHES = ("changepoints", "verdicts", "breaks", "conformal")


def main(argv: Sequence[str]) -> int:
    """Prints the table; every row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="make bench-regimes", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=BENCHES, action="append", help="some of the benches")
    arguments = parser.parse_args(argv)
    into_profile(["-m", "stages.bench_regimes", *argv])
    from stages import bench_breaks, bench_changepoints, bench_conformal, bench_verdicts

    rows = {
        "changepoints": bench_changepoints.rows,
        "verdicts": bench_verdicts.rows,
        "breaks": bench_breaks.rows,
        "conformal": bench_conformal.rows,
    }
    show(rows, arguments.only or BENCHES, 52)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
