import csv
import functools
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from forms import as_table, files_of, read
from listings import list_images
from s3fs.errors import translate_boto_error

from fruits.errors import InputError, StorageError
from fruits.sources import statuses as lookup
from fruits.sources.naming import Naming
from fruits.storage.s3 import RetryingS3


def write(target: Path, rows: list[list[str]], delimiter: str = ",") -> str:
    with target.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return str(target)


def test_a_table_has_the_same_keys_and_identities_as_the_folder_it_names(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    """So the features of one can be reused for the other."""
    root = draw({"Training/Apple": 9, "Test/Pêche é": 25})
    place = as_table(root, tmp_path / "table.csv")
    in_table = list_images(str(place)).images
    in_folder = list_images(str(root)).images
    assert in_table.select(in_folder.column_names) == in_folder
    assert [one for _, one in sorted(read(str(place)).items())] == [
        one for _, one in sorted(files_of(root).items())
    ]


def test_the_files_of_a_web_server_are_found_also_if_there_are_many(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 30})

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(root.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        start = f"http://127.0.0.1:{server.server_port}/"
        names = [*files_of(root), "images/Fig/missing.jpg"]
        found = read(write(tmp_path / "a.csv", [["url"], *([start + name] for name in names)]))
        server.shutdown()
    assert "missing.jpg" in str(found.pop(f"{start}images/Fig/missing.jpg"))
    assert found == {start + name: content for name, content in files_of(root).items()}


def test_relative_paths_start_at_the_table_and_names_are_literal(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"a%20b #1, [x]": 1, "Fig": 1})
    rows = [["uri", "label"], ["a%20b #1, [x]/0_100.jpg", "01"], ["./../images/Fig/0_100.jpg", ""]]
    for name, delimiter in (("a.csv", ","), ("b.csv", ";"), ("c.tsv", "\t")):
        images = list_images(write(root / name, rows, delimiter)).images
        assert images["path"].to_pylist() == [
            f"file:{root}/Fig/0_100.jpg",
            f"file:{root}/a%20b #1, [x]/0_100.jpg",
        ]
        assert images["label"].to_pylist() == [None, "01"]


