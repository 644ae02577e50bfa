"""The features of the images that a cross-validation scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.errors import OutputError
from fruits.features.rows import matrix, read_rows, write_rows
from fruits.storage.location import Location


@dataclass(frozen=True)
class Sample:
    """The features to score of a fold.

    Attributes:
        files: The files with features that were read now.
        kept: The file with features that were stored earlier; None if there is none.
        paths: The sorted paths of the images.
    """

    files: list[Location]
    kept: Location | None
    paths: list[str]

    def features(self) -> NDArray[np.floating[Any]]:
        """The (n, d) features, sorted by path."""
        return matrix(self._rows()["features"].combine_chunks())

    def keep(self, target: Location) -> Sample | None:
        """Writes the features to one file.

        Returns:
            The sample that reads this file; None if stored files are missing or damaged.
        """
        if not self.paths:
            return self
        try:
            write_rows(target, self._rows())
        except (FileNotFoundError, OutputError, ValueError):
            return None
        return Sample([target], None, self.paths)

    def _rows(self) -> pa.Table:
        columns = ["path", "features"]
        tables = [read_rows(file, columns) for file in self.files]
        if self.kept is not None:
            new = pa.array([path for table in tables for path in table["path"].to_pylist()])
            old = read_rows(self.kept, columns)
            own = pc.is_in(old["path"], pa.array(self.paths, pa.string()))
            changed = pc.is_in(old["path"], new.cast(pa.string()))
            tables.append(old.filter(pc.and_not(own, changed)))
        rows = pa.concat_tables(tables).sort_by("path")
        if rows["path"].to_pylist() != self.paths:
            raise ValueError(f"wanted features of {len(self.paths):,} images; got {rows.num_rows}")
        return rows
