"""`python -m registry`."""

from __future__ import annotations

import sys

from registry.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
