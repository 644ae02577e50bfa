"""The scaler, PCA and classifier of a finished run, saved with its model for later runs."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fruits.classify.baselines import Baselines
from fruits.classify.model import Classifier, OldClassifier
from fruits.errors import ConfigError, OutputError, one_line
from fruits.features.moments import Moments
from fruits.features.moments_bytes import OldMoments
from fruits.networks.graph import differing
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

# Spark ML ignores files whose names begin with an underscore.
MOMENTS_FILE = "model/_basis.moments"
SETTINGS_FILE = "model/_basis.json"
CLASSIFIER_FILE = "model/_basis.classifier"
BASELINES_FILE = "model/_basis.baselines"


@dataclass(frozen=True)
class KeptClassifier:
    """A classifier and facts about its training.

    Attributes:
        classifier: The classifier of the features.
        most_frequent: The most frequent label of the training images.
        about: How the classifier was chosen, for run.json.
        baselines: What the baselines of evaluations need; None if an earlier version of this
            package saved the model without it.
    """

    classifier: Classifier
    most_frequent: str
    about: dict[str, Any]
    baselines: Baselines | None = None


@dataclass(frozen=True)
class Basis:
    """The data that determines a scaler and a PCA, and the classifier of the same run.

    Attributes:
        moments: The moments of the features that the scaler and the PCA were fitted to.
        scaler: The name of the scaler.
        components: The number of components.
        identity: The identity of the backbone,
            :attr:`fruits.networks.graph.CompiledGraph.identity`.
        classifier: The classifier of the features; None if none was trained.
    """

    moments: Moments
    scaler: str
    components: int
    identity: dict[str, str]
    classifier: KeptClassifier | None = None

    def files(self) -> dict[str, bytes]:
        """The contents of the files to save, by name in the output folder."""
        settings: dict[str, Any] = {
            "scaler": self.scaler,
            "components": self.components,
            "identity": self.identity,
        }
        files = {MOMENTS_FILE: self.moments.to_bytes()}
        if kept := self.classifier:
            settings["classifier"] = {"most_frequent": kept.most_frequent, "about": kept.about}
            files[CLASSIFIER_FILE] = kept.classifier.to_bytes()
            if kept.baselines:
                files[BASELINES_FILE] = kept.baselines.to_bytes()
        files[SETTINGS_FILE] = (json.dumps(settings, indent=2) + "\n").encode()
        return files

    def require_identity(self, identity: dict[str, str], output: str) -> None:
        """Checks that this basis was fitted to features of the same backbone.

        Args:
            identity: The identity of the backbone.
            output: The folder that this basis was read from.

        Raises:
            ConfigError: The basis was fitted to features of another backbone.
        """
        ours, theirs = differing(identity, self.identity)
        if ours:
            raise ConfigError(
                f"model: {output} was made with {theirs}; got {ours}: give the options of that "
                "run, or use fruits predict, which takes them from there"
            )


def read_basis(output: Location) -> Basis | None:
    """Reads the basis of a finished run; None if the folder has no run of this version.

    Args:
        output: The folder of the run.

    Raises:
        OutputError: A file is damaged or cannot be read.
        StorageError: The store cannot be used.
    """
    name = SETTINGS_FILE
    try:
        with store_errors(output.uri), suppress(FileNotFoundError, OldMoments, OldClassifier):
            content = json.loads(output.filesystem.cat_file((output / name).path))
            settings = (
                str(content["scaler"]),
                int(content["components"]),
                {str(key): str(value) for key, value in content["identity"].items()},
            )
            name = MOMENTS_FILE
            moments = Moments.from_bytes(output.filesystem.cat_file((output / name).path))
            kept = None
            if about := content.get("classifier"):
                name = CLASSIFIER_FILE
                packed = output.filesystem.cat_file((output / name).path)
                classifier = Classifier.from_bytes(packed)
                name = BASELINES_FILE
                baselines = None
                with suppress(FileNotFoundError):
                    packed = output.filesystem.cat_file((output / name).path)
                    baselines = Baselines.from_bytes(packed, len(classifier.labels))
                facts = str(about["most_frequent"]), dict(about["about"])
                kept = KeptClassifier(classifier, *facts, baselines)
            return Basis(moments, *settings, kept)
    except OSError as error:
        raise OutputError(f"output: {output / name} cannot be read: {one_line(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"output: {output / name} is damaged ({one_line(error)}); delete it, and run again "
            "without model to make a new one"
        ) from error
    return None
