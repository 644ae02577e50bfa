"""The requests and responses of the API, for its description (OpenAPI)."""

from pydantic import BaseModel, Field


class Ranked(BaseModel):
    """A label and its probability."""

    label: str
    probability: float


class Neighbour(BaseModel):
    """A nearby training photograph."""

    path: str = Field(description="path of the photograph in the run")
    label: str
    distance: float = Field(description="Euclidean distance between the components")
    thumbnail: str | None = Field(None, description="JPEG in base64, with `thumbnails=true`")


class Prediction(BaseModel):
    """The prediction of one photograph; only `file`, `error` and `version` if it cannot be used."""

    file: str = Field(description="name of the file, as sent")
    error: str | None = Field(None, description="why there is no prediction")
    label: str | None = Field(None, description="the most probable label")
    confidence: float | None = Field(None, description="its calibrated probability, 0 to 1")
    unknown: bool | None = Field(
        None, description="whether it differs from all training photographs"
    )
    distance: float | None = Field(
        None, description="Mahalanobis distance to the nearest label, which decides `unknown`"
    )
    top: list[Ranked] | None = Field(None, description="up to five labels, the best first")
    neighbours: list[Neighbour] | None = Field(None, description="the five nearest")
    components: list[float] | None = Field(None, description="with `components=true`")
    version: str | None = Field(None, description="version of the model")


class Predictions(BaseModel):
    """The predictions of the photographs of a request, in order."""

    model: str
    predictions: list[Prediction]
    kept: int = Field(0, description="photographs that were stored, with consent")


class Problem(BaseModel):
    """The reason for refusing a request."""

    error: str


class Measured(BaseModel):
    """An evaluation of the model."""

    scheme: str
    images: int
    accuracy: float
    top5: float | None = None
    identical: int | None = Field(
        None, description="images that are byte-identical to training images"
    )


class Model(BaseModel):
    """The present model."""

    name: str
    version: str
    backbone: str
    labels: list[str]
    images: int = Field(description="number of training photographs, all with a label")
    data: str = Field(description="folder of the training photographs")
    evaluation: list[Measured]
    groups_by: dict[str, int] | None = Field(
        None,
        description="number of labels by the rule for the groups of the cross-validation: "
        "expression, source, folder, film (files with the same leading letters), block (files "
        "with neighbouring names) or single (one image)",
    )
    threshold: float | None = Field(
        None, description="distance above which a photograph is unknown"
    )
    computed_by: str = Field(description="engine, precision and instruction set")
    fruits: str = Field(description="version of this program")
    credit: str = Field(description="licence of the training photographs")
    keeps_uploads: bool = Field(description="whether photographs are stored, with consent")
    max_file: int = Field(description="maximum bytes of one photograph")
    max_files: int = Field(description="maximum number of photographs in one request")
    max_body: int = Field(description="maximum bytes of one request")


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[object] | None = None
    parameters: dict[str, object] | None = None


class Wanted(BaseModel):
    """A requested output."""

    name: str


class InferRequest(BaseModel):
    """A request of the Open Inference Protocol: one tensor `image` of datatype BYTES."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[Wanted] | None = None


class InferResponse(BaseModel):
    """A response of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]
