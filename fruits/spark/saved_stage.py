"""The stages of a saved pipeline as plain values, without a SparkSession and without Java.

Most classes of Spark ML are handles of Java objects. To write the files of a stage, the name of its
class, its parameters and its learned values are enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pyspark.ml.feature import Normalizer
from pyspark.ml.linalg import DenseMatrix, DenseVector, MatrixUDT, VectorUDT
from pyspark.ml.param import Params
from pyspark.ml.param.shared import HasOutputCol
from pyspark.ml.wrapper import JavaModel, JavaTransformer
from pyspark.sql.types import DataType

from fruits.networks.graph import CompiledGraph

# The type, nullability and value of each column, by Spark's name.
Columns = dict[str, tuple[DataType, bool, Any]]

# The parameters that name columns which a stage adds.
_OUTPUTS = ("outputCol", "rawPredictionCol", "probabilityCol", "predictionCol")


@dataclass(frozen=True)
class SavedStage:
    """A stage of a saved pipeline.

    Attributes:
        class_name: The class, as in Spark's metadata: that of Java, or of Python for our own.
        uid: The name of the stage, which is unique.
        params: The parameters that are set, by name.
        defaults: The defaults of the parameters, by name.
        learned: The learned values: a table of one row.
        graph: The compiled backbone of an ``ImageFeaturizer``.
    """

    class_name: str
    uid: str
    params: dict[str, Any]
    defaults: dict[str, Any]
    learned: Columns = field(default_factory=dict)
    graph: CompiledGraph | None = None

    @property
    def outputs(self) -> list[str]:
        """The columns that the stage adds."""
        values = self.defaults | self.params
        return [values[name] for name in _OUTPUTS if name in values]


def spark_stage(
    kind: type[JavaTransformer], learned: Columns | None = None, **params: Any
) -> SavedStage:
    """A transformer or fitted model of Spark ML, with the names and defaults that Spark gives it.

    Args:
        kind: The class in PySpark.
        learned: The values that Spark's estimator would learn.
        params: The parameters that are set.
    """
    name = kind.__name__
    # A model has the name of its estimator.
    uid = new_uid(name.removesuffix("Model"))
    defaults: dict[str, Any] = {}
    if issubclass(kind, JavaModel):
        # Spark, too, makes a model without its Java object, before it reads one from files.
        defaults = _by_name(kind()._defaultParamMap)
    elif kind is Normalizer:
        # An object of a transformer that is no model cannot be made without Java.
        defaults = {"p": 2.0}
    if issubclass(kind, HasOutputCol):
        defaults["outputCol"] = f"{uid}__output"
    # PySpark's modules have the names of the Java packages.
    class_name = f"org.apache.spark{kind.__module__.removeprefix('pyspark')}.{name}"
    return SavedStage(class_name, uid, params, defaults, learned or {})


def own_stage(stage: Params, graph: CompiledGraph | None = None) -> SavedStage:
    """A transformer of `fruits.spark.ml_stages`; these are objects of Python alone."""
    class_name = f"{type(stage).__module__}.{type(stage).__name__}"
    params, defaults = _by_name(stage._paramMap), _by_name(stage._defaultParamMap)
    return SavedStage(class_name, stage.uid, params, defaults, graph=graph)


def new_uid(name: str) -> str:
    """A unique name, in Spark's form."""
    return f"{name}_{uuid4().hex[-12:]}"


def vectors(**values: Any) -> Columns:
    """Columns of one dense vector each, from arrays."""
    return {name: (VectorUDT(), True, DenseVector(value)) for name, value in values.items()}


def matrix(**values: DenseMatrix) -> Columns:
    """Columns of one dense matrix each."""
    return {name: (MatrixUDT(), True, value) for name, value in values.items()}


def _by_name(values: dict[Any, Any]) -> dict[str, Any]:
    return {param.name: value for param, value in values.items()}
