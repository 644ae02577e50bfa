import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from forms import as_parquet, files_of, read
from listings import list_images

from fruits.errors import InputError
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of


def write(target: Path, columns: dict[str, Any], about: dict[str, Any] | None = None) -> str:
    table = pa.table(columns)
    if about:
        metadata = {"huggingface": json.dumps({"info": {"features": about}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, target)
    return str(target)


def test_a_parquet_file_has_the_bytes_of_its_folder_and_the_labels_of_its_classes(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Apple": 9, "Pêche é": 5})
    place = as_parquet(root, tmp_path / "train-00000-of-00001.parquet")
    found = read(str(place))
    assert {key.partition("!/")[2]: one for key, one in found.items()} == files_of(root)
    images = list_images(str(place)).images
    folder = list_images(str(root)).images
    assert images["label"].to_pylist() == folder["label"].to_pylist()
    assert images["length"].to_pylist() == folder["length"].to_pylist()
    assert set(images["split"].to_pylist()) == {"train"}


def test_a_column_of_bytes_has_rows_as_keys_and_other_columns_as_labels(tmp_path: Path) -> None:
    place = write(
        tmp_path / "a.parquet",
        {
            "photo": [b"one", b"two", None],
            "species": ["Fig", "Lime", "Fig"],
            "split": ["train", "VAL", None],
            "group": [1, 2, 2],
        },
    )
    assert [str(one) for one in read(place).values()] == [
        "b'one'",
        "b'two'",
        "no bytes in this row",
    ]
    rows = list_images(place).images.to_pylist()
    assert [row["path"].partition("!/")[2] for row in rows] == ["0", "1", "2"]
    assert [row["split"] for row in rows] == ["train", "validation", None]
    assert [row["group"] for row in rows] == ["1", "2", "2"]
    assert [row["label"] for row in rows] == [None] * 3


def test_a_table_of_binary_files_has_names_labels_and_splits_from_its_paths(
    tmp_path: Path,
) -> None:
    paths = ["file:/data/Training/Fig/1.jpg", "file:/data/Test/Fig/1.jpg", "s3a://b/c/Lime/1.jpg"]
    times = pa.nulls(3, pa.timestamp("us", tz="UTC"))
    columns = {"path": paths, "modificationTime": times, "length": [1, 2, 3]}
    place = write(tmp_path / "a.parquet", {**columns, "content": [b"1", b"22", b"333"]})
    rows = list_images(place).images.to_pylist()
    names = {row["path"].partition("!/")[2]: (row["label"], row["split"]) for row in rows}
    assert names == {
        "data/Training/Fig/1.jpg": ("Fig", "train"),
        "data/Test/Fig/1.jpg": ("Fig", "test"),
        "c/Lime/1.jpg": ("Lime", None),
    }
    twice = write(tmp_path / "b.parquet", {"path": [paths[0]] * 2, "content": [b"1", b"2"]})
    keys = list_images(twice).images["path"].to_pylist()
    assert [key.partition("!/")[2] for key in keys] == [
        f"data/Training/Fig/1.jpg#{n}" for n in (0, 1)
    ]


@pytest.mark.parametrize("name", ["url", "caption"])
def test_addresses_and_other_texts_are_not_names(tmp_path: Path, name: str) -> None:
    place = write(tmp_path / "a.parquet", {name: ["https://x/Fig/1.jpg"], "image": [b"1"]})
    (row,) = list_images(place).images.to_pylist()
    assert (row["path"].partition("!/")[2], row["label"]) == ("0", None)


def test_a_partitioned_table_has_its_labels_and_splits_in_the_names_of_its_folders(
    tmp_path: Path,
) -> None:
    table = pa.table(
        {
            "image": [b"1", b"22", b"333", b"4444"],
            "label": ["Fig", "A:B/C", "Fig", None],
            "split": ["train", "train", "test", "test"],
        }
    )
    pads.write_dataset(
        table,
        tmp_path / "set",
        format="parquet",
        partitioning=pads.partitioning(
            pa.schema([("split", pa.string()), ("label", pa.string())]), flavor="hive"
        ),
    )
    rows = list_images(str(tmp_path / "set")).images.to_pylist()
    assert {(row["length"], row["label"], row["split"]) for row in rows} == {
        (1, "Fig", "train"),
        (2, "A:B/C", "train"),
        (3, "Fig", "test"),
        (4, None, "test"),
    }


def test_the_user_names_the_column_of_the_labels(tmp_path: Path) -> None:
    place = write(tmp_path / "a.parquet", {"image": [b"x"], "species": ["Fig"]})
    images = list_images(place, Naming(label="column:species")).images
    assert images["label"].to_pylist() == ["Fig"]
    with pytest.raises(InputError, match=r"parquet, which has species; got column:kind$"):
        list_images(place, Naming(label="column:kind"))


def test_paths_that_are_not_unique_get_row_numbers(tmp_path: Path) -> None:
    image = [{"bytes": b"a", "path": "Fig/1.jpg"}, {"bytes": b"b", "path": "Fig/1.jpg"}]
    image.append({"bytes": b"c", "path": ""})
    place = write(tmp_path / "a.parquet", {"image": image})
    images = list_images(place).images
    names = [path.partition("!/")[2] for path in images["path"].to_pylist()]
    assert names == ["Fig/1.jpg#0", "Fig/1.jpg#1", "2"]
    assert images["label"].to_pylist() == ["Fig", "Fig", None]


def test_names_are_those_of_a_column_where_images_have_no_path(tmp_path: Path) -> None:
    image = [{"bytes": b"1", "path": path} for path in (None, "", "Lime/3.jpg")]
    names = ["Fig/1.jpg", "Fig/2.jpg", "other/3.jpg"]
    rows = open_source(write(tmp_path / "a.parquet", {"image": image, "file_name": names}))
    images = rows.found().images.table()
    found = [path.partition("!/")[2] for path in images["path"].to_pylist()]
    assert found == ["Fig/1.jpg", "Fig/2.jpg", "Lime/3.jpg"]
    assert images["label"].to_pylist() == ["Fig", "Fig", "Lime"]


def test_the_beginning_of_a_uri_is_left_out_of_a_name_but_a_colon_is_part_of_it(
    tmp_path: Path,
) -> None:
    names = ["file:/Fig/1.jpg", "s3a://bucket/Fig/2.jpg", "dbfs:/Fig/3.jpg", "photos:1/4.jpg"]
    place = write(tmp_path / "a.parquet", {"image": [b"x"] * len(names), "path": names})
    images = list_images(place).images
    found = [path.partition("!/")[2] for path in images["path"].to_pylist()]
    assert found == ["Fig/1.jpg", "Fig/2.jpg", "Fig/3.jpg", "photos:1/4.jpg"]
    assert images["label"].to_pylist() == ["Fig", "Fig", "Fig", "photos:1"]


def test_large_images_are_listed_a_few_at_a_time(tmp_path: Path) -> None:
    images = [bytes([n]) * 1_000_000 for n in range(200)]
    # Pages of one image each; a page is always read as a whole.
    pages = {"use_dictionary": False, "write_batch_size": 1}
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", **pages)
    program = (
        "import sys; import pyarrow as pa; from fruits.sources.open_source import open_source; "
        "print(open_source(sys.argv[1]).found().images.num_rows); "
        "print(pa.default_memory_pool().max_memory())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.parquet")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows, memory = map(int, done.stdout.split())
    assert rows == 200
    assert memory < 60_000_000


def test_the_column_of_images_is_found_among_several_with_bytes(tmp_path: Path) -> None:
    columns = {"mask": [b"m"], "picture": [b"p"]}
    place = write(tmp_path / "a.parquet", columns, {"picture": {"_type": "Image"}})
    assert list(read(place).values()) == [b"p"]
    place = write(tmp_path / "b.parquet", columns)
    with pytest.raises(InputError, match=r"wanted one column .* has mask, picture"):
        read(place)


def test_each_row_group_is_read_once_for_a_task(tmp_path: Path, row_groups: list[int]) -> None:
    place = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"image": [bytes([n]) * 50 for n in range(100)]}), place, row_group_size=30
    )
    source = open_source(str(place))
    images = source.found().images.table()
    assert list(contents_of(images.slice(25, 70))) == [bytes([n]) * 50 for n in range(25, 95)]
    assert row_groups == [0, 1, 2, 3]
    # An interrupted task may continue with rows in any order.
    some = images.take([70, 3, 3, 99])
    assert list(contents_of(some)) == [bytes([n]) * 50 for n in (70, 3, 3, 99)]


