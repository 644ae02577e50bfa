"""Starts the package; spark-submit needs a file: local:///opt/fruits/run.py run --images ..."""

import sys

from fruits.cli import main

sys.exit(main())
