"""``python -m fruits.cli`` is the command ``fruits``."""

import sys

from fruits.cli.commands import main

sys.exit(main())