def test_columns_of_label_split_and_group_take_precedence_over_names(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    draw({"Test/Fig": 2})
    rows = [
        ["File", "Label", "Split", "Group", "species"],
        ["images/Test/Fig/0_100.jpg", "fig", "training", "tree 1", "Ficus"],
        ["images/Test/Fig/1_100.jpg", "", "", "", "P\u0065\u0302che"],
    ]
    place = write(tmp_path / "a.csv", rows)
    told = list_images(place).images.select(["label", "split", "group"]).to_pylist()
    assert [tuple(row.values()) for row in told] == [
        ("fig", "train", "tree 1"),
        (None, None, None),
    ]
    naming = Naming(label="column:species", split="none")
    told = list_images(place, naming).images.select(["label", "split"]).to_pylist()
    assert [tuple(row.values()) for row in told] == [("Ficus", None), ("P\u00eache", None)]
    naming = Naming(label="grandparent", split="none")
    assert list_images(place, naming).images["label"].to_pylist() == ["Test", "Test"]


@pytest.mark.parametrize("form", ["csv", "parquet", "bytes"])
def test_a_blank_value_of_a_table_is_no_value_and_is_not_read_from_the_path(
    draw: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    root = draw({"train/Fig": 4})
    names = [f"images/train/Fig/{n}_100.jpg" for n in range(4)]
    values = ["Apple", "", " ", None]
    columns: dict[str, list[str | None]] = {"path": [*names], "label": values}
    columns |= {"split": ["test", *values[1:]], "group": ["a", *values[1:]]}
    if form == "csv":
        cells = zip(*columns.values(), strict=True)
        rows = [list(columns), *([one or "" for one in row] for row in cells)]
        place = write(tmp_path / "a.csv", rows)
    else:
        contents = [(root / f"train/Fig/{n}_100.jpg").read_bytes() for n in range(4)]
        more = {"image": contents} if form == "bytes" else {}
        place = str(tmp_path / "a.parquet")
        pq.write_table(pa.table(columns | more), place)

    for naming in (Naming(), Naming(label="column:label", optional_columns=True)):
        images = list_images(place, naming).images
        assert images["label"].to_pylist() == ["Apple", None, None, None]
        assert images["split"].to_pylist() == ["test", None, None, None]
        assert images["group"].to_pylist() == ["a", None, None, None]
    by_path = list_images(place, Naming(label=r"/(?P<label>[^/]+)/[^/]+$")).images
    assert by_path["label"].to_pylist() == ["Fig"] * 4


def test_an_invalid_split_is_reported_in_one_line(tmp_path: Path) -> None:
    place = write(tmp_path / "a.csv", [["path", "split"], ["a.jpg", "fold3"]])
    with pytest.raises(
        InputError, match="wanted train, test or validation as a split; got 'fold3'"
    ):
        list_images(place)


def test_without_a_split_a_column_of_splits_may_have_any_words(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    place = write(tmp_path / "a.csv", [["path", "label", "split"], ["a.jpg", "Fig", "fold3"]])
    (row,) = list_images(place, Naming(split="none")).images.to_pylist()
    assert (row["label"], row["split"]) == ("Fig", None)


def test_a_colon_in_a_relative_path_is_part_of_a_name(bucket: Any, tmp_path: Path) -> None:
    names = ["photos:1/1.jpg", "s3:x:y.jpg", "Fig:Lime/a/3.jpg"]
    for name in names:
        bucket.put_object(Key=f"t/{name}", Body=name.encode())
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    rows = [["path"], *([name] for name in names)]
    place = write(tmp_path / "t.csv", rows)
    assert read(place) == {f"file:{tmp_path}/{name}": name.encode() for name in names}
    bucket.upload_file(place, "t/t.csv")
    found = read("s3://fruits/t/t.csv")
    assert found == {f"s3a://fruits/t/{name}": name.encode() for name in names}
    with pytest.raises(InputError, match=r"row 1 of .*got a Windows path"):
        read(write(tmp_path / "t.csv", [["path"], ["C:/fruit/1.jpg"]]))


def test_a_file_in_the_root_has_a_uri(tmp_path: Path) -> None:
    place = write(tmp_path / "t.csv", [["path"], ["file:/nowhere.jpg"]])
    with pytest.raises(InputError, match=r"such as file:/nowhere\.jpg"):
        read(place)


def test_missing_files_are_rows_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    place = write(tmp_path / "t.csv", [["path"], ["a.jpg"], ["gone.jpg"], ["nowhere/b.jpg"]])
    there, gone, nowhere = read(place).values()
    assert there == b"x"
    assert "No such file" in str(gone)
    assert "No such file" in str(nowhere)


SURROGATES = ["\\udce9.jpg", "\\ud83d.jpg", "\\ud83d\\ude00.jpg"]


def test_a_name_with_the_text_of_a_surrogate_is_literal(tmp_path: Path) -> None:
    names = [f"a{name}" for name in SURROGATES]
    for name in names:
        (tmp_path / name).write_text(name)
    place = write(tmp_path / "t.csv", [["path"], *([name] for name in names), ["b\\ud83d.jpg"]])
    found = read(place)
    assert "No such file" in str(found.pop(f"file:{tmp_path}/b\\ud83d.jpg"))
    assert found == {f"file:{tmp_path}/{name}": name.encode() for name in names}


def test_a_key_with_the_text_of_a_surrogate_is_literal(bucket: Any, tmp_path: Path) -> None:
    names = [f"photos/a{name}" for name in SURROGATES]
    for name in names:
        bucket.put_object(Key=name, Body=name.encode())
    uris = [f"s3://fruits/{name}" for name in [*names, "photos/b\\ud83d.jpg"]]
    found = read(write(tmp_path / "t.csv", [["path"], *([uri] for uri in uris)]))
    assert "does not exist" in str(found.pop("s3a://fruits/photos/b\\ud83d.jpg"))
    assert found == {f"s3a://fruits/{name}": name.encode() for name in names}


def test_repeated_rows_count_once_and_a_file_with_two_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").write_bytes(b"y")
    rows = [["path", "label"], ["a.jpg", "Fig"], ["./a.jpg", "Fig"], ["b.jpg", "Fig"]]
    place = write(tmp_path / "t.csv", [*rows, ["b.jpg", "Lime"]])
    one, two = read(place).values()
    assert one == b"x"
    assert "two rows" in str(two)
    listing = list_images(place)
    assert listing.passed_over == {"repeated rows": 2}
    # It equals no version of the file that an earlier run used.
    times = listing.images["modified"].cast(pa.int64()).to_pylist()
    assert (listing.images["length"].to_pylist(), times[1]) == ([1, 0], 0)
    assert times[0] > 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["name", "label"], ["a.jpg", "Fig"]], "wanted a column path, .* has name, label"),
        ([["path"]], "has no rows"),
        ([["path"], ["a/"]], r"row 1 of .* has 'a/'"),
        ([["path", "path"], ["a", "b"]], "different names"),
        ([["path"], ["a\0b.jpg"]], r"row 1 of .* has 'a\\x00b.jpg'"),
        ([["a\x1b[2J\nb"], ["x"]], r"has a\?\[2J b: rename"),
        ([[f"c{n}" for n in range(500)], ["x"] * 500], "c19 and 480 more: rename"),
    ],
)
def test_unusable_tables_are_reported_in_one_line(
    tmp_path: Path, rows: list[list[str]], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list_images(write(tmp_path / "t.csv", rows))
    assert str(caught.value).isprintable()


def test_a_parquet_file_without_bytes_is_a_table_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    pq.write_table(pa.table({"path": ["a.jpg"], "label": ["Fig"]}), tmp_path / "t.parquet")
    assert read(str(tmp_path / "t.parquet")) == {f"file:{tmp_path}/a.jpg": b"x"}


def test_a_table_of_s3_uris_needs_one_listing_per_folder(
    bucket: Any, requests: list[str], tmp_path: Path
) -> None:
    for number in range(40):
        bucket.put_object(Key=f"photos/Fig/{number}.jpg", Body=bytes([number]))
    bucket.put_object(Key="photos/Fig/below/0.jpg", Body=b"x")
    rows = [["path"], *[[f"s3://fruits/photos/Fig/{n}.jpg"] for n in range(41)]]
    place = write(tmp_path / "t.csv", rows)
    images = list_images(place).images
    assert len(requests) <= 3
    lengths = dict(zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True))
    assert lengths["s3a://fruits/photos/Fig/7.jpg"] == 1
    found = read(place)
    assert found["s3a://fruits/photos/Fig/7.jpg"] == b"\7"
    assert isinstance(found["s3a://fruits/photos/Fig/40.jpg"], str)
    bucket.put_object(Key="photos/table.csv", Body=b"path\nFig/3.jpg\n")
    assert read("s3a://fruits/photos/table.csv") == {"s3a://fruits/photos/Fig/3.jpg": b"\3"}


