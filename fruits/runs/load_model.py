"""Loads the model of a finished run: only classes that we save, only files that the run wrote.

Spark's ``PipelineModel.load`` imports any class that the metadata names, and so runs its code.
"""

import hashlib
import json

from pyspark.ml import PipelineModel

from fruits.errors import OutputError
from fruits.runs.outputs import Outputs
from fruits.runs.run_json import read
from fruits.spark.failures import spark_errors

# The classes of the stages that a run saves, as in their metadata.
CLASSES = frozenset(
    [
        "org.apache.spark.ml.PipelineModel",
        "pyspark.ml.pipeline.PipelineModel",
        *(
            f"org.apache.spark.ml.feature.{name}Model"
            for name in ("StringIndexer", "MinMaxScaler", "StandardScaler", "PCA")
        ),
        "org.apache.spark.ml.classification.LogisticRegressionModel",
        "org.apache.spark.ml.feature.IndexToString",
        "org.apache.spark.ml.feature.Normalizer",
        *(
            f"fruits.spark.ml_stages.{name}"
            for name in ("PathToLabel", "ImageFeaturizer", "InvalidToNull", "SignedSqrt")
        ),
    ]
)


def load_model(output: str) -> PipelineModel:
    """Checks the files of the saved model of a finished run, and loads it.

    Each file must be listed in ``run.json`` with the same SHA-256, and each stage must be of a
    class that a run saves. This does not protect from somebody who may write to the output, since
    they can change both the model and ``run.json``.

    Args:
        output: The path or URI of the run's output. Special characters are not patterns.

    Raises:
        ConfigError: There is no finished run.
        OutputError: A file of the model is missing, changed or added, or a stage is of another
            class; or run.json is damaged.
        FruitsError: Spark cannot read the model, for a reason that the caller can fix.
    """
    outputs = Outputs.of(output)
    digests: dict[str, str] = read(outputs.root, "model").get("sha256") or {}
    if not digests:
        raise OutputError(
            f"model: wanted a run.json with the digests of the model; that in {output} is of an "
            "earlier version: run fruits run there again; the features are reused"
        )
    record = outputs.record()
    # Spark reads every file with the name of a part in these folders.
    there = {name for name in record.files("model") if record.owns(name) or "/part-" in name}
    contents = {name: outputs.read(name) for name in there}
    for name in sorted(there | digests.keys()):
        if name not in contents or hashlib.sha256(contents[name]).hexdigest() != digests.get(name):
            raise OutputError(
                f"model: {outputs.uri(name)} is not the file that the run wrote: run fruits run "
                "there again; the features are reused"
            )
        if "/metadata/part-" in name and not name.rpartition("/")[2].startswith("."):
            _require_known_class(outputs.uri(name), contents[name])
    with spark_errors():
        return PipelineModel.load((outputs.root / "model").for_spark)


def _require_known_class(place: str, metadata: bytes) -> None:
    try:
        found = json.loads(metadata)["class"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found not in CLASSES:
        raise OutputError(
            f"model: wanted a stage that a run saves; {place} names the class {found!r}, and "
            "loading it would run its code"
        )
