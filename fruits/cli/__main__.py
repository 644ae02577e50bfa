"""``python -m fruits.cli`` is the command ``fruits``."""

import sys

from fruits.cli import main

sys.exit(main())
