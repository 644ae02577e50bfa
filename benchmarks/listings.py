"""Measures the memory and the time in which sources of each kind are listed.

    python -m benchmarks.listings [--images N] [--kinds KIND ...]

The sources have empty images, so that only their listing costs something. Each one is listed in a
process of its own, as at the start of a run, whose peak memory is that of the kernel. An index of
an archive or of a Parquet file is not cached. The last column is a digest of the rows, which may
not depend on how they are listed.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.inputs import DATA, ROOT
from benchmarks.report import table
from benchmarks.synthetic import timed
from fruits.sources.open_source import open_source

FOLDER = DATA / "listings"
LABELS = 100
SHARDS = 4


def main() -> None:
    options = _options()
    if options.list:
        _list(options.list)
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    lines = []
    for kind in options.kinds:
        place = MAKERS[kind](FOLDER / kind.replace(" ", "-"), options.images)
        lines.append([kind, *_measured(place)])
        print(*lines[-1], flush=True)
    print("\n" + table(lines, ["source", "images", "MB", "s", "digest"]))


def _measured(place: str) -> list[object]:
    """The number of images in a source, and the memory and the time that its listing takes."""
    command = [sys.executable, "-m", "benchmarks.listings", "--list", place]
    # The allocator of Arrow that the command `fruits` chooses.
    chosen = {"ARROW_DEFAULT_MEMORY_POOL": "system", "FRUITS_CACHE": str(FOLDER / "cache")}
    variables = {**os.environ, **chosen}
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    shutil.rmtree(FOLDER / "cache", ignore_errors=True)
    found: list[object] = json.loads(done.stdout)
    return found


def _list(place: str) -> None:
    found, seconds = timed(open_source(place).found)
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    digest = hashlib.sha256()
    for part in found.images:
        for row in part.drop_columns(["modified"]).to_pylist():
            digest.update(repr(row).encode())
    print(json.dumps([found.images.num_rows, peak, seconds, digest.hexdigest()[:8]]))


def _names(images: int) -> Iterator[str]:
    """Names in two folders with subfolders, in another order than that of the names."""
    numbers = (n * 7_919 % images for n in range(images))
    return (f"{'ab'[n % 2]}/label {n // 2 % LABELS:03}/{n:08}.jpg" for n in numbers)


def _folder(_: Path, images: int) -> str:
    """The files that the sources of files share."""
    files = FOLDER / "files"
    if not files.exists():
        for label in range(LABELS):
            for half in "ab":
                (files / half / f"label {label:03}").mkdir(parents=True)
        for name in _names(images):
            os.mknod(files / name)
    return str(files)


def _two_folders(target: Path, images: int) -> str:
    return ",".join(f"{_folder(target, images)}/{half}" for half in "ab")


def _table(target: Path, images: int) -> pa.Table:
    files = _folder(target, images)
    names = list(_names(images))
    columns = {
        "path": [f"{files}/{name}" for name in names],
        "label": [f"kind {name[-6]}" for name in names],
        "group": [f"tree {name[-7]}" for name in names],
    }
    target.mkdir()
    return pa.table(columns)


def _csv_table(target: Path, images: int) -> str:
    pacsv.write_csv(_table(target, images), target / "t.csv")
    return str(target / "t.csv")


def _parquet_table(target: Path, images: int) -> str:
    pq.write_table(_table(target, images), target / "t.parquet")
    return str(target / "t.parquet")


def _inventory(target: Path, images: int) -> str:
    target.mkdir()
    names, files = _names(images), []
    for shard in range(SHARDS):
        buffer = io.StringIO()
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
        for name in (next(names) for _ in range(images // SHARDS)):
            key = f"photos/{name}".replace(" ", "+")
            writer.writerow(["fruits", key, 3000, "2026-01-02T03:04:05.000Z"])
        (target / f"{shard}.csv.gz").write_bytes(gzip.compress(buffer.getvalue().encode(), 1))
        files.append({"key": f"{shard}.csv.gz"})
    about = {"fileFormat": "CSV", "fileSchema": "Bucket, Key, Size, LastModifiedDate"}
    (target / "manifest.json").write_text(json.dumps({**about, "files": files}))
    return str(target / "manifest.json")


def _parquet_images(target: Path, images: int) -> str:
    target.mkdir()
    names = list(_names(images))
    columns = {"image": pa.array([b"x"] * images), "path": names}
    pq.write_table(pa.table(columns), target / "images.parquet", row_group_size=10_000)
    return str(target / "images.parquet")


def _zip(target: Path, images: int) -> str:
    target.mkdir()
    with zipfile.ZipFile(target / "a.zip", "w") as archive:
        for name in _names(images):
            archive.writestr(name, b"x")
    return str(target / "a.zip")


def _tar(target: Path, images: int) -> str:
    target.mkdir()
    _write_tar(target / "a.tar", _names(images))
    return str(target / "a.tar")


def _tars(target: Path, images: int) -> str:
    target.mkdir()
    names = _names(images)
    for shard in range(SHARDS):
        _write_tar(target / f"{shard}.tar", (next(names) for _ in range(images // SHARDS)))
    return str(target)


def _write_tar(path: Path, names: Iterator[str]) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = 1
            archive.addfile(header, io.BytesIO(b"x"))
            archive.members.clear()  # type: ignore[attr-defined]


MAKERS: dict[str, Callable[[Path, int], str]] = {
    "folder": _folder,
    "two folders": _two_folders,
    "CSV table": _csv_table,
    "Parquet table": _parquet_table,
    "inventory": _inventory,
    "Parquet images": _parquet_images,
    "zip": _zip,
    "tar": _tar,
    "four tars": _tars,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listings", description=__doc__)
    parser.add_argument("--images", type=int, default=300_000, help="(%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=MAKERS, default=[*MAKERS], help="(all)")
    parser.add_argument("--list", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
