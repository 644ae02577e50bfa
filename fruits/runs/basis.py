"""The scaler, PCA and classifier of a finished run, kept in its model for later runs to use."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fruits.classify.model import Classifier
from fruits.errors import ConfigError, OutputError, one_line
from fruits.features.moments import Moments
from fruits.features.moments_file import OldMoments
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

# Spark ML passes over names that begin with an underscore.
MOMENTS_FILE = "model/_basis.moments"
SETTINGS_FILE = "model/_basis.json"
CLASSIFIER_FILE = "model/_basis.classifier"


@dataclass(frozen=True)
class KeptClassifier:
    """A classifier, and what is known of its training.

    Attributes:
        classifier: of the features.
        most_frequent: the label of most training images.
        about: how it was chosen, for run.json.
    """

    classifier: Classifier
    most_frequent: str
    about: dict[str, Any]


@dataclass(frozen=True)
class Basis:
    """What a scaler and a PCA follow from, and the classifier next to them.

    Attributes:
        moments: of the features that they were fitted to.
        scaler: its name.
        components: how many are kept.
        identity: of the backbone, :attr:`fruits.networks.graph.CompiledGraph.identity`.
        classifier: of the features; None where none was trained.
    """

    moments: Moments
    scaler: str
    components: int
    identity: dict[str, str]
    classifier: KeptClassifier | None = None

    def files(self) -> dict[str, bytes]:
        """The contents of the files that keep it, by name in the output folder."""
        settings: dict[str, Any] = {
            "scaler": self.scaler,
            "components": self.components,
            "identity": self.identity,
        }
        files = {MOMENTS_FILE: self.moments.to_bytes()}
        if kept := self.classifier:
            settings["classifier"] = {"most_frequent": kept.most_frequent, "about": kept.about}
            files[CLASSIFIER_FILE] = kept.classifier.to_bytes()
        files[SETTINGS_FILE] = (json.dumps(settings, indent=2) + "\n").encode()
        return files

    def require_identity(self, identity: dict[str, str], output: str) -> None:
        """Makes sure that features of a backbone can be reduced by this.

        Args:
            identity: of the backbone.
            output: the folder that this was read from.

        Raises:
            ConfigError: this was fitted to features of another backbone.
        """
        names = dict.fromkeys([*identity, *self.identity])
        if differing := [n for n in names if identity.get(n) != self.identity.get(n)]:
            theirs, ours = (
                ", ".join(f"{name} {one.get(name, 'as usual')}" for name in differing)
                for one in (self.identity, identity)
            )
            raise ConfigError(
                f"model: {output} was made with {theirs}; got {ours}: give the options of that "
                "run, or use fruits predict, which takes them from there"
            )


def read_basis(output: str) -> Basis | None:
    """What a finished run has kept; None where there is no run of this version.

    Args:
        output: URI of its folder.

    Raises:
        OutputError: a file is damaged or cannot be read.
        StorageError: the store cannot be used.
    """
    place = Location.of(output)
    name = SETTINGS_FILE
    try:
        with store_errors(output), suppress(FileNotFoundError, OldMoments):
            content = json.loads(place.filesystem.cat_file((place / name).path))
            settings = (
                str(content["scaler"]),
                int(content["components"]),
                {str(key): str(value) for key, value in content["identity"].items()},
            )
            name = MOMENTS_FILE
            moments = Moments.from_bytes(place.filesystem.cat_file((place / name).path))
            kept = None
            if about := content.get("classifier"):
                name = CLASSIFIER_FILE
                packed = place.filesystem.cat_file((place / name).path)
                classifier = Classifier.from_bytes(packed)
                kept = KeptClassifier(classifier, str(about["most_frequent"]), dict(about["about"]))
            return Basis(moments, *settings, kept)
    except OSError as error:
        raise OutputError(f"output: {place / name} cannot be read: {one_line(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"output: {place / name} is damaged ({one_line(error)}); delete it, and run again "
            "without model to make a new one"
        ) from error
    return None
