"""Networks, scalers and classifiers compared on the same images: ``fruits compare``."""

import fruits.runs  # noqa: F401 - chooses the allocator of Arrow, before Arrow is imported.
