"""The actions for the rows of features in a cross-validation."""

from __future__ import annotations

import pyarrow as pa

from fruits.folds.kept_folds import FOLDED

IMAGES = FOLDED.append(pa.field("scored", pa.bool_()))
"""The columns of images; ``scored`` says whether the features are read to score the image."""

ADD, SUBTRACT, SCORE = 1, -1, 0
"""The actions for a row: add its moments, subtract them, or only score it."""

ENTRIES = IMAGES.append(pa.field("sign", pa.int64()))
"""Images with the action: ``sign`` is one of `ADD`, `SUBTRACT` and `SCORE`."""
