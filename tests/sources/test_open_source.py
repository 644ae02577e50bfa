import itertools
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from forms import as_parquet, as_table, as_tar, as_zip, files_of, read
from listings import find_images, list_images

from fruits.errors import InputError
from fruits.sources import folder
from fruits.sources import open_source as opening
from fruits.sources.naming import Naming
from fruits.sources.open_source import locate_members, open_source, places_of
from fruits.sources.reading import contents_of
from fruits.storage.walk import walk


def test_a_folder_is_listed_as_by_folder_itself(draw: Callable[..., Path]) -> None:
    root = draw({"Apple": 3, "Fig": 2})
    ours, before = list_images(str(root)), find_images(str(root))
    assert ours == before
    assert list(contents_of(ours.images)) == list(files_of(root).values())


def test_several_sources_are_read_as_one(draw: Callable[..., Path], tmp_path: Path) -> None:
    roots = [draw({label: 3}, f"folder {label}", seed) for seed, label in enumerate("ABCDE")]
    places = [
        str(roots[0]),
        str(as_zip(roots[1], tmp_path / "b.zip")),
        str(as_tar(roots[2], tmp_path / "c.tar")),
        str(as_parquet(roots[3], tmp_path / "d.parquet")),
        str(as_table(roots[4], tmp_path / "e.csv")),
    ]
    found = read(places)
    assert found == read(",".join(places)) == read(", ".join(places))
    assert sorted(map(bytes, found.values())) == sorted(  # type: ignore[arg-type]
        content for root in roots for content in files_of(root).values()
    )
    source = open_source(places)
    images = source.found().images.table()
    # Tasks may read rows in any order.
    mixed = images.take([14, 0, 7, 3, 9, 4, 1, 13])
    wanted = [found[path] for path in mixed["path"].to_pylist()]
    assert list(contents_of(mixed)) == wanted


def test_contents_are_found_by_path_alone(draw: Callable[..., Path], tmp_path: Path) -> None:
    root = draw({"Apple": 3})
    places = [str(root), str(as_zip(root, tmp_path / "b.zip"))]
    places.append(str(as_parquet(root, tmp_path / "d.parquet")))
    images = list_images(places).images
    rows = images.select(["path", "label", "length"]).take([8, 0, 4])
    assert list(contents_of(locate_members(rows))) == list(contents_of(images.take([8, 0, 4])))


