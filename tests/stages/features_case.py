"""The stages `ingest` and `features` of the golden geo case, in a process of their own: `python -m ... ROOT`.

Prints the digest of everything that they left. Any socket is refused, from the first line on.
"""

from __future__ import annotations

import sys
from typing import Any


def refuse(event: str, _: tuple[Any, ...]) -> None:
    """An audit hook: no socket is made, no name is looked up."""
    if event.startswith("socket."):
        raise AssertionError(event)


def main(root: str) -> None:
    """Runs both stages in the project at `root`. Precondition: the process is in the profile's environment."""
    import os
    from dataclasses import replace
    from pathlib import Path

    from engine import precision

    precision.enter(os.environ, sys.modules)
    from audit.digest import digest_path
    from golden.case import How
    from golden.forecast import context
    from stages.stage import load, run

    made = replace(context(Path(root), How(0, None, False)), forecast="geo")
    for name in ("ingest", "features"):
        run(load(name), made)
    print(digest_path(made.artifact("features")).sha256, digest_path(made.artifact("statements/features.json")).sha256)


if __name__ == "__main__":
    sys.addaudithook(refuse)
    main(sys.argv[1])
