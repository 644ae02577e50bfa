"""Spark ML transformers for labels, features and the classifier's transform, which can be saved."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.feature import Normalizer
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasHandleInvalid, HasInputCol, HasInputCols, HasOutputCol
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.networks.graph import CompiledGraph
from fruits.sources.naming import Naming
from fruits.spark.featurized import FEATURIZED, with_features
from fruits.spark.read_images import label_of

# A compiled graph is saved in pieces: one row of hundreds of megabytes is more than Parquet likes.
BLOCK_BYTES = 8 << 20

# The column with the box of a row, where the network has a detector.
BOX = "box"


class HasErrorCol(Params):
    """Mixin for the column of the reasons why an image has no features, string."""

    errorCol: Param[str] = Param(  # noqa: N815
        Params._dummy(),
        "errorCol",
        "column of the reasons why an image has no features",
        typeConverter=TypeConverters.toString,
    )

    def getErrorCol(self) -> str:  # noqa: N802
        """The name of the column of reasons."""
        return self.getOrDefault(self.errorCol)


class PathToLabel(
    Transformer,
    HasInputCol,
    HasOutputCol,
    DefaultParamsReadable["PathToLabel"],
    DefaultParamsWritable,
):
    """The label of an image, from its path.

    A dataset without the column of paths is returned unchanged, so a saved model also works with
    contents alone.

    Args:
        inputCol: column of paths or URIs, string; by default ``path``.
        outputCol: column of labels, string; by default ``label``.
        rule: ``parent`` (the default) or ``grandparent`` for the name of that folder, or a regular
            expression of Python with a group named ``label``.
        split: the rule for the sides of the split; by default ``auto``, where the name of a folder
            that names a side is no label.
    """

    rule: Param[str] = Param(
        Params._dummy(),
        "rule",
        "parent, grandparent, or a regular expression with a group named label",
        typeConverter=TypeConverters.toString,
    )
    split: Param[str] = Param(
        Params._dummy(),
        "split",
        "auto, none or column:NAME: with auto, a folder that names a side is no label",
        typeConverter=TypeConverters.toString,
    )

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str = "path",  # noqa: N803
        outputCol: str = "label",  # noqa: N803
        rule: str = "parent",
        split: str = "auto",
    ) -> None:
        super().__init__()
        self._setDefault(inputCol="path", outputCol="label", rule="parent", split="auto")
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]

    def _transform(self, dataset: DataFrame) -> DataFrame:
        if not has_column(dataset, self.getInputCol()):
            return dataset
        rules = Naming(self.getOrDefault(self.rule), self.getOrDefault(self.split))
        path = F.col(self.getInputCol())
        return dataset.withColumn(self.getOutputCol(), label_of(path, rules))


class ImageFeaturizer(
    Transformer,
    HasInputCol,
    HasOutputCol,
    HasHandleInvalid,
    HasErrorCol,
    MLReadable["ImageFeaturizer"],
    MLWritable,
):
    """Contents of image files -> features, with a compiled backbone.

    The graph is part of the transformer and saved with it: applying it needs neither Keras nor
    TensorFlow (engine ``openvino``) nor the weights' file. If it has a detector, a photograph
    becomes one row for each box, and the column ``box`` says which: ``#xywh=left,top,width,height``
    in pixels. A photograph without a box is an image without features.

    Args:
        graph: the backbone, from :func:`fruits.networks.compile.compile_backbone`.
        inputCol: column of contents, binary; by default ``content``.
        outputCol: column of features, vector of ``graph.dimension``; by default ``features``.
        errorCol: column of the reasons why an image has no features, string; it is null where there
            are features. By default ``error``; ``handleInvalid`` "keep" and "nan" write it.
        handleInvalid: what becomes of an image without features: ``error`` (the default) fails the
            job with the reason, ``skip`` leaves the row out, ``keep`` gives null features, ``nan``
            gives NaN features, which Spark's models accept, unlike null.
    """

    @keyword_only
    def __init__(
        self,
        *,
        graph: CompiledGraph | None = None,
        inputCol: str = "content",  # noqa: N803
        outputCol: str = "features",  # noqa: N803
        errorCol: str = "error",  # noqa: N803
        handleInvalid: str = "error",  # noqa: N803
    ) -> None:
        super().__init__()
        self._setDefault(
            inputCol="content", outputCol="features", errorCol="error", handleInvalid="error"
        )
        settings = dict(self._input_kwargs)  # type: ignore[attr-defined]
        self.graph: CompiledGraph | None = settings.pop("graph", None)
        self._set(**settings)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        if self.graph is None:
            raise ValueError("ImageFeaturizer: wanted a compiled graph; give graph=...")
        strict = self.getHandleInvalid() == "error"
        rows = with_features(dataset, self.getInputCol(), self.graph, strict)
        if self.graph.detector:
            rows = rows.withColumn(BOX, F.col(f"{FEATURIZED}.box"))
        if self.getHandleInvalid() == "skip":
            rows = rows.where(f"{FEATURIZED}.error is null")
        vector = F.when(
            F.col(f"{FEATURIZED}.error").isNull(), array_to_vector(F.col(f"{FEATURIZED}.features"))
        )
        if self.getHandleInvalid() == "nan":
            nan = F.array_repeat(F.lit(float("nan")), self.graph.dimension)
            vector = vector.otherwise(array_to_vector(nan))
        rows = rows.withColumn(self.getOutputCol(), vector)
        if self.getHandleInvalid() in ("keep", "nan"):
            rows = rows.withColumn(self.getErrorCol(), F.col(f"{FEATURIZED}.error"))
        return rows.drop(FEATURIZED)

    def write(self) -> MLWriter:
        """Saves the parameters and the compiled graph."""
        return _FeaturizerWriter(self)

    @classmethod
    def read(cls) -> "MLReader[ImageFeaturizer]":
        """Loads what :meth:`write` saved."""
        return _FeaturizerReader()


class InvalidToNull(
    Transformer,
    HasInputCols,
    HasErrorCol,
    DefaultParamsReadable["InvalidToNull"],
    DefaultParamsWritable,
):
    """Sets what was computed for an image without features to null; its row stays.

    Args:
        inputCols: columns that become null where ``errorCol`` is not null; missing ones are
            skipped.
        errorCol: column of the reasons, string; by default ``error``.
    """

    @keyword_only
    def __init__(self, *, inputCols: list[str] | None = None, errorCol: str = "error") -> None:  # noqa: N803
        super().__init__()
        self._setDefault(inputCols=[], errorCol="error")
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]

    def _transform(self, dataset: DataFrame) -> DataFrame:
        good = F.col(self.getErrorCol()).isNull()
        names = [name for name in self.getInputCols() if has_column(dataset, name)]
        return dataset.withColumns({name: F.when(good, F.col(name)) for name in names})


class SignedSqrt(
    Transformer,
    HasInputCol,
    HasOutputCol,
    DefaultParamsReadable["SignedSqrt"],
    DefaultParamsWritable,
):
    """The square root of each number of a vector, with the number's sign.

    Numbers are rounded to float32 before and after, as features are when a classifier with the
    transform "sqrt" or "sqrt-l2" is fitted.

    Args:
        inputCol: column of vectors; by default ``features``.
        outputCol: column of vectors; by default ``mapped``.
    """

    @keyword_only
    def __init__(self, *, inputCol: str = "features", outputCol: str = "mapped") -> None:  # noqa: N803
        super().__init__()
        self._setDefault(inputCol="features", outputCol="mapped")
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]

    def _transform(self, dataset: DataFrame) -> DataFrame:
        numbers = vector_to_array(F.col(self.getInputCol()), "float32")
        roots = F.transform(numbers, _signed_root)
        return dataset.withColumn(self.getOutputCol(), array_to_vector(roots))


def _signed_root(number: Column) -> Column:
    # Rounding the float64 root gives the exact float32 root: 2 x 24 + 2 bits are enough.
    return (F.signum(number) * F.sqrt(F.abs(number))).cast("float")


_Stage = tuple[type[SignedSqrt | Normalizer], dict[str, Any]]

_ROOT: _Stage = (SignedSqrt, {})
# Like our transform, Normalizer does not change vectors of zeros.
_UNIT: _Stage = (Normalizer, {"p": 2.0, "inputCol": "mapped", "outputCol": "normalized"})

TRANSFORM_STAGES = {"none": list[_Stage](), "sqrt": [_ROOT], "sqrt-l2": [_ROOT, _UNIT]}
"""For each of `fruits.classify.transforms.TRANSFORMS`: the classes and parameters of the stages."""


def transform_stages(transform: str) -> list[SignedSqrt | Normalizer]:
    """The stages, in order, that transform vectors of `features` for a classifier.

    Args:
        transform: one of `fruits.classify.transforms.TRANSFORMS`; "none" needs no stages.
    """
    return [kind(**params) for kind, params in TRANSFORM_STAGES[transform]]


def has_column(dataset: DataFrame, name: str) -> bool:
    """Whether Spark finds a column of this name, by the session's rule for upper and lower case."""
    if dataset.sparkSession.conf.get("spark.sql.caseSensitive") == "true":
        return name in dataset.columns
    return name.lower() in (column.lower() for column in dataset.columns)


