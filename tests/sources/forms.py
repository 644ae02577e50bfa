"""Makes sources of every kind from one folder of images, without the code of Fruits."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of

Contents = dict[str, bytes | str]


def files_of(root: Path) -> dict[str, bytes]:
    """The images of a folder by path; the path begins with the name of the folder."""
    return {
        str(path.relative_to(root.parent)): path.read_bytes() for path in sorted(root.rglob("*.*"))
    }


def read(place: str | list[str]) -> Contents:
    """Reads every image of a source: its bytes, or the error, by key."""
    source = open_source(place)
    images = source.found().images.table()
    return {
        path: content if isinstance(content, bytes) else str(content)
        for path, content in zip(images["path"].to_pylist(), contents_of(images), strict=True)
    }


def as_zip(root: Path, target: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files_of(root).items():
            archive.writestr(name, content)
    return target


def as_tar(root: Path, target: Path, format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(target, "w", format=format) as archive:
        archive.add(root, root.name)
    return target


def as_parquet(root: Path, target: Path, group: int = 4) -> Path:
    """Writes it like a dataset of Hugging Face: labels are numbers with names in the schema."""
    names = sorted({name.split("/")[-2] for name in files_of(root)})
    rows = [
        {"image": {"bytes": content, "path": name}, "label": names.index(name.split("/")[-2])}
        for name, content in files_of(root).items()
    ]
    about = {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"_type": "ClassLabel", "names": names},
            }
        }
    }
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    schema = schema.with_metadata({"huggingface": json.dumps(about)})
    pq.write_table(pa.Table.from_pylist(rows, schema), target, row_group_size=group)
    return target


def as_table(root: Path, target: Path) -> Path:
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for name in files_of(root):
            writer.writerow([str(root.parent / name), name.split("/")[-2]])
    return target


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()