@pytest.mark.parametrize("count", [1, 30])
def test_empty_names_in_the_key_of_an_object_are_literal(
    bucket: Any, tmp_path: Path, count: int
) -> None:
    folders = ["photos/", "photos//", "/", "//photos///Fig/", ""]
    keys = [f"{folder}{number}.jpg" for folder in folders for number in range(count)]
    for key in keys:
        bucket.put_object(Key=key, Body=key.encode())
    rows = [["path"], *([f"s3://fruits/{key}"] for key in keys)]
    wanted = {f"s3a://fruits/{key}": key.encode() for key in keys}
    place = write(tmp_path / "t.csv", rows)
    assert read(place) == wanted
    images = list_images(place).images
    lengths = dict(zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True))
    assert lengths == {uri: len(content) for uri, content in wanted.items()}
    bucket.put_object(Key="t.csv", Body=b"path\nphotos//0.jpg\n")
    assert read("s3://fruits/t.csv") == {"s3a://fruits/photos//0.jpg": b"photos//0.jpg"}


def test_the_files_of_a_large_folder_in_s3_are_looked_up_in_ranges(
    bucket: Any, requests: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_NAMES", 25)
    names = [f"photos/{number}.jpg" for number in range(120)]
    for number, key in enumerate(names):
        bucket.put_object(Key=key, Body=b"x" * number)
    rows = [["path"], *[[f"s3://fruits/{key}"] for key in [*names[::-1], "photos/~.jpg"]]]
    images = list_images(write(tmp_path / "t.csv", rows)).images
    lengths = dict(zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True))
    assert lengths.pop("s3a://fruits/photos/~.jpg") == 0
    assert lengths == {f"s3a://fruits/{key}": number for number, key in enumerate(names)}
    assert requests.count("list_objects_v2") == 5


