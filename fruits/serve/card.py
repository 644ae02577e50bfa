"""The description of the model for the API."""

import re
from collections.abc import Mapping
from typing import Any

import fruits
from fruits.serve.settings import Settings

CREDIT = (
    "The thumbnails are from the training data of the model, and are under the licence of that "
    "data."
)

# Between two sources. A comma may also be in the name of a folder, before which nothing is shown.
_BETWEEN = re.compile(r",\s*(?=/|[a-z][a-z0-9+.-]*:/)", re.IGNORECASE)


def card(about: Mapping[str, Any], version: str, settings: Settings) -> dict[str, Any]:
    """The values of :class:`fruits.serve.schemas.Model`.

    Args:
        about: the information from the predictor.
        version: the version of the model.
        settings: the settings of the server.
    """
    found = about.get("classifier")
    training: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    return {
        "name": settings.name,
        "version": version,
        "backbone": about["backbone"],
        "labels": list(about["labels"]),
        "images": training.get("training_images", about["neighbours"]),
        "data": _folders(str(about.get("images", ""))),
        "evaluation": [_measured(one) for one in _evaluations(about.get("evaluation"))],
        "groups_by": training.get("groups_by"),
        "threshold": about["threshold"],
        "computed_by": about["computed_by"],
        "fruits": fruits.__version__,
        "credit": settings.credit or CREDIT,
        "keeps_uploads": settings.keep_uploads is not None,
        "max_file": settings.most_of_a_file,
        "max_files": settings.max_files,
        "max_body": settings.max_body,
    }


def _folders(uris: str) -> str:
    """The last two folders of each URI, because the rest may be private."""
    sources = [[part for part in uri.split("/") if part.strip(":")] for uri in _BETWEEN.split(uris)]
    return ", ".join("/".join(parts[-2:]) for parts in sources)


def _evaluations(found: Any) -> list[Mapping[str, Any]]:
    """The evaluations of a run, which has one, several by name, or none."""
    if isinstance(found, Mapping):
        found = [found] if "scheme" in found else list(found.values())
    return [one for one in found or () if isinstance(one, Mapping) and "accuracy" in one]


def _measured(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    names = ("scheme", "images", "accuracy", "top5", "identical")
    return {name: evaluation.get(name) for name in names}
