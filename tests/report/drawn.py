"""Synthetic ReportData for pages, made without Spark: clouds of images, with thumbnails."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from fruits.classify.evaluate import evaluation_of
from fruits.classify.review import Confusion
from fruits.classify.tally import Tally
from fruits.images.thumbnail import thumbnail
from fruits.quality.findings import SCHEMA
from fruits.report.data import IMAGES, Plane, Rejected, ReportData

KINDS = ("Apple", "Banana", "Cherry", "Fig", "Grape", "Lemon", "Mango", "Onion", "Pear", "Tomato")


def names(count: int) -> list[str]:
    """Labels with names like those of Fruits-360."""
    return [f"{KINDS[n % len(KINDS)]} {n // len(KINDS) + 1}" for n in range(count)]


def pictures(count: int, seed: int = 0) -> list[bytes]:
    """Different thumbnails with a few colours each."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        found.append(thumbnail(np.kron(coarse, np.ones((56, 56, 1), np.uint8)), b""))
    return found


def run_json(counts: dict[str, Any], evaluation: Sequence[Any] = ()) -> dict[str, Any]:
    """The parsed content of a run.json."""
    parameters = {"images": "data/sample", "output": "data/out", "backbone": "MobileNetV2"}
    content = {
        "parameters": {**parameters, "model": None},
        "counts": counts,
        "components": 3,
        "explained_variance": [0.5, 0.25, 0.125],
        "images_per_second": 100.0,
        "seconds": {"extract": 12.0, "fit": 1.0, "total": 13.0},
        "versions": {"python": "3.11.0", "fruits": "0.1.0"},
        "ran": ["a processor"],
        "spark": {"master": "local[2]", "executors": 1},
        "split": {"images": {"train": 3, "test": 1}, "fitted_to": "train"},
        "classifier": {"kind": "lda", "groups": "4 groups", "unknown_above": 22.0},
        "evaluation": [one.to_json() for one in evaluation],
        "quality": {},
    }
    return dict(json.loads(json.dumps(content)))


def drawn(
    labels: Sequence[str], each: int, seed: int = 0, folder: str = "file:/data"
) -> ReportData:
    """Images of some labels: clouds in two planes; one in ten predictions is another label."""
    rng = np.random.default_rng(seed)
    count = len(labels) * each
    truth = np.repeat(np.arange(len(labels)), each)
    wrong = rng.random(count) < 0.1
    guess = np.where(wrong, rng.integers(0, len(labels), count), truth)
    sides = ["test" if n % 4 == 1 else "train" for n in range(count)]
    paths = [
        f"{folder}/{side}/{labels[place]}/{number % each}_100.jpg"
        for number, (side, place) in enumerate(zip(sides, truth.tolist(), strict=True))
    ]
    centres = rng.normal(0, 5, (len(labels), 24))
    vectors = (centres[truth] + rng.normal(0, 1, (count, 24))).astype(np.float32)
    confidence = rng.uniform(0.3, 1, count)
    distance = rng.gamma(5, 2, count)
    named = [labels[place] for place in truth.tolist()]
    images = pa.table(
        {
            "path": paths,
            "label": named,
            "split": sides,
            "predicted": [labels[place] for place in guess.tolist()],
            "confidence": confidence,
            "unknown": distance > 22,
            "distance": distance,
        },
        IMAGES,
    )
    likelihood = np.where(guess == truth, confidence, 1 - confidence)
    tally = Tally(labels)
    tally.add(named, guess, confidence, guess[:, None], likelihood, distance > 22, None)
    evaluations = [
        evaluation_of(tally, scheme, most_frequent=labels[0])
        for scheme in ("grouped cross-validation", "split: test")
    ]
    few = pictures(64, seed)
    return ReportData(
        run=run_json(
            {
                "found": count + 3,
                "extracted": count,
                "reused": 0,
                "rejected": 3,
                "passed_over": {".txt": 2, "hidden": 1},
            },
            evaluations,
        ),
        written=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        images=images,
        total=count,
        planes=[
            Plane("Principal components", ("PC1", "PC2"), vectors[:, :2]),
            Plane("Discriminant axes", ("LD1", "LD2"), vectors[:, 2:4]),
        ],
        vectors=vectors,
        thumbnails={path: few[n % len(few)] for n, path in enumerate(paths)},
        order=list(labels),
        confusions=[
            Confusion(true, other, images, paths[named.index(true)], paths[0])
            for true, other, images in evaluations[0].worst(6)
        ],
        quality=quality(paths, named, sides),
        rejected=Rejected.of(
            pa.table(
                {
                    "path": [f"{folder}/broken {n}.jpg" for n in range(3)],
                    "label": [labels[0]] * 3,
                    "error": ["truncated: the JPEG ends before its pixels"] * 2 + ["empty file"],
                }
            ).to_batches()
        ),
    )


def plain_folder(labels: Sequence[str], each: int) -> ReportData:
    """Predictions for a folder of photographs, whose name is their label, with another model."""
    report = drawn(labels, each)
    images = report.images
    paths = [f"file:/photographs/{n}.jpg" for n in range(images.num_rows)]
    for name, values in (("path", paths), ("label", ["kphotos"] * len(paths))):
        place = IMAGES.get_field_index(name)
        images = images.set_column(place, IMAGES.field(name), pa.array(values))
    pictures = dict(zip(paths, report.thumbnails.values(), strict=True))
    parameters = {**report.run["parameters"], "model": "data/other"}
    run = {**report.run, "parameters": parameters, "evaluation": []}
    return replace(report, images=images, run=run, thumbnails=pictures, confusions=[], quality={})


def quality(
    paths: Sequence[str], labels: Sequence[str], splits: Sequence[str]
) -> dict[str, pa.Table]:
    """A few findings of each kind."""
    found = {}
    for kind in ("label suspect", "outlier", "split duplicate", "duplicate", "near-duplicate"):
        twins = "duplicate" in kind
        rows = [
            {
                "kind": kind,
                "path": paths[n],
                "label": labels[n],
                "split": splits[n],
                "other": paths[n + 1] if twins else None,
                "other_label": labels[n + 1] if twins else None,
                "other_split": splits[n + 1] if twins else None,
                "score": 1.0 / (n + 1),
                "reason": f"drawn number {n}",
            }
            for n in range(0, min(8, len(paths) - 1), 2)
        ]
        found[kind] = pa.Table.from_pylist(rows, SCHEMA)
    return found
