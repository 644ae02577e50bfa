"""The options of a run that applies the model of a finished run to another folder."""

import json
from dataclasses import fields
from typing import Any

from fruits.errors import ConfigError, OutputError, one_line
from fruits.runs.config import RunConfig
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

# What decides the features and what becomes of them: these are taken from the finished run.
OF_THE_MODEL = (
    "backbone",
    "weights",
    "engine",
    "precision",
    "exact_decode",
    "crop",
    "scaler",
    "components",
    "label",
    "split",
    "group",
)


def predict_config(model: str, images: str, output: str, **options: Any) -> RunConfig:
    """What ``fruits predict`` runs.

    Args:
        model: output of the finished run.
        images: folder of images.
        output: folder of the results.
        options: others of :class:`~fruits.runs.config.RunConfig`, but for :data:`OF_THE_MODEL`.

    Raises:
        ConfigError: there is no finished run.
        OutputError: its run.json is damaged or cannot be read.
        StorageError: the store cannot be used.
    """
    place = Location.of(model) / "run.json"
    try:
        with store_errors(model):
            parameters = dict(json.loads(place.filesystem.cat_file(place.path))["parameters"])
    except FileNotFoundError:
        raise ConfigError(
            f"model: wanted the output of a finished run; {place} does not exist"
        ) from None
    except OSError as error:
        raise OutputError(f"model: {place} cannot be read: {one_line(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"model: {place} is damaged ({one_line(error)}): run again with that output"
        ) from error
    known = {field.name for field in fields(RunConfig)}
    taken = {n: parameters[n] for n in OF_THE_MODEL if n in parameters and n in known}
    return RunConfig(**taken | options, model=model, images=images, output=output)