class _FeaturizerWriter(MLWriter):
    def __init__(self, instance: ImageFeaturizer) -> None:
        super().__init__()
        self.instance = instance

    def saveImpl(self, path: str) -> None:  # noqa: N802
        assert self.instance.graph is not None
        spark = self.sparkSession
        DefaultParamsWriter.saveMetadata(self.instance, path, spark)
        data = spark.sparkContext.broadcast(self.instance.graph.to_bytes())

        def blocks(_: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for number, start in enumerate(range(0, len(data.value), BLOCK_BYTES)):
                block = data.value[start : start + BLOCK_BYTES]
                yield pa.record_batch({"number": pa.array([number], pa.int32()), "block": [block]})

        one_task = spark.range(0, 1, 1, 1).mapInArrow(blocks, "number int, block binary")
        one_task.write.parquet(f"{path}/graph")


class _FeaturizerReader(MLReader[ImageFeaturizer]):
    def load(self, path: str) -> ImageFeaturizer:
        spark: SparkSession = self.sparkSession
        metadata: dict[str, Any] = DefaultParamsReader.loadMetadata(path, spark)
        blocks = spark.read.parquet(f"{path}/graph").orderBy("number").collect()
        data = b"".join(bytes(row.block) for row in blocks)
        instance = ImageFeaturizer(graph=CompiledGraph.from_bytes(data))
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        return instance
