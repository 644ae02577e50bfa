"""A synthetic data set with the layout of Fruits-360: pictures of rotating solid bodies."""

import json
import math
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image

from fruits.errors import ConfigError, OutputError
from fruits.sample.bodies import Body
from fruits.sample.render import SIDE, render, turned
from fruits.sample.species import KINDS
from fruits.tasks.spawn import main_hidden

MARKER = ".fruits-sample.json"
_DRAFT = f"{MARKER}.part"
_FORMAT = 1  # increase this number if the same seed draws other pictures
_QUALITY = 95  # quality of the JPEG files; size and quality are those of Fruits-360
_FRAMES = 328  # frames of a full turn in Fruits-360; file names contain the number of the frame
# Prefix of a series: degrees by which the body is tilted.
_LYING = {"": 0.0, "r_": 90.0, "r2_": 40.0}
_POOL_FROM = 1500  # training pictures; for fewer of them, several processes save little time


def _variety(number: int) -> str:
    """Return the name of class `number`: first all species, then a second variety of each, ..."""
    return f"{KINDS[number % len(KINDS)].name} {number // len(KINDS) + 1}"


def _pictures(per_class: int) -> Iterator[tuple[str, float, float]]:
    """Yield the file, tilt and angle of each picture of a class; every fourth one is for Test."""
    total = per_class + math.ceil(per_class / 3)
    position = 0
    for series, (prefix, lying) in enumerate(_LYING.items()):
        size = (total + len(_LYING) - 1 - series) // len(_LYING)
        for i in range(size):
            part = "Test" if position % 4 == 1 else "Training"
            frame = i * max(_FRAMES, size) // size
            yield f"{part}/{{}}/{prefix}{frame}_{SIDE}.jpg", lying, 360 * i / size
            position += 1


def _draw_class(folder: Path, number: int, per_class: int, seed: int) -> int:
    """Draw one variety; return the number of its pictures."""
    name = _variety(number)
    for part in ("Training", "Test"):
        (folder / part / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, number])
    body = Body(KINDS[number % len(KINDS)], rng, 0.03 if number < len(KINDS) else 0.07)
    first = rng.uniform(0, 360)
    count = 0
    for file, lying, angle in _pictures(per_class):
        picture = Image.fromarray(render(body, turned(lying, first + angle)))
        picture.save(folder / file.format(name), quality=_QUALITY)
        count += 1
    return count


def _draw_classes(folder: Path, classes: int, per_class: int, seed: int) -> Iterator[int]:
    """Draw all varieties, in several processes if there are many; yield each number of pictures."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cores or 1, classes)
    if processes < 2 or classes * per_class < _POOL_FROM:
        for number in range(classes):
            yield _draw_class(folder, number, per_class, seed)
        return
    others = set(multiprocessing.active_children())
    # A forked child could inherit the locks of the caller's threads; a spawned one does not.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            with _interruption_blocked(), main_hidden():
                jobs = [
                    pool.submit(_draw_class, folder, number, per_class, seed)
                    for number in range(classes)
                ]
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise


@contextmanager
def _interruption_blocked() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; processes that are started in the block ignore it.

    A terminal sends it to all processes, and each one would print a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _local(output: str) -> Path:
    """Return the folder of a path or a `file:` URI."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", output)
    if not output or "\0" in output:
        raise ConfigError(f"output: wanted a folder; got {output!r}")
    if not scheme:
        return Path(output)
    uri = urlsplit(output)
    if scheme[1].lower() != "file" or uri.netloc not in ("", "localhost"):
        raise ConfigError(
            f"output: wanted a local folder (a path or a file: URI); got {output!r}: "
            "draw the sample on a local disk, then copy it there"
        )
    return Path(unquote(uri.path))


def _complete(folder: Path, wanted: dict[str, int], total: int) -> bool:
    """Return whether `folder` has the complete sample; raise OutputError if it has other files."""
    if {entry.name for entry in folder.iterdir()} <= {_DRAFT}:
        return False
    try:
        marker = json.loads((folder / MARKER).read_text())
        complete = marker.pop("complete") is True
    except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError):
        raise OutputError(
            f"output: wanted an empty folder; {folder} has other files: give another folder"
        ) from None
    if marker != wanted:
        raise OutputError(
            f"output: wanted a sample of {wanted}; {folder} has one of {marker}: "
            "give another folder, or delete this one"
        )
    pictures = (path for part in ("Training", "Test") for path in (folder / part).glob("*/*.jpg"))
    return complete and sum(1 for _ in pictures) >= total


def _mark(folder: Path, wanted: dict[str, int], complete: bool) -> None:
    """Replace the marker of the folder in one step, so that a reader never sees a part of it."""
    (folder / _DRAFT).write_text(json.dumps({**wanted, "complete": complete}))
    (folder / _DRAFT).replace(folder / MARKER)


def draw_sample(
    output: str,
    classes: int = 12,
    per_class: int = 50,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Draw pictures of fruits to OUTPUT/Training/<variety>/*.jpg and OUTPUT/Test/<variety>/*.jpg.

    Args:
        output: a folder (a path or a `file:` URI), which is created if it is missing.
        classes: the number of varieties; a larger number only adds varieties.
        per_class: pictures of each variety in Training; ceil(per_class / 3) more are in Test, which
            gets every fourth picture of a turn.
        seed: 0 or more; a machine draws the same bytes for the same seed with any number of
            processes.
        progress: called with (pictures so far, total number of pictures) after each variety.

    Returns:
        The number of pictures. If there is already a complete sample with these values, it is not
        drawn again; an incomplete one is.

    Raises:
        ConfigError: a value is invalid, or `output` is not local.
        OutputError: `output` cannot be written, or has other files.
    """
    limits = {"classes": (classes, 1), "per_class": (per_class, 1), "seed": (seed, 0)}
    for name, (value, least) in limits.items():
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name}: wanted a whole number of at least {least}; got {value!r}")
    folder = _local(output)
    wanted = {"format": _FORMAT, "classes": classes, "per_class": per_class, "seed": seed}
    total = classes * sum(1 for _ in _pictures(per_class))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _complete(folder, wanted, total):
            return total
        _mark(folder, wanted, complete=False)
        drawn = 0
        for count in _draw_classes(folder, classes, per_class, seed):
            drawn += count
            if progress:
                progress(drawn, total)
        _mark(folder, wanted, complete=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(
            f"output: wanted a folder that can be written; {output} is a file, or below one: "
            "give another folder"
        ) from None
    except OSError as error:
        raise OutputError(
            f"output: wanted a folder that can be written; got {output}: "
            f"{error.strerror or error}: change its permissions, free some space, "
            "or give another folder"
        ) from error
    return total
