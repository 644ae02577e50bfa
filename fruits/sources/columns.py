"""Finds the columns of a table with images, paths, labels, splits and groups."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError
from fruits.sources.members import NO_VALUE, has_rules, side_of
from fruits.sources.naming import COLUMN, Naming
from fruits.sources.text import storable

# Usual names of a column with paths; the first one that exists is used.
PATHS = ("path", "uri", "url", "file_name", "filename", "filepath", "file", "image_path", "image")
ADDRESSES = ("uri", "url")

KIND_OF = "fruits.kind"
"""A key in the metadata of a field: the type of a column whose values are not in the index."""


# The most columns that a message names.
MOST_NAMED = 20

# What to do about a column that cannot be used.
_REMEDIES = {
    "label": "name another column with --label column:NAME, or write a rule for names with --label",
    "split": "name another column with --split column:NAME, or use no split with --split none",
    "group": "call the column by another name, or write a rule for names with --group",
}


def path_column(names: Sequence[str], place: str) -> str:
    """Finds the column of a table that has the paths of images.

    Raises:
        InputError: no column has one of the usual names.
    """
    by_case = {name.lower(): name for name in reversed(names)}
    for wanted in PATHS:
        if wanted in by_case:
            return by_case[wanted]
    raise InputError(
        f"images: wanted a column {', '.join(PATHS[:-1])} or {PATHS[-1]} with the paths of images; "
        f"{place} has {_list(names)}: rename the one that has the paths, or write a first line "
        "with the names of the columns"
    )


def path_texts(table: pa.Table, column: str, place: str) -> list[str | None]:
    """The paths of a table.

    Raises:
        InputError: the column is not a column of strings.
    """
    kind = table.schema.field(column).type
    if not _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        raise InputError(
            f"images: wanted texts or bytes in the column {column}, the paths of images or the "
            f"images themselves; {place} has {kind} there"
        )
    paths: list[str | None] = table[column].cast(pa.string()).to_pylist()
    return paths


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column of this type can have labels, splits or groups."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating, pa.types.is_null)
    return _is_text(kind) or any(test(kind) for test in tests)


def require_different(names: Sequence[str], place: str) -> None:
    """Checks that all columns have different names.

    Raises:
        InputError: two columns have the same name.
    """
    if len(set(names)) < len(names):
        raise InputError(f"images: wanted columns with different names; {place} has {_list(names)}")


def image_column(schema: pa.Schema, place: str) -> str | None:
    """Finds the column of a Parquet file that has the bytes of images; None if there is none.

    Raises:
        InputError: several columns have bytes, and their names do not show which one to use.
    """
    kinds = features(schema)
    found = [field.name for field in schema if _has_bytes(field.type)]
    if any(field.name.lower() in PATHS and _is_text(field.type) for field in schema):
        # Values of one length next to paths are digests.
        digests = {f.name for f in schema if pa.types.is_fixed_size_binary(f.type)}
        found = [name for name in found if name not in digests]
    said = [name for name in found if kinds.get(name, {}).get("_type") == "Image"]
    found = said or found
    found = [name for name in found if name.lower() == "image"] or found
    if len(found) > 1:
        raise InputError(
            f"images: wanted one column with the bytes of images; {place} has {_list(found)}: "
            "write a file with one of them, or call it image"
        )
    return found[0] if found else None


def name_column(schema: pa.Schema) -> str | None:
    """Finds the column with the names of images whose bytes are in a table; None if there is none.

    Spark's data source ``binaryFile`` calls it ``path``. Addresses are not names.
    """
    texts = {field.name.lower(): field.name for field in schema if _is_text(field.type)}
    return next((texts[name] for name in PATHS if name in texts and name not in ADDRESSES), None)


def find_column(
    name: str, rule: str | None, names: Sequence[str], place: str, optional: bool = False
) -> str | None:
    """Finds the column for labels, splits or groups; None if the table has none.

    Args:
        name: "label", "split" or "group", which is the default name of the column.
        rule: the rule of the user; `column:species` names the column.
        names: the names of the table's columns.
        place: the location of the table, for messages.
        optional: whether the default column is used if the named one is missing.

    Raises:
        InputError: the table does not have the column that the user named.
    """
    wanted = rule.removeprefix(COLUMN) if rule and rule.startswith(COLUMN) else None
    if wanted in names:
        return wanted
    if wanted is not None and not optional:
        raise InputError(
            f"{name}: wanted a column of {place}, which has {_list(names)}; got {rule}"
        )
    return next((one for one in names if one.lower() == name), None)


def label_column(schema: pa.Schema, naming: Naming, place: str) -> str | None:
    """Finds the column with the labels: by its name, or as the only column of classes."""
    optional = naming.optional_columns
    if found := find_column("label", naming.label, schema.names, place, optional):
        return found
    classes = [name for name in schema.names if class_names(schema, name)]
    return classes[0] if len(classes) == 1 else None


def fact_columns(schema: pa.Schema, naming: Naming, place: str) -> dict[str, str | None]:
    """The columns with the label, the split and the group of each row of a table; None if missing.

    A column is not used if the user gave a rule that replaces it.

    Raises:
        InputError: a column that the user named is missing, or has values of another kind.
    """
    names, optional = schema.names, naming.optional_columns
    columns = {
        "label": None if has_rules(naming) else label_column(schema, naming, place),
        "split": (
            None
            if naming.split == "none"
            else find_column("split", naming.split, names, place, optional)
        ),
        "group": None if naming.group else find_column("group", None, names, place),
    }
    for name, column in columns.items():
        if column:
            _require_scalar(schema.field(column), name, place)
    return columns


def facts_of(
    table: pa.Table, columns: Mapping[str, str | None], place: str
) -> dict[str, list[str | None]]:
    """Labels, splits and groups of some rows of a table, as strings; None if missing.

    In a column of labels or splits, a missing value is :data:`fruits.sources.members.NO_VALUE`, so
    that the path is not asked.

    Args:
        table: the rows.
        columns: the result of :func:`fact_columns`.
        place: the location of the table, for messages.
    """
    found: dict[str, list[str | None]] = {
        name: texts(table, column) if column else [None] * table.num_rows
        for name, column in columns.items()
    }
    sides = {word: side_of(word, f"images: {place}") for word in set(found["split"])}
    found["split"] = [sides[word] for word in found["split"]]
    for name in ("label", "split"):
        if columns[name]:
            found[name] = [value or NO_VALUE for value in found[name]]
    return found


def _require_scalar(field: pa.Field, name: str, place: str) -> None:
    said = (field.metadata or {}).get(KIND_OF.encode())
    if said or not is_scalar(field.type):
        kind = said.decode() if said else field.type
        raise InputError(
            f"images: wanted texts or numbers in the column {field.name}, for the {name} of each "
            f"image; {place} has {kind} there: {_REMEDIES[name]}"
        )


def texts(table: pa.Table, column: str) -> list[str | None]:
    """Converts a column of strings or numbers to strings; class numbers become class names.

    Spaces around a string are removed. An integer in a column of floats is written without a
    fraction, because pandas makes floats of integers if some are missing.
    """
    values = table[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):
        return [number_text(value) for value in values.to_pylist()]
    if names := class_names(table.schema, column):
        numbers = values.to_pylist()
        return [names[n] if n is not None and 0 <= n < len(names) else None for n in numbers]
    trimmed = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    return [text or None for text in trimmed.to_pylist()]


def number_text(value: float | None) -> str | None:
    """A number as the text of a label: a whole one without fractions, None for no number."""
    if value is None or not math.isfinite(value):
        return None
    return str(int(value)) if value.is_integer() else str(value)


def class_names(schema: pa.Schema, column: str) -> list[str]:
    """The class names of a column of class numbers; an empty list for other columns."""
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
    """Hugging Face's descriptions of the columns, from the metadata of a schema."""
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


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return (", ".join(names[:MOST_NAMED]) or "no column") + more
