"""Which columns of a table hold images, paths, labels, splits and groups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError
from fruits.sources.members import side_of
from fruits.sources.naming import COLUMN, Naming
from fruits.sources.text import storable

# Names of columns with paths, as tables have them; the first one that is there counts.
PATHS = ("path", "uri", "url", "file_name", "filename", "filepath", "file", "image_path", "image")


# Columns that a message names.
MOST_NAMED = 20


def path_column(names: Sequence[str], place: str) -> str:
    """The column of a table that has the paths of images.

    Raises:
        InputError: none of them has such a name.
    """
    by_case = {name.lower(): name for name in reversed(names)}
    for wanted in PATHS:
        if wanted in by_case:
            return by_case[wanted]
    raise InputError(
        f"images: wanted a column {', '.join(PATHS[:-1])} or {PATHS[-1]} with the paths of images; "
        f"{place} has {_list(names)}: rename the one that has the paths"
    )


def require_different(names: Sequence[str], place: str) -> None:
    """Refuses a table whose columns cannot be told from each other by their names.

    Raises:
        InputError: two columns have the same name.
    """
    if len(set(names)) < len(names):
        raise InputError(f"images: wanted columns with different names; {place} has {_list(names)}")


def image_column(schema: pa.Schema, place: str) -> str | None:
    """The column of a Parquet file that has the bytes of images; None where it has none.

    Raises:
        InputError: several could be meant.
    """
    kinds = features(schema)
    found = [field.name for field in schema if _has_bytes(field.type)]
    said = [name for name in found if kinds.get(name, {}).get("_type") == "Image"]
    called = [name for name in found if name.lower() == "image"]
    found = said or called or found
    if len(found) > 1:
        raise InputError(
            f"images: wanted one column with the bytes of images; {place} has {_list(found)}: "
            "write a file with one of them, or call it image"
        )
    return found[0] if found else None


def chosen(name: str, rule: str | None, names: Sequence[str], place: str) -> str | None:
    """The column for labels, splits or groups, or None where the table has none.

    Args:
        name: "label", "split" or "group", which is its name if the user says nothing else.
        rule: of the user; `column:species` names the column.
        names: of the table's columns.
        place: of the table, for messages.

    Raises:
        InputError: the table does not have the column that the user named.
    """
    if rule is None or not rule.startswith(COLUMN):
        return next((one for one in names if one.lower() == name), None)
    wanted = rule.removeprefix(COLUMN)
    if wanted not in names:
        raise InputError(
            f"{name}: wanted a column of {place}, which has {_list(names)}; got {rule}"
        )
    return wanted


def label_column(schema: pa.Schema, rule: str, place: str) -> str | None:
    """The column with the labels: the one that is named so, else the only one of classes."""
    if found := chosen("label", rule, schema.names, place):
        return found
    classes = [name for name in schema.names if class_names(schema, name)]
    return classes[0] if len(classes) == 1 else None


def said(table: pa.Table, naming: Naming, place: str) -> dict[str, list[str | None]]:
    """Labels, splits and groups of the rows of a table, as texts; None where they are missing."""
    columns = {
        "label": label_column(table.schema, naming.label, place),
        "split": chosen("split", naming.split, table.column_names, place),
        "group": chosen("group", naming.group, table.column_names, place),
    }
    found: dict[str, list[str | None]] = {
        name: texts(table, column) if column else [None] * table.num_rows
        for name, column in columns.items()
    }
    sides = {word: side_of(word, f"images: {place}") for word in set(found["split"])}
    found["split"] = [sides[word] for word in found["split"]]
    return found


def texts(table: pa.Table, column: str) -> list[str | None]:
    """A column of texts or numbers as texts; numbers of classes as the names that they have."""
    values = table[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if names := class_names(table.schema, column):
        numbers = values.to_pylist()
        return [names[n] if n is not None and 0 <= n < len(names) else None for n in numbers]
    return [text or None for text in pc.cast(values, pa.string()).to_pylist()]


def class_names(schema: pa.Schema, column: str) -> list[str]:
    """The names of the classes that the numbers of a column stand for; none for other columns."""
    about = features(schema).get(column, {})
    if about.get("_type") != "ClassLabel" or not pa.types.is_integer(schema.field(column).type):
        return []
    names = about.get("names")
    if isinstance(names, dict):  # Old versions number them.
        names = [names.get(str(number)) for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    return [storable(name) for name in names]


def features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What Hugging Face's datasets say about the columns, in the metadata of a schema."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        found = about.get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: one for name, one in found.items() if isinstance(one, dict)}


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _has_bytes(kind.field(place).type)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in (*tests, pa.types.is_fixed_size_binary))


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return (", ".join(names[:MOST_NAMED]) or "no column") + more
