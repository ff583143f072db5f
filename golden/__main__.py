"""`python -m golden check|update|vary|emulate`."""

import sys

from golden.cli import main

sys.exit(main(sys.argv[1:]))
