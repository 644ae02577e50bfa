"""Tables in unusual formats of other programs and people."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from listings import list_images

from fruits.errors import InputError
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a b", "Fig"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(name.encode())
    return tmp_path


def rows_of(place: Path, naming: Naming | None = None) -> list[tuple[Any, ...]]:
    """The content, the label and the split of each image, sorted by key."""
    source = open_source(str(place), naming)
    images = source.found().images.table()
    return list(
        zip(
            contents_of(images),
            *(images[name].to_pylist() for name in ("label", "split")),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        'path,label,split\na b/1.jpg,"x, y",train\nFig/1.jpg,007,test\n',
        "\ufeffpath;label;split\r\na b/1.jpg;x, y;Training\r\nFig/1.jpg;007;TEST\r\n",
        'path, label, split\na b/1.jpg, "x, y", train\nFig/1.jpg, 007, test\n',
        "\n\npath\tlabel\tsplit\n\na b/1.jpg\tx, y \ttrain\nFig/1.jpg\t007\ttest\n\n",
        "label|split|path\nx, y|train|a b/1.jpg\n007|test|Fig/1.jpg",
        ',path,label,split\n0,a b/1.jpg,"x, y",train\n1,Fig/1.jpg,007,test\n',
        "path;label;split\na%20b/1.jpg;x, y;train\n./Fig/1.jpg;007;test\n",
    ],
    ids=["plain", "excel", "spaces", "blank lines", "pipes", "pandas", "encoded"],
)
def test_tables_in_the_formats_of_several_programs(folder: Path, text: str) -> None:
    place = folder / "table.csv"
    place.write_bytes(text.encode())
    if place.read_text().startswith("path, label"):
        # A quote has a meaning only at the beginning of a cell.
        place.write_text(text.replace('"x, y"', "x"))
        assert rows_of(place) == [(b"Fig", "007", "test"), (b"a b", "x", "train")]
        return
    assert rows_of(place) == [(b"Fig", "007", "test"), (b"a b", "x, y", "train")]


def test_uris_are_decoded_only_if_no_file_has_the_literal_name(folder: Path) -> None:
    place = folder / "table.csv"
    place.write_text(f"path\n{(folder / 'a b' / '1.jpg').as_uri()}\n{folder}/Fig/1.jpg\n")
    assert [content for content, *_ in rows_of(place)] == [b"Fig", b"a b"]
    (folder / "a%20b").mkdir()
    (folder / "a%20b" / "1.jpg").write_bytes(b"as it is written")
    assert [content for content, *_ in rows_of(place)] == [b"Fig", b"as it is written"]


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("Fig\\1.jpg", r"write / between folders"),
        ("C:\\fruit\\1.jpg", r"write / between folders"),
        ("fig/one.jpg", r"start at file:.*, the folder of the table"),
        ("/nowhere/1.jpg", r"check the paths"),
    ],
)
def test_a_table_without_any_existing_file_is_reported_in_one_line(
    folder: Path, path: str, advice: str
) -> None:
    (folder / "table.csv").write_text(f"path\n{path}\n")
    with pytest.raises(InputError, match=rf"exists, such as file:.*{advice}"):
        rows_of(folder / "table.csv")


def test_integers_that_pandas_stored_as_floats_are_integers_as_labels(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [b"0", b"1", b"2", b"3"], "label": [0, None, 12, 0.5]})
    assert frame["label"].dtype == np.float64
    frame.to_parquet(tmp_path / "a.parquet")
    assert [label for _, label, _ in rows_of(tmp_path / "a.parquet")] == ["0", None, "12", "0.5"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([12, None], ["12", None]),
        ([3.0, -1.0], ["3", "-1"]),
        ([0.5, 3.0], ["0.5", "3.0"]),
        (["v1.0", "3.0"], ["v1.0", "3.0"]),
    ],
    ids=str,
)
def test_labels_of_a_csv_are_whole_where_all_numbers_are(
    folder: Path, values: list[object], labels: list[str | None]
) -> None:
    frame = pd.DataFrame({"path": ["Fig/1.jpg", "a b/1.jpg"], "label": values})
    frame.to_csv(folder / "a.csv")
    assert [label for _, label, _ in rows_of(folder / "a.csv")] == labels


@pytest.mark.parametrize(
    ("last", "labels"), [("3.0", {"3"}), ("0.5", {"3.0", "0.5"}), ("", {"3", None})]
)
def test_all_labels_of_a_long_csv_decide_whether_they_are_whole(
    folder: Path, last: str, labels: set[str | None]
) -> None:
    lines = [f"nowhere/{number:040}.jpg, 3.0" for number in range(40_000)]
    (folder / "a.csv").write_text("\n".join(["path, label", *lines, f"Fig/1.jpg, {last}"]))
    found = list_images(str(folder / "a.csv")).images
    assert found.num_rows == 40_001
    assert {*found["label"].to_pylist()} == labels


@pytest.mark.parametrize("column", ["image", "path"])
def test_labels_of_other_types_are_reported_with_a_remedy(folder: Path, column: str) -> None:
    place = folder / "a.parquet"
    images = [b"x"] if column == "image" else ["Fig/1.jpg"]
    pq.write_table(pa.table({column: images, "label": [[0, 1]], "kind": ["Fig"]}), place)
    for _ in range(2):  # The second time, the index is cached.
        with pytest.raises(InputError, match=r"column label.*list<.*--label column:NAME"):
            rows_of(place)
    assert [one for _, one, _ in rows_of(place, Naming(label="column:kind"))] == ["Fig"]


@pytest.mark.parametrize(
    ("name", "remedy", "naming"),
    [
        ("label", "write a rule for names with --label", Naming(label="grandparent")),
        ("split", "use no split with --split none", Naming(split="none")),
        ("group", "write a rule for names with --group", Naming(group="(?P<group>Fig)")),
    ],
)
def test_a_column_of_another_type_is_ignored_if_a_rule_replaces_it(
    folder: Path, name: str, remedy: str, naming: Naming
) -> None:
    place = folder / "a.parquet"
    pq.write_table(pa.table({"path": ["Fig/1.jpg"], name: [[0, 1]]}), place)
    with pytest.raises(InputError, match=rf"for the {name} of each image.*{remedy}$") as caught:
        rows_of(place)
    assert "--group column:NAME" not in str(caught.value)
    assert [content for content, *_ in rows_of(place, naming)] == [b"Fig"]


def test_unsupported_types_of_images_or_paths_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [[1, 2, 3]]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"texts or bytes in the column image.*has list<"):
        rows_of(tmp_path / "a.parquet")


def test_of_several_images_in_a_row_the_one_called_image_is_read(tmp_path: Path) -> None:
    features = {name: {"_type": "Image"} for name in ("image", "mask")}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = [{"image": {"bytes": b"i", "path": None}, "mask": {"bytes": b"m", "path": None}}]
    table = pa.Table.from_pylist(rows).replace_schema_metadata(about)
    pq.write_table(table, tmp_path / "a.parquet")
    assert [content for content, _, _ in rows_of(tmp_path / "a.parquet")] == [b"i"]


def test_bytes_that_are_digests_are_no_images_of_a_table_of_paths(folder: Path) -> None:
    digests = pa.array([b"0" * 16, b"1" * 16], pa.binary(16))
    table = pa.table({"path": ["Fig/1.jpg", "a b/1.jpg"], "md5": digests})
    pq.write_table(table, folder / "a.parquet")
    assert [content for content, _, _ in rows_of(folder / "a.parquet")] == [b"Fig", b"a b"]
