"""Measures the speed of reading archives and tables, compared with the original folder.

    python -m benchmarks.sources --images FOLDER [--count 2000] [--late 0.02] [--rounds 5]

A consumer computes for some milliseconds per image, like decoding and the network. In each round,
all forms are read, and each is compared with the folder; the result is the median of the rounds.
S3 is moto's server with a delay before each request. Its CPU time is reported too, because it runs
on the same machine.
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
from statistics import median
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq
from psutil import Process  # type: ignore[import-untyped]

from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of
from fruits.tasks.image_ranges import MOST_IMAGES
from tests.ports import free_port

TASK = MOST_IMAGES
FORMS = ("stored.zip", "deflated.zip", "gnu.tar", "pax.tar", "images.parquet", "table.csv")
# The figures of each form in each round.
Results = dict[str, list[dict[str, float]]]
DELAY = Path(__file__).resolve().parent.parent / "tests" / "cluster" / "delay.py"


def make(form: str, files: list[Path], target: Path) -> None:
    """Writes the files of a folder in another form."""
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


def work(seconds: float) -> None:
    """Uses a core for the given number of seconds."""
    some, end = bytes(64 << 10), time.thread_time() + seconds
    while time.thread_time() < end:
        zlib.crc32(some)  # Like the network, it releases Python's lock.


def measured(place: str, busy: float) -> dict[str, float]:
    """The speed of tasks that read the images of a source; times are in milliseconds per image."""
    images = open_source(place).found().images.table()
    waited, began, core = 0.0, time.perf_counter(), time.process_time()
    for start in range(0, images.num_rows, TASK):
        contents = contents_of(images.slice(start, TASK))
        while True:
            asked = time.perf_counter()
            content = next(contents, None)
            waited += time.perf_counter() - asked
            if content is None:
                break
            assert isinstance(content, bytes), content
            work(busy)
    seconds, core = time.perf_counter() - began, time.process_time() - core
    per_image = 1000 / images.num_rows
    return {
        "per_second": images.num_rows / seconds,
        "waited_ms": waited * per_image,
        "core_ms": core * per_image - 1000 * busy,
    }


@contextmanager
def store(late: float) -> Iterator[Callable[[], float]]:
    """Starts an S3 server that delays each response; yields a function that reads its CPU time."""
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
            yield lambda: sum(
                Process(each.pid).cpu_times()[i] for each in (one, other) for i in (0, 1)
            )
        finally:
            one.terminate()
            other.terminate()


def _wait_for(url: str) -> None:
    """Waits until a server responds."""
    for _ in range(240):
        with suppress(OSError), urlopen(url):
            return
        time.sleep(0.5)
    raise TimeoutError(url)


def counted() -> list[str]:
    """A list to which each later request to S3 is added."""
    from fruits.storage.s3 import RetryingS3

    called: list[str] = []
    call: Callable[..., Any] = RetryingS3._call_s3

    async def counting(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        called.append(method)
        return await call(self, method, *arguments, **options)

    RetryingS3._call_s3 = counting  # type: ignore[method-assign]
    return called


def upload(folder: Path, files: list[Path]) -> None:
    """Copies a folder and its other forms to the store."""
    import boto3  # type: ignore[import-untyped]

    bucket = boto3.resource("s3").create_bucket(Bucket="fruits")
    for number, path in enumerate(files):
        bucket.upload_file(str(path), f"folder/{path.parent.name}/{number:06}.jpg")
    for form in FORMS[:-1]:
        bucket.upload_file(str(folder / form), form)


def in_turns(folder: Path, rounds: int, busy: float, core_of: Callable[[], float]) -> Results:
    """The figures of each form in each round, by the location of the form."""
    places = {form: str(folder / form) for form in ("folder", *FORMS)}
    places |= {f"s3 {form}": f"s3a://fruits/{form}" for form in ("folder", *FORMS[:-1])}
    results: Results = {name: [] for name in places}
    called = counted()
    count = open_source(places["folder"]).found().images.num_rows
    for number in range(rounds):
        for name, place in places.items():
            called.clear()
            core = core_of()
            one = measured(place, busy)
            base = (
                results["folder"][number]["per_second"]
                if number < len(results["folder"])
                else one["per_second"]
            )
            one |= {"of_the_folder": one["per_second"] / base, "requests": len(called)}
            one["store_core_ms"] = 1000 * (core_of() - core) / count
            results[name].append(one)
    return results


def main() -> None:
    """Prints the results as JSON: the median of each figure over all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--busy", type=float, default=0.004)
    parser.add_argument("--late", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = sorted(options.images.resolve().rglob("*.jpg"))[: options.count]
    with tempfile.TemporaryDirectory() as temporary, store(options.late) as core_of:
        folder = Path(temporary)
        os.environ["FRUITS_CACHE"] = str(folder / "cache")
        for number, path in enumerate(files):
            target = folder / "folder" / path.parent.name / f"{number:06}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        copies = sorted((folder / "folder").rglob("*.jpg"))
        for form in FORMS:
            make(form, copies, folder / form)
        upload(folder, copies)
        results = in_turns(folder, options.rounds, options.busy, core_of)
    for name, rounds in results.items():
        figures = {key: round(median(one[key] for one in rounds), 4) for key in rounds[0]}
        # The first round makes the indexes, which later rounds use.
        print(json.dumps({"from": name, **figures, "requests": rounds[0]["requests"]}))


if __name__ == "__main__":
    main()
