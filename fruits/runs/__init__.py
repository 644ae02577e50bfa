"""The steps of a run, and what the commands do before and after it.

This package chooses the allocator of Arrow, so it must be imported before Arrow.
"""

import os

# Arrow reads this variable while it is loaded. Its readers and writers of files use this allocator
# even after `pyarrow.set_memory_pool`; the default one keeps what was freed, up to 100 MB in a run
# with a million images (fruits/runs/allocator.py). Spark's workers on this machine inherit it.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
