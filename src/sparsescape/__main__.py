"""``python -m sparsescape`` is the command ``sparsescape``."""

import sys

from .cli import main

sys.exit(main())
