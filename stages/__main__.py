"""`python -m stages STAGE FORECAST`."""

import sys

from stages.stage import main

sys.exit(main())
