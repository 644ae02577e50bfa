"""The table of components as rows of a CSV file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import matrix


def _without_formulas(labels: pa.Array) -> pa.Array:
    """Puts an apostrophe before labels that a spreadsheet would run as formulas.

    See OWASP, "CSV Injection". Paths begin with a scheme, so they are never formulas.
    """
    quoted = pc.binary_join_element_wise("'", labels, "")
    return pc.if_else(pc.match_substring_regex(labels, r"^[=+\-@\t\r]"), quoted, labels)


def flat_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of the table ``pca`` with a column for each component: path, label, pc1, pc2, ..."""
    components = matrix(batch["pca"])
    columns = {"path": batch["path"], "label": _without_formulas(batch["label"])}
    for number, column in enumerate(np.ascontiguousarray(components.T), start=1):
        columns[f"pc{number}"] = pa.array(column)
    return pa.record_batch(columns)
