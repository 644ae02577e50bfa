"""The checks of a run before it changes anything: its model, its folders, missing images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.errors import ConfigError, InputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.basis import Basis, read_basis
from fruits.runs.config import RunConfig
from fruits.runs.output_record import RESULTS, STAGING
from fruits.sources.open_source import places_of
from fruits.sources.parts import Parts, Read
from fruits.storage.location import Location

# A listing without more than this share of the known images is most likely a mistake.
MOST_REMOVED = 0.2


def chosen_basis(config: RunConfig, graph: CompiledGraph) -> Basis | None:
    """The basis of the run whose model is to be used; None if the run fits its own model.

    Raises:
        ConfigError: There is no such run, it has another backbone or other options, or this run
            would delete it.
    """
    if config.model is None:
        return None
    model, output = Location.of(config.model), Location.of(config.output)
    if config.overwrite and model.contains(output) and output.contains(model):
        raise ConfigError(
            f"model: wanted a model outside of the output; got {config.model}, which overwrite "
            "would delete first: leave out overwrite, or give another output"
        )
    basis = read_basis(model)
    if basis is None:
        raise ConfigError(
            f"model: wanted the output of a finished run of this version; there is none in "
            f"{config.model}: run without model first"
        )
    basis.require_identity(graph.identity, config.model)
    defaults = {field.name: field.default for field in fields(RunConfig)}
    for name in ("scaler", "components"):
        wanted, there = getattr(config, name), getattr(basis, name)
        if wanted not in (defaults[name], there):
            raise ConfigError(
                f"{name}: wanted {there}, as in the model of {config.model}; got {wanted}: "
                f"leave out {name}, or leave out model"
            )
    return basis


def require_most(known: Parts, listing: Parts, config: RunConfig) -> None:
    """Refuses a listing without many of the images of earlier runs, before any row is dropped.

    An image in a folder that was moved or renamed counts as present: its name, length and time are
    the same. An image that was packed into an archive counts too: archives keep no such time, but
    its name and length are the same.

    Args:
        known: The committed rows, with the columns of :data:`fruits.sources.listing.IDENTITY`.
        listing: All images that were found, with the same columns and bounds. It also has the
            column `at` if some are in archives.
        config: The options of the run.

    Raises:
        InputError: More than :data:`MOST_REMOVED` of the known images are gone.
    """
    most = MOST_REMOVED * known.num_rows
    gone = new = 0
    for mine, found in zip(known, listing, strict=True):
        gone += _others(mine, found).num_rows
        new += _others(found, mine).num_rows
    if gone <= most:
        return
    # Each new image may be one of the missing ones, under another path.
    removed, at_least = gone - new, "at least " if new else ""
    if removed <= most:
        removed, at_least = _not_moved(known, listing), ""
    if removed > most:
        raise InputError(
            f"images: wanted those of the earlier runs on {config.output}; {at_least}{removed:,} "
            f"of {known.num_rows:,} are not in {config.images}, and their results would be "
            "dropped: check that the folder is complete and mounted, give another output, or "
            "allow it with allow_removed"
        )


def require_apart(config: RunConfig, linked: Sequence[str] = ()) -> None:
    """Checks that results cannot be listed as images, and that results cannot replace images.

    Args:
        config: The options of the run.
        linked: The real paths of linked folders in the images, if they are listed already.

    Raises:
        ConfigError: The output is in a folder of images, or the images are in a folder of results.
    """
    places = [Location.of(place) for place in places_of(config.images)]
    output = Location.of(config.output)
    for folder in (*places, *map(Location.of, linked)):
        if folder.contains(output):
            where = config.images if folder in places else f"{folder}, a part of {config.images}"
            relation = "is the folder" if output.contains(folder) else "is in"
            raise ConfigError(
                "output: wanted a folder outside of the images, because results and photographs "
                f"would be mixed; {config.output} {relation} {where}: give another output"
            )
    for name in (*RESULTS, STAGING):
        if any((output / name).contains(images) for images in places):
            raise ConfigError(
                f"output: wanted a folder without the images; {config.images} is in "
                f"{output / name}, which results replace: give another output"
            )


def _others(files: pa.Table, those: pa.Table) -> pa.Table:
    """The files whose paths are not in another table."""
    return files.filter(pc.invert(pc.is_in(files["path"], those["path"])))


def _not_moved(known: Parts, listing: Parts) -> int:
    """The number of known images that are neither listed nor under another path."""
    pairs = zip(known.reads, listing.reads, strict=True)
    gone = [partial(_others_of, mine, found) for mine, found in pairs]
    pairs = zip(known.reads, listing.reads, strict=True)
    new = [partial(_others_of, found, mine) for mine, found in pairs]
    left = _unmatched(_marks(gone), _marks(new))
    if "at" in listing.schema.names:
        packed = [partial(_packed, read) for read in new]
        left = _unmatched(_marks(gone, timeless=True)[left], _marks(packed, timeless=True))
    return len(left)


def _others_of(files: Read, those: Read) -> pa.Table:
    return _others(files(), those())


def _packed(files: Read) -> pa.Table:
    """The files that are members of archives."""
    return files().filter(pc.is_valid(pc.field("at")))


def _marks(tables: Sequence[Read], timeless: bool = False) -> NDArray[np.int64]:
    """A hash of name, length and time of each file, which a move to another folder does not change.

    With `timeless`, of name and length only.
    """
    found = [np.empty(0, np.int64)]
    for files in (read() for read in tables):
        names = pc.replace_substring_regex(files["path"], "(?s)^.*/", "").to_pylist()
        marks = [names, files["length"].to_pylist()]
        if not timeless:
            marks.append(files["modified"].cast(pa.int64()).to_pylist())
        found.append(np.fromiter(map(hash, zip(*marks, strict=True)), np.int64))
    return np.concatenate(found)


def _unmatched(marks: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.intp]:
    """The places of the marks that are left if each of the others takes away an equal one."""
    order = np.argsort(marks)
    marks, others = marks[order], np.sort(others)
    earlier = np.arange(len(marks)) - np.searchsorted(marks, marks)
    taken = np.searchsorted(others, marks, "right") - np.searchsorted(others, marks)
    return order[earlier >= taken]
