"""What a run will take, and whether it fits: ``fruits plan``, and the checks of a run.

Some of the images are tried, and the rest is computed: memory, seconds, bytes and dollars.
"""

import fruits.runs  # noqa: F401 - chooses the allocator of Arrow, before Arrow is imported.