def test_a_file_changed_after_the_listing_never_yields_wrong_bytes(
    tmp_path: Path,
) -> None:
    place = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x" * 100] * 5}), place)
    source = open_source(str(place))
    images = source.found().images.table()
    pq.write_table(pa.table({"image": [b"y" * 90] * 3}), place)
    assert ["another image" in str(one) for one in contents_of(images)][:3] == [True] * 3
    place.write_bytes(b"PAR1 cut")
    assert all("cannot be read" in str(one) for one in contents_of(images))
    with pytest.raises(InputError, match="wanted a complete Parquet file"):
        source.found()


def test_a_file_on_s3_is_read_in_large_parts(
    bucket: Any, requests: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Apple": 100, "Fig": 100})
    bucket.upload_file(str(as_parquet(root, tmp_path / "a.parquet", 100)), "data/a.parquet")
    source = open_source("s3a://fruits/data")
    images = source.found().images.table()
    listing = len(requests)
    contents = list(contents_of(images))
    names = (path.partition("!/")[2] for path in images["path"].to_pylist())
    assert dict(zip(names, contents, strict=True)) == files_of(root)
    assert len(requests) - listing <= 6


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"one", b"two"], pa.large_binary()),
        pa.array([b"one", b"two"], pa.binary(3)),
        pa.array([b"one", b"two"], pa.binary_view()),
        pa.array([b"one", b"two"]).dictionary_encode(),
        pa.array([{"bytes": b"one"}, {"bytes": b"two"}], pa.struct([("bytes", pa.binary(3))])),
        pa.array([{"bytes": {"bytes": b"one"}}, {"bytes": {"bytes": b"two"}}]),
    ],
    ids=lambda values: str(values.type),
)
def test_bytes_of_every_type_are_images(tmp_path: Path, values: pa.Array) -> None:
    place = write(tmp_path / "a.parquet", {"image": values})
    assert list(read(place).values()) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["Fig", "Lime"], ["Fig", "Lime"]),
        ({"1": "Lime", "0": "Fig"}, ["Fig", "Lime"]),
        (["\ud800", "Lime"], [r"\ud800", "Lime"]),
        ({"x": "Fig", "y": "Lime"}, ["0", "1"]),
        ({"9" * 5000: "Fig"}, ["0", "1"]),
        (["Fig", None], ["0", "1"]),
        (7, ["0", "1"]),
        ("ab", ["0", "1"]),
    ],
    ids=range(8),
)
def test_class_names_are_used_if_they_are_valid(
    tmp_path: Path, names: object, labels: list[str]
) -> None:
    about = {"label": {"_type": "ClassLabel", "names": names}}
    place = write(tmp_path / "a.parquet", {"image": [b"a", b"b"], "label": [0, 1]}, about)
    assert list_images(place).images["label"].to_pylist() == labels


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["image", "label", "label"],
            "wanted columns with different names; .* image, label, label",
        ),
        (["image", "path", "path"], "wanted columns with different names"),
        (["image", "\1length", "x"], "wanted columns with different names"),
        (["a\x1b[31m", "b\n", "x"], r"wanted one column .* has a\?\[31m, b : write"),
    ],
    ids=range(4),
)
def test_odd_columns_are_reported_in_one_printable_line(
    tmp_path: Path, names: list[str], message: str
) -> None:
    second = pa.array([b"a"]) if "one column" in message else pa.array(["a"])
    table = pa.table([pa.array([b"a"]), second, pa.array(["a"])], names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message) as caught:
        list_images(str(tmp_path / "a.parquet"))
    assert str(caught.value).isprintable()


def test_damaged_files_raise_one_line_or_yield_reasons(tmp_path: Path) -> None:
    place = Path(write(tmp_path / "a.parquet", {"image": [b"a" * 300, b"b"], "label": ["x", "é"]}))
    whole = place.read_bytes()
    messages = []
    for number in range(300):
        rng = np.random.default_rng(number)
        content = bytearray(whole)
        for at in rng.integers(max(0, len(whole) - 700) * (number % 2), len(whole), 6):
            content[at] = rng.integers(256)
        place.write_bytes(content)
        try:
            read(str(place))
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(map(str.isprintable, messages))
