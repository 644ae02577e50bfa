"""What the API answers, for its description (OpenAPI)."""

from pydantic import BaseModel, Field


class Ranked(BaseModel):
    """A label and its probability."""

    label: str
    probability: float


class Neighbour(BaseModel):
    """A training photograph that is near."""

    path: str = Field(description="of the photograph, as the run has read it")
    label: str
    distance: float = Field(description="Euclidean, between the components")
    thumbnail: str | None = Field(None, description="JPEG in base64, with `thumbnails=true`")


class Prediction(BaseModel):
    """What the model says of one photograph; only `file` and `error` where it cannot be used."""

    file: str = Field(description="name of the file, as it was sent")
    error: str | None = Field(None, description="why there is no prediction")
    label: str | None = Field(None, description="the most probable label")
    confidence: float | None = Field(None, description="its calibrated probability, 0 to 1")
    unknown: bool | None = Field(
        None, description="whether it is unlike all that the model has learned from"
    )
    distance: float | None = Field(
        None, description="Mahalanobis distance to the nearest label's mean, which decides that"
    )
    top: list[Ranked] | None = Field(None, description="up to five labels, the best first")
    neighbours: list[Neighbour] | None = Field(None, description="the five nearest")
    components: list[float] | None = Field(None, description="with `components=true`")
    version: str | None = Field(None, description="of the model that said it")


class Predictions(BaseModel):
    """What the model says of the photographs of a request, in their order."""

    model: str
    predictions: list[Prediction]
    kept: int = Field(0, description="photographs that were kept, with consent")


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str


class Measured(BaseModel):
    """How good the model is, by one scheme."""

    scheme: str
    images: int
    accuracy: float
    top5: float | None = None
    identical: int | None = Field(
        None, description="of these, images that training has too, byte for byte"
    )


class Model(BaseModel):
    """The model that answers."""

    name: str
    version: str
    backbone: str
    labels: list[str]
    images: int = Field(description="training photographs")
    data: str = Field(description="the folder they come from")
    evaluation: list[Measured]
    threshold: float | None = Field(None, description="distance above which one is unknown")
    computed_by: str = Field(description="engine, precision and instructions")
    fruits: str = Field(description="version of this program")
    credit: str = Field(description="licence of the training photographs")
    keeps_uploads: bool = Field(description="whether photographs are kept, with consent")
    max_file: int = Field(description="bytes of one photograph")
    max_files: int = Field(description="photographs of one request")
    max_body: int = Field(description="bytes of one request")


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[object] | None = None
    parameters: dict[str, object] | None = None


class Wanted(BaseModel):
    """An output that is asked for."""

    name: str


class InferRequest(BaseModel):
    """A request of the Open Inference Protocol: one tensor `image` of datatype BYTES."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[Wanted] | None = None


class InferResponse(BaseModel):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]
