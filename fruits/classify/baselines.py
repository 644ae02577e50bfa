"""What the simplest classifiers learn from the training images, to compare evaluations with."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from fruits.classify.fit import Measured, counts_and_means
from fruits.classify.model import Array, Ints


@dataclass(frozen=True, eq=False)
class Baselines:
    """The images of each of the c labels of a classifier, in their order.

    Attributes:
        counts: (c,) int64, the number of training images.
        means: (c, d) float64, the mean of their transformed features.
    """

    counts: Ints
    means: Array

    @classmethod
    def of(cls, moments: Measured) -> Baselines:
        """The counts and means of images that all have a label."""
        return cls(*counts_and_means(moments))

    def to_bytes(self) -> bytes:
        """Packs into a file of NumPy arrays (npz) without pickle; equal ones give equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, counts=self.counts, means=self.means)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, packed: bytes, labels: int) -> Baselines:
        """Unpacks what `to_bytes` made.

        Args:
            packed: the bytes.
            labels: c, the number of labels of the classifier.

        Raises:
            ValueError: the bytes are damaged, or of another number of labels.
        """
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as file:
                counts, means = file["counts"], file["means"]
        except (EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"wanted counts and means of labels; got {error}") from None
        if counts.shape != (labels,) or means.ndim != 2 or len(means) != labels:
            raise ValueError(f"wanted {labels} counts and means; got {counts.shape}, {means.shape}")
        return cls(counts, means)
