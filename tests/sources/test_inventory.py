import gzip
import hashlib
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forms import read
from listings import list_images

from fruits.errors import FruitsError, InputError

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
# S3 encodes the keys and quotes every value.
ROWS = [
    (
        "fruits",
        "photos/Apple+Red/1.jpg",
        "a",
        "true",
        "false",
        "3",
        "2026-01-02T03:04:05.000Z",
        "x",
    ),
    (
        "fruits",
        "photos/P%C3%AAche/a%2Bb.jpg",
        "a",
        "true",
        "false",
        "4",
        "2026-01-02T03:04:05.000Z",
        "x",
    ),
    ("fruits", "photos/Fig/old.jpg", "a", "false", "false", "9", "2026-01-01T03:04:05.000Z", "x"),
    ("fruits", "photos/Fig/gone.jpg", "a", "true", "true", "", "2026-01-01T03:04:05.000Z", "x"),
    ("fruits", "photos/Fig/", "a", "true", "false", "0", "2026-01-01T03:04:05.000Z", "x"),
    ("fruits", "photos/notes.txt", "a", "true", "false", "1", "2026-01-01T03:04:05.000Z", "x"),
]


def manifest(data: bytes, key: str, format: str = "CSV", schema: str = SCHEMA) -> bytes:
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    about = {
        "sourceBucket": "fruits",
        "destinationBucket": "arn:aws:s3:::fruits",
        "version": "2016-11-30",
        "fileFormat": format,
        "fileSchema": schema,
        "files": [{"key": key, "size": len(data), "MD5checksum": checksum}],
    }
    return json.dumps(about).encode()


def as_csv(rows: list[tuple[str, ...]]) -> bytes:
    lines = (",".join(f'"{value}"' for value in row) for row in rows)
    return gzip.compress("\n".join(lines).encode())


