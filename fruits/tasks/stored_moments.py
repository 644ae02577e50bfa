"""The files of stored moments: their names, and the rows that they cover."""

from fruits.features.table import CHUNKS_FOLDER, Chunk, FeatureTable
from fruits.features.writer import STAGED
from fruits.storage.files import paths_in
from fruits.storage.location import Location

UNLABELLED = "unlabelled"
"""In the names of stored moments without sums of labels."""


def stored_files(table: FeatureTable) -> list[str]:
    """The names of the files in the folder of commits, which also has the stored moments."""
    return sorted(path.rpartition("/")[2] for path in paths_in(table.root / CHUNKS_FOLDER))


def stored_moments(table: FeatureTable, chunks: list[Chunk]) -> list[tuple[Chunk, Location]]:
    """The stored moments of chunks: those of all rows, and those of sides of the split."""
    of_number = {f"{chunk.number:06}": chunk for chunk in chunks}
    return [
        (of_number[number], table.root / CHUNKS_FOLDER / name)
        for name in stored_files(table)
        if (number := name.partition(".")[0]) in of_number and name.endswith(".moments")
    ]


def covered_rows(file: Location) -> tuple[str | None, bool]:
    """The side of the split, and whether there are sums of labels.

    Both are in the name of stored moments, such as ``000000.train.unlabelled.moments``.
    """
    _, *kind, _ = file.name.split(".")
    by_label = UNLABELLED not in kind
    side = kind if by_label else kind[:-1]
    return (side[0] if side else None), by_label


def files_of(table: FeatureTable, chunk: Chunk) -> list[Location]:
    """The files with the rows of a chunk."""
    return [table.root / name for name in chunk.files]


def staged_file(table: FeatureTable, file: Location) -> Location:
    """The place of a file that is written before it replaces the stored one."""
    return table.root / STAGED / file.name
