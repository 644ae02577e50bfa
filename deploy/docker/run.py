"""The package as a file, which spark-submit wants: local:///opt/fruits/run.py run --images ..."""

import sys

from fruits.cli import main

sys.exit(main())