def test_an_inventory_equals_the_listing_of_its_bucket(bucket: Any, requests: list[str]) -> None:
    bucket.put_object(Key="photos/Apple Red/1.jpg", Body=b"one")
    bucket.put_object(Key="photos/Pêche/a+b.jpg", Body=b"four")
    data = as_csv(ROWS)
    bucket.put_object(Key="inventory/fruits/all/data/1.csv.gz", Body=data)
    place = "inventory/fruits/all/2026-01-03T00-00Z/manifest.json"
    bucket.put_object(Key=place, Body=manifest(data, "inventory/fruits/all/data/1.csv.gz"))
    found = list_images(f"s3://fruits/{place}")
    assert not [one for one in requests if one.startswith("list")]
    rows = found.images.select(["path", "label", "length"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("s3a://fruits/photos/Apple Red/1.jpg", "Apple Red", 3),
        ("s3a://fruits/photos/Pêche/a+b.jpg", "Pêche", 4),
    ]
    assert str(found.images["modified"][0].as_py()) == "2026-01-02 03:04:05+00:00"
    assert found.passed_over == {".txt": 1, "old versions": 2}
    assert list(read(f"s3://fruits/{place}").values()) == [b"one", b"four"]


def test_every_object_is_counted(tmp_path: Path) -> None:
    def row(key: str, size: int) -> tuple[str, ...]:
        return ("fruits", key, "a", "true", "false", str(size), "2026-01-02T03:04:05.000Z", "x")

    rows = [row("Fig/1.jpg", 1), row("Fig/1.jpg", 2), row("Fig/1.jpg", 3), row("Fig/", 0)]
    rows += [row("z.jpg/", 9), row("n.txt", 4), row(".x/1.jpg", 5), row("2.jpg", 6)]
    data = as_csv(rows)
    (tmp_path / "1.csv.gz").write_bytes(data)
    (tmp_path / "manifest.json").write_bytes(manifest(data, "1.csv.gz"))
    found = list_images(str(tmp_path / "manifest.json"))
    assert found.images["length"].to_pylist() == [6, 3]
    assert found.passed_over == {
        ".txt": 1,
        "hidden": 1,
        "name ends in /": 1,
        "repeated rows": 2,
    }


def test_an_object_that_was_replaced_after_the_inventory_is_listed_once_as_it_is(
    bucket: Any,
) -> None:
    data = as_csv(ROWS[:1])
    bucket.put_object(Key="1.csv.gz", Body=data)
    bucket.put_object(Key="manifest.json", Body=manifest(data, "1.csv.gz"))
    bucket.put_object(Key="photos/Apple Red/1.jpg", Body=b"another one")
    for places in itertools.permutations(["s3://fruits/manifest.json", "s3://fruits/photos"]):
        found = list_images(places)
        (row,) = found.images.to_pylist()
        assert (row["label"], row["length"]) == ("Apple Red", 11)
        assert found.passed_over == {"repeated images": 1}


def test_a_copy_of_an_inventory_in_parquet_is_read_with_its_files_next_to_it(
    tmp_path: Path,
) -> None:
    times = pa.array([1_767_323_045_000] * 2, pa.timestamp("ms", tz="UTC"))
    columns = {
        "bucket": ["fruits"] * 2,
        "key": ["Fig/a b%20.jpg", "Fig/2.jpg"],
        "size": [5, 6],
        "last_modified_date": times,
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    data = buffer.getvalue()
    for folder in (tmp_path, tmp_path / "data"):
        folder.mkdir(exist_ok=True)
        (folder / "1.parquet").write_bytes(data)
        place = tmp_path / "2026" / "manifest.json"
        place = tmp_path / "manifest.json" if folder == tmp_path else place
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(manifest(data, "x/data/1.parquet", "Parquet"))
        rows = list_images(str(place)).images.to_pylist()
        assert [(row["path"], row["length"]) for row in rows] == [
            ("s3a://fruits/Fig/2.jpg", 6),
            ("s3a://fruits/Fig/a b%20.jpg", 5),
        ]
        (tmp_path / "1.parquet").unlink(missing_ok=True)


def test_unusable_inventories_are_reported_in_one_line(tmp_path: Path) -> None:
    data = as_csv(ROWS)
    (tmp_path / "1.csv.gz").write_bytes(data)
    place = tmp_path / "manifest.json"
    cases = [
        (manifest(data + b"x", "1.csv.gz"), "is not the file that .* names"),
        (manifest(data, "2.csv.gz"), r"2\.csv\.gz, which .* names, does not exist: copy it, too$"),
        (manifest(data, "1.csv.gz", "ORC"), "wanted an inventory in CSV or Parquet; .* ORC"),
        (b"{}", r"wanted the manifest\.json"),
    ]
    for content, message in cases:
        place.write_bytes(content)
        with pytest.raises(InputError, match=message):
            list_images(str(place))
    data = as_csv([("fruits", "Fig/1.jpg")])
    (tmp_path / "1.csv.gz").write_bytes(data)
    place.write_bytes(manifest(data, "1.csv.gz", schema="Bucket, Key"))
    with pytest.raises(InputError, match="lacks lastmodifieddate, size"):
        list_images(str(place))


@pytest.mark.parametrize(
    "change",
    [
        {"fileFormat": 7},
        {"fileSchema": 7},
        {"files": 7},
        {"files": [7]},
        {"files": [{}]},
        {"files": [{"key": None}]},
        {"files": [{"key": "x/\ud800"}]},
        {"files": [{"key": "x/\0"}]},
        {"destinationBucket": 7},
    ],
    ids=str,
)
def test_an_invalid_manifest_is_reported_in_one_line(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    data = as_csv(ROWS)
    (tmp_path / "1.csv.gz").write_bytes(data)
    about = json.loads(manifest(data, "1.csv.gz")) | change
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(FruitsError) as caught:
        list_images(str(tmp_path / "manifest.json"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({5: ""}, "not an inventory"),
        ({5: "99999999999999999999"}, "not an inventory"),
        ({6: "yesterday"}, "not an inventory"),
    ],
)
def test_invalid_rows_are_reported_in_one_line(
    tmp_path: Path, changes: dict[int, str], message: str
) -> None:
    row = tuple(changes.get(n, value) for n, value in enumerate(ROWS[0]))
    data = as_csv([row])
    (tmp_path / "1.csv.gz").write_bytes(data)
    (tmp_path / "manifest.json").write_bytes(manifest(data, "1.csv.gz"))
    with pytest.raises(InputError, match=message):
        list_images(str(tmp_path / "manifest.json"))


def test_a_row_without_a_key_is_reported_in_one_line(tmp_path: Path) -> None:
    columns = {"bucket": ["fruits"], "key": pa.nulls(1, pa.string()), "size": [3]}
    table = pa.table(columns | {"last_modified_date": pa.array([0], pa.timestamp("ms"))})
    pq.write_table(table, tmp_path / "1.parquet")
    data = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "manifest.json").write_bytes(manifest(data, "1.parquet", "Parquet"))
    with pytest.raises(InputError, match="a row without bucket, key, size or time"):
        list_images(str(tmp_path / "manifest.json"))
