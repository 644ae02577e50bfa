"""How fast the forms of sources are read, next to the folder that they were made of.

    python -m benchmarks.sources --images FOLDER [--count 2000] [--late 0.02]

A consumer takes some milliseconds of the core for each image, as decoding and the network do. From
S3, which is moto's server with a delay before each request, requests are counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq

from fruits.sources.open_source import open_source
from tests.ports import free_port

TASK = 512
FORMS = ("stored.zip", "deflated.zip", "gnu.tar", "pax.tar", "images.parquet", "table.csv")
DELAY = Path(__file__).resolve().parent.parent / "tests" / "cluster" / "delay.py"


def make(form: str, files: list[Path], target: Path) -> None:
    """Writes files of a folder in another form."""
    names = [f"{path.parent.name}/{number:06}{path.suffix}" for number, path in enumerate(files)]
    if form.endswith(".zip"):
        method = zipfile.ZIP_STORED if form == "stored.zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(target, "w", method) as archive:
            for name, path in zip(names, files, strict=True):
                archive.write(path, name)
    elif form.endswith(".tar"):
        format = tarfile.GNU_FORMAT if form == "gnu.tar" else tarfile.PAX_FORMAT
        with tarfile.open(target, "w", format=format) as archive:
            for name, path in zip(names, files, strict=True):
                archive.add(path, name)
    elif form.endswith(".csv"):
        target.write_text("".join(["path\n", *(f'"{path}"\n' for path in files)]))
    else:
        images = [path.read_bytes() for path in files]
        table = pa.table({"image": images, "label": [path.parent.name for path in files]})
        pq.write_table(table, target, row_group_size=1000, compression="none")


def work_of(seconds: float) -> bytes:
    """Bytes whose checksum takes so long."""
    some = bytes(16 << 20)
    took = min(_timed(some) for _ in range(5))
    return bytes(int(len(some) * seconds / took))


def _timed(some: bytes) -> float:
    began = time.perf_counter()
    zlib.crc32(some)
    return time.perf_counter() - began


def measured(place: str, work: bytes) -> dict[str, float]:
    """Seconds of listing and of reading by tasks; images a second and core milliseconds of it."""
    source = open_source(place)
    began = time.perf_counter()
    images = source.items().images
    listed, core = time.perf_counter(), time.process_time()
    for start in range(0, images.num_rows, TASK):
        for content in source.contents(images.slice(start, TASK)):
            assert isinstance(content, bytes), content
            zlib.crc32(work)  # As the network, it leaves Python to other threads.
    seconds = time.perf_counter() - listed
    core = (time.process_time() - core) / images.num_rows
    speed = images.num_rows / seconds
    return {"list": listed - began, "read": seconds, "per_second": speed, "core_ms": 1000 * core}


@contextmanager
def store(late: float) -> Iterator[None]:
    """A store that speaks S3, each of whose answers is late."""
    behind, front = free_port(), free_port()
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(behind)]
    delay = [sys.executable, str(DELAY), str(front), "127.0.0.1", str(behind), "--late", str(late)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(server, **quiet) as one, subprocess.Popen(delay, **quiet) as other:  # type: ignore[call-overload]
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{front}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        try:
            _wait_for(f"http://127.0.0.1:{front}")
            yield
        finally:
            one.terminate()
            other.terminate()


def _wait_for(url: str) -> None:
    """Returns when a server answers."""
    for _ in range(240):
        with suppress(OSError), urlopen(url):
            return
        time.sleep(0.5)
    raise TimeoutError(url)


def counted() -> list[str]:
    """A list to which each request to S3 is added from now on."""
    from fruits.storage.s3 import RetryingS3

    called: list[str] = []
    call: Callable[..., Any] = RetryingS3._call_s3

    async def counting(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        called.append(method)
        return await call(self, method, *arguments, **options)

    RetryingS3._call_s3 = counting
    return called


def from_s3(folder: Path, files: list[Path], work: bytes, late: float) -> dict[str, Any]:
    """The same from a store, with its requests, and how many a folder there would take."""
    import boto3  # type: ignore[import-untyped]

    results: dict[str, Any] = {}
    with store(late):
        bucket = boto3.resource("s3").create_bucket(Bucket="fruits")
        called = counted()
        for number, path in enumerate(files):
            bucket.upload_file(str(path), f"folder/{path.parent.name}/{number:06}.jpg")
        for form in ("folder", *FORMS[:-1]):
            if form != "folder":
                bucket.upload_file(str(folder / form), form)
            called.clear()
            results[form] = measured(f"s3a://fruits/{form}", work) | {"requests": len(called)}
    return results


def main() -> None:
    """Prints what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--busy", type=float, default=0.004)
    parser.add_argument("--late", type=float, default=0.02)
    options = parser.parse_args()
    work = work_of(options.busy)
    files = sorted(options.images.resolve().rglob("*.jpg"))[: options.count]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["FRUITS_CACHE"] = str(folder / "cache")
        same = folder / "folder"
        for number, path in enumerate(files):
            target = same / path.parent.name / f"{number:06}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        copies = sorted(same.rglob("*.jpg"))
        for form in FORMS:
            make(form, copies, folder / form)
        local = {form: measured(str(folder / form), work) for form in ("folder", *FORMS)}
        again = measured(str(same), work)
        remote = from_s3(folder, copies, work, options.late)
    base = max(local["folder"]["per_second"], again["per_second"])
    for results in (local, remote):
        for one in results.values():
            one["of_the_folder"] = one["per_second"] / base
    print(json.dumps({"local": local, "s3": remote}, indent=1, default=lambda n: round(n, 4)))


if __name__ == "__main__":
    main()
