"""`python -m mytalk_core` is `mytalk`."""

import sys

from .cli import main

sys.exit(main())
