"""The file run.json, which describes a finished run: its content, and how it is read.

The command line imports this module, so other modules of runs are imported when they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fruits.errors import ConfigError, OutputError, one_line
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fruits.classify.evaluate import Evaluation
    from fruits.runs.classify import Classified
    from fruits.runs.config import RunConfig
    from fruits.runs.context import RunContext
    from fruits.runs.extract import Extracted
    from fruits.runs.quality import Quality
    from fruits.runs.reduce import Reduced

NAME = "run.json"


@dataclass(frozen=True)
class Counts:
    """The counts of the images: found = extracted + reused + rejected.

    Attributes:
        found: The images that the run uses.
        extracted: The images that went through the CNN in this run.
        reused: The images whose content already had features, under the same name or another.
        rejected: The images without features.
        boxes: The boxes of images that are not rejected; None without a detector.
    """

    found: int
    extracted: int
    reused: int
    rejected: int
    boxes: int | None = None

    @classmethod
    def of(cls, found: int, extracted: int, rejected: int, boxes: int | None = None) -> Counts:
        """The counts, if all other images have features of an earlier run."""
        return cls(found, extracted, found - extracted - rejected, rejected, boxes)

    @property
    def rows(self) -> int:
        """The number of rows of features."""
        return self.extracted + self.reused if self.boxes is None else self.boxes

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {name: count for name, count in asdict(self).items() if count is not None}


def describe(
    context: RunContext,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | str,
    evaluations: Sequence[Evaluation],
    quality: Quality,
) -> dict[str, Any]:
    """The content of run.json, with the seconds of the finished stages.

    docs/api.md lists it.

    Args:
        context: The run.
        extracted: The images.
        reduced: The scaler and the PCA.
        classified: The classifier, or the reason why there is none.
        evaluations: The evaluations of the classifier.
        quality: The counts of the findings.
    """
    from fruits.runs.versions import package_versions, version_of

    reduction, seconds, session = reduced.reduction, context.stages.seconds, context.session
    counts = extracted.counts
    speed = counts.extracted / seconds["extract"] if counts.extracted else 0.0
    return {
        "parameters": context.config.as_dict(),
        "counts": _counts(counts, context.found.passed_over),
        "weights_sha256": context.graph.weights_sha256,
        "components": reduction.components,
        "explained_variance": reduction.explained_variance[: reduction.components].tolist(),
        "basis_turned_degrees": reduced.turned,
        "images_per_second": round(speed, 1),
        "seconds": total_seconds(seconds),
        "versions": package_versions()
        | {"pyspark": session.version if session else version_of("pyspark")},
        # The engines and instruction sets of all runs on these features. Features of one entry are
        # equal bit for bit; those of different entries differ in the last bits.
        "ran": context.store.ran(),
        "finished": now(),
        "fingerprint": _fingerprint(context, extracted),
        **_workers(session, context.workers.slots),
        "split": {
            "images": {side or "none": count for side, count in extracted.sides.items()},
            "labelled": {side or "none": count for side, count in extracted.with_label.items()},
            "fitted_to": reduced.side or "all",
        },
        "classifier": _classifier(context, extracted, classified),
        "evaluation": [one.to_json() for one in evaluations],
        "quality": quality.as_dict(),
    }


def describe_unchanged(
    report: dict[str, Any],
    config: RunConfig,
    seconds: dict[str, float],
    passed_over: dict[str, int],
) -> dict[str, Any]:
    """The content of run.json after a run that found all results in place.

    Args:
        report: The previous content.
        config: The options of the run.
        seconds: The seconds of the stages.
        passed_over: The number of files that are no images, by suffix.
    """
    had = report["counts"]
    counts = Counts.of(had["found"], 0, had["rejected"], had.get("boxes"))
    turned = report["basis_turned_degrees"]
    return report | {
        "parameters": config.as_dict(),
        "counts": _counts(counts, passed_over),
        "basis_turned_degrees": turned and dict.fromkeys(turned, 0.0),
        "images_per_second": 0.0,
        "seconds": total_seconds(seconds),
        "checked": now(),
    }


def total_seconds(seconds: dict[str, float]) -> dict[str, float]:
    """The seconds of the stages, with their sum."""
    return seconds | {"total": round(sum(seconds.values()), 3)}


def now() -> str:
    """The current time in UTC for run.json: ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(output: Location, option: str) -> dict[str, Any]:
    """The content of run.json in the output of a finished run.

    Args:
        output: The output of the run.
        option: The option that names the output, for messages.

    Raises:
        ConfigError: There is no finished run.
        OutputError: The file is damaged, or cannot be read.
        StorageError: The store cannot be used.
    """
    place = output / NAME
    try:
        with store_errors(output.uri):
            content = place.filesystem.cat_file(place.path)
    except FileNotFoundError:
        raise ConfigError(
            f"{option}: wanted the output of a finished run; {place} does not exist: give another "
            "folder (a comparison has one for each network), or run first"
        ) from None
    except NotADirectoryError:
        raise ConfigError(
            f"{option}: wanted the output of a finished run; {output} is a file, or inside a file: "
            "give a folder"
        ) from None
    except OSError as error:
        raise OutputError(f"{option}: {place} cannot be read: {one_line(error)}") from error
    with damage_errors(output, option):
        return dict(json.loads(content))


def read_earlier(output: Location) -> dict[str, Any] | None:
    """The content of the run.json that a run replaces; None if there is none or it is damaged."""
    place = output / NAME
    try:
        return dict(json.loads(place.filesystem.cat_file(place.path)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def damage_errors(output: Location, option: str) -> Iterator[None]:
    """Converts the errors of a block that uses the content of run.json.

    Raises:
        OutputError: Something is missing in the content, or is of another type.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{option}: {output / NAME} is damaged ({type(error).__name__}: {one_line(error)}): "
            "run again with that output, which writes a new one"
        ) from error


def _counts(counts: Counts, passed_over: dict[str, int]) -> dict[str, Any]:
    return counts.as_dict() | ({"passed_over": passed_over} if passed_over else {})


def _workers(session: SparkSession | None, slots: int) -> dict[str, Any]:
    """The master and the number of executors, or the number of local processes."""
    if session is None:
        return {"local_processes": slots}
    context = session.sparkContext
    # Spark lists the driver among its executors.
    executors = context._jsc.sc().statusTracker().getExecutorInfos()
    return {"spark": {"master": context.master, "executors": max(1, len(executors) - 1)}}


def _fingerprint(context: RunContext, extracted: Extracted) -> dict[str, str] | None:
    """The digests of the inputs; None if the next run must try some images again."""
    from fruits.runs.fingerprint import options_digest

    if extracted.unreadable:
        return None
    # A comparison may change the classifier after the run was prepared.
    return context.fingerprint | {"options": options_digest(context.config)}


def _classifier(
    context: RunContext, extracted: Extracted, classified: Classified | str
) -> dict[str, Any]:
    """How the classifier was chosen, or the reason why there is none."""
    from fruits.predictor.write_images import MOST_NEIGHBOURS
    from fruits.runs.images_in_root import loose_images

    about: dict[str, Any] = (
        {"skipped": classified} if isinstance(classified, str) else {**classified.about}
    )
    if about.get("training_images", 0) > MOST_NEIGHBOURS and not context.basis:
        about["neighbours"] = MOST_NEIGHBOURS
    if loose := loose_images(context.config, extracted.usable, extracted.labels):
        about["loose"] = loose
    return about
