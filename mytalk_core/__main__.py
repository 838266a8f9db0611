"""`python -m mytalk_core` is `mytalk`."""

import sys

from .cli.main import main

sys.exit(main())