def test_a_folder_called_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    for name in ("a.tar!", "b.zip!"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    images = list_images(str(tmp_path)).images
    assert list(contents_of(locate_members(images.select(["path", "label", "length"])))) == [
        b"x",
        b"x",
    ]


def test_an_image_in_two_sources_is_listed_once(draw: Callable[..., Path], tmp_path: Path) -> None:
    root = draw({"Fig": 3})
    both = list_images([str(root), str(as_table(root, tmp_path / "t.csv"))])
    assert both.images["path"].to_pylist() == find_images(str(root)).images["path"].to_pylist()
    assert both.passed_over == {"repeated images": 3}
    (tmp_path / "t.csv").write_text(f"path,label\n{root}/Fig/0_100.jpg,Lime\n")
    agree = r"wanted sources that agree; .*Fig/0_100\.jpg is in two of them, with different"
    with pytest.raises(InputError, match=f"{agree} labels: remove"):
        list_images([str(root), str(tmp_path / "t.csv")])
    (tmp_path / "t.csv").write_text(f"path,split,group\n{root}/Fig/0_100.jpg,test,tree\n")
    with pytest.raises(InputError, match=f"{agree} splits and groups: remove"):
        list_images([str(root), str(tmp_path / "t.csv")])


def test_a_contradiction_in_a_table_does_not_depend_on_the_order_of_the_sources(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    image = draw({"Fig": 1}) / "Fig/0_100.jpg"
    for name, labels in {"both": "AB", "one": "B"}.items():
        rows = "".join(f"{image},{label}\n" for label in labels)
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{rows}")
    for names in itertools.permutations(["both", "one", "one"]):
        listing = list_images([str(tmp_path / f"{name}.csv") for name in names])
        assert listing.images["label"].to_pylist() == ["B"]
        (content,) = contents_of(listing.images)
        assert str(content) == "two rows of the table have different values for it"
        assert listing.passed_over["repeated images"] == 2


def test_an_existing_name_with_a_comma_or_a_star_is_literal(tmp_path: Path) -> None:
    for name in ("a,b", "c*d"):
        (tmp_path / name / "Fig").mkdir(parents=True)
        (tmp_path / name / "Fig" / "1.jpg").write_bytes(b"x")
        assert list(read(str(tmp_path / name)).values()) == [b"x"]
    assert places_of("s3a://a/b") == ["s3a://a/b"]
    assert places_of(f"{tmp_path}/a, {tmp_path}/b") == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_archives_in_a_folder_of_images_are_skipped(draw: Callable[..., Path]) -> None:
    root = draw({"Fig": 1})
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.writestr("Fig/2.jpg", b"x")
    assert list_images(str(root)).passed_over == {".zip": 1}
    assert open_source(str(root)).found().passed_over == {".zip": 1}


def test_a_folder_with_only_archives_is_walked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("Fig/2.jpg", b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.zip").write_text("x")
    walked: list[object] = []

    def counted(*arguments: Any) -> Iterator[Any]:
        walked.append(arguments)
        return walk(*arguments)

    monkeypatch.setattr(folder, "walk", counted)
    found = open_source(str(tmp_path)).found()
    assert len(walked) == 1
    assert found.passed_over == {".txt": 1, "hidden": 1}
    assert found.images.table(["path"])["path"].to_pylist() == [
        f"file:{tmp_path}/all.zip!/Fig/2.jpg"
    ]


def shards(folder: Path) -> list[str]:
    """Writes four archives with an image each, and returns the keys of the images."""
    folder.mkdir()
    for number in range(4):
        with zipfile.ZipFile(folder / f"{number}.zip", "w") as archive:
            archive.writestr(f"Fig/{9 - number}.jpg", b"x")
    return [f"file:{folder}/{n}.zip!/Fig/{9 - n}.jpg" for n in range(4)]


def listed(place: str) -> list[str]:
    paths: list[str] = list_images(place).images["path"].to_pylist()
    return paths


@pytest.mark.parametrize("pattern", ["", "/*.zip"])
def test_archives_are_listed_in_parallel_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    keys = shards(tmp_path / "shards")
    together, list_zip = threading.Barrier(4, timeout=60), opening.list_zip

    def waiting(*arguments: Any) -> pa.Table:
        together.wait()  # Until all four archives are being listed.
        return list_zip(*arguments)

    monkeypatch.setattr(opening, "list_zip", waiting)
    assert listed(f"{tmp_path}/shards{pattern}") == keys


def test_large_archives_are_listed_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = shards(tmp_path / "shards")
    alone, list_zip = threading.Lock(), opening.list_zip

    def locked(*arguments: Any) -> pa.Table:
        assert alone.acquire(blocking=False), "another archive is listed now"
        try:
            return list_zip(*arguments)
        finally:
            alone.release()

    monkeypatch.setattr(opening, "_LISTED_BYTES", 1)
    monkeypatch.setattr(opening, "list_zip", locked)
    assert listed(f"{tmp_path}/shards") == keys


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_prefix_in_s3_that_is_also_an_object_is_opened_as_a_folder(
    bucket: Any, content: bytes
) -> None:
    for key in ("photos", "notes", "fruit.csv"):
        bucket.put_object(Key=key, Body=content)
    bucket.put_object(Key="photos/Fig/1.jpg", Body=b"fig")
    bucket.put_object(Key="fruit.csv/1.jpg", Body=b"no table")
    for place in ("s3://fruits/photos", "s3://fruits/photos/"):
        assert read(place) == {"s3a://fruits/photos/Fig/1.jpg": b"fig"}
    with pytest.raises(InputError, match=r"wanted a folder .*s3://fruits/notes is a file"):
        list_images("s3://fruits/notes")
    with pytest.raises(InputError, match=r"wanted a table of paths"):
        list_images("s3://fruits/fruit.csv")


def test_files_of_other_kinds_are_reported_in_one_line(tmp_path: Path) -> None:
    for name, message in (
        ("a.txt", r"wanted a folder of images, or a \.zip.*a\.txt is a file"),
        ("a.json", r"wanted the manifest\.json of an S3 Inventory"),
    ):
        (tmp_path / name).write_text(json.dumps({}))
        with pytest.raises(InputError, match=message):
            list_images(str(tmp_path / name))
    with pytest.raises(InputError, match="does not exist"):
        list_images(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="none among 2 files"):
        list_images(str(tmp_path))


def test_a_rule_with_a_column_needs_a_table(draw: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="wanted a table with columns, for column:x"):
        list_images(str(draw({"Fig": 1})), Naming(label="column:x"))


def test_items_of_all_sources_have_the_same_schema(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 2})
    makers = {"zip": as_zip, "tar": as_tar, "parquet": as_parquet, "csv": as_table}
    tables = [
        list_images(str(make(root, tmp_path / f"a.{suffix}"))).images
        for suffix, make in makers.items()
    ]
    labels = pa.concat_tables(tables)["label"].to_pylist()
    assert labels == ["Fig"] * 8
