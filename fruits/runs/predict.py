"""The options of ``fruits predict``: a run that applies the model of a finished run."""

from dataclasses import fields
from typing import Any

from fruits.errors import ConfigError
from fruits.options import options
from fruits.runs import run_json
from fruits.runs.config import RunConfig
from fruits.storage.location import Location

OF_THE_MODEL = tuple(option.name for option in options(RunConfig) if option.of_model)
"""The options that are taken from the finished run, since they define the model."""


def predict_config(model: str, images: str, output: str, **others: Any) -> RunConfig:
    """The options of the run that ``fruits predict`` starts.

    Args:
        model: The output of the finished run.
        images: The folder of images.
        output: The folder of the results.
        others: Other options of :class:`~fruits.runs.config.RunConfig`, but not those in
            :data:`OF_THE_MODEL`.

    Raises:
        ConfigError: There is no finished run, or the output is in that run's.
        OutputError: Its run.json is damaged or cannot be read.
        StorageError: The store cannot be used.
    """
    run, target = Location.of(model), Location.of(output)
    if run.contains(target):
        raise ConfigError(
            f"output: wanted a folder outside of the model's; got {output}, where results of other "
            "images would replace those of the model, or mix with them: give another output"
        )
    with run_json.damage_errors(run, "model"):
        parameters = dict(run_json.read(run, "model")["parameters"])
    known = {field.name for field in fields(RunConfig)}
    # The scaler and the number of components are read with the model.
    named = (n for n in OF_THE_MODEL if n not in ("scaler", "components"))
    taken = {n: parameters[n] for n in named if n in parameters and n in known}
    return RunConfig(**taken | others, model=model, images=images, output=output)
