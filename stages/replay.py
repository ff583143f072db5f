"""Re-executes a run's stages in order, in the current folder: what `python -m audit replay` starts.

The registered specification and its receipt are given, as evidence; the source's own params.yaml must declare that
specification. Sealing is not repeated: the ledger is what the result is compared with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from audit.errors import Tampered
from stages.stage import REFUSALS, SPEC, STAGES, Context, context, failure, into_profile, load, run

REPLAYED = tuple(name for name in STAGES if name not in ("register", "seal"))


def replay(place: Context) -> None:
    """artifacts/<forecast>/ holds what each stage wrote. Tampered: the source declares another specification."""
    given = place.artifact(SPEC).read_bytes()
    if given != place.declared():
        raise Tampered("specification", "params.yaml of the recorded source", given, place.declared())
    for name in REPLAYED:
        run(load(name), place)


def main(argv: Sequence[str]) -> int:
    """`python -m stages.replay FORECAST`; exit codes as `stages.stage`."""
    parser = argparse.ArgumentParser(prog="python -m stages.replay", description="Re-execute a run's stages here.")
    parser.add_argument("forecast")
    arguments = parser.parse_args(argv)
    try:
        into_profile(["-m", "stages.replay", *argv])
        replay(context(Path.cwd(), arguments.forecast))
    except REFUSALS as error:
        return failure(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