def answer_for_a_role_without_listings(monkeypatch: pytest.MonkeyPatch, *readable: str) -> None:
    """Lets S3 answer as if only some objects might be read, by their keys, and nothing listed."""
    call = RetryingS3._call_s3

    async def refusing(self: RetryingS3, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "list_objects_v2" or options.get("Key") not in readable:
            answer = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise translate_boto_error(ClientError(answer, method))
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(RetryingS3, "_call_s3", refusing)


@pytest.mark.parametrize("count", [5, 45])
def test_a_table_needs_no_permission_to_list_the_folder(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    keys = [f"photos/Fig/a%20{number}.jpg" for number in range(count)]
    for key in keys:
        bucket.put_object(Key=key, Body=b"x")
    rows = [["path"], *[[f"s3://fruits/{key}"] for key in keys]]
    place = write(tmp_path / "t.csv", [*rows, ["s3://fruits/photos/Fig/a%20missing.jpg"]])
    answer_for_a_role_without_listings(monkeypatch, *keys)
    images = list_images(place).images
    lengths = dict(zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True))
    assert lengths.pop("s3a://fruits/photos/Fig/a%20missing.jpg") == 0
    assert lengths == {f"s3a://fruits/{key}": 1 for key in keys}


@pytest.mark.parametrize("count", [5, 45])
def test_a_store_that_refuses_every_object_of_a_table_is_reported(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    rows = [["path"], *[[f"s3://fruits/photos/{number}.jpg"] for number in range(count)]]
    answer_for_a_role_without_listings(monkeypatch)
    with pytest.raises(StorageError, match="the store refuses the credentials"):
        list_images(write(tmp_path / "t.csv", rows))


@pytest.mark.parametrize("folders", [1, 300])
def test_a_store_that_refuses_a_long_table_is_reported_after_a_few_requests(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: int
) -> None:
    rows = [["path"], *[[f"s3://fruits/{n % folders}/a%20{n}.jpg"] for n in range(3000)]]
    place = write(tmp_path / "t.csv", rows)
    answer_for_a_role_without_listings(monkeypatch)
    asked: list[str] = []
    refuse = RetryingS3._call_s3

    async def counted(self: RetryingS3, method: str, *arguments: Any, **options: Any) -> Any:
        asked.append(method)
        return await refuse(self, method, *arguments, **options)

    monkeypatch.setattr(RetryingS3, "_call_s3", counted)
    with pytest.raises(StorageError, match="the store refuses the credentials"):
        list_images(place)
    assert 0 < len(asked) <= 200


def test_a_long_table_without_permission_to_list_may_have_encoded_and_missing_names(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"photos/a {number}.jpg" for number in range(500, 1100, 2)]
    for key in keys:
        bucket.put_object(Key=key, Body=b"x")
    rows = [["path"], *[[f"s3://fruits/photos/a%20{number}.jpg"] for number in range(1100)]]
    place = write(tmp_path / "t.csv", rows)
    answer_for_a_role_without_listings(monkeypatch, *keys)
    images = list_images(place).images
    lengths = dict(zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True))
    assert len(lengths) == 1100
    there = {path for path, length in lengths.items() if length}
    assert there == {f"s3a://fruits/{key}" for key in keys}


def test_paths_that_are_lists_are_reported_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": [["a.jpg"]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"wanted texts or bytes in the column path.*has list<"):
        list_images(str(tmp_path / "t.parquet"))
