"""The catalogue of networks that can be chosen by name."""

import os
import re
from dataclasses import dataclass

from fruits.errors import BackboneError
from fruits.networks.graph import InputSpec

_DEFAULT = InputSpec()


@dataclass(frozen=True)
class Backbone:
    """A network of the catalogue.

    Attributes:
        module: The module with the network's ``preprocess_input`` and its constructor, which may
            also be in ``keras.applications``. The constructor has the name of the backbone and the
            arguments of Keras Applications. A module whose weights are in an installed package
            has a function ``weights_file`` that returns their path.
        dimension: The number of features.
        input: The input of the network.
    """

    module: str
    dimension: int
    input: InputSpec = _DEFAULT


# To add a network of Keras Applications, add one line here.
BACKBONES = {
    "MobileNetV2": Backbone("keras.applications.mobilenet_v2", 1280),
    "MobileNetV3Large": Backbone("keras.applications.mobilenet_v3", 960),
    "ResNet50": Backbone("keras.applications.resnet", 2048),
    "ResNet50V2": Backbone("keras.applications.resnet_v2", 2048),
    "EfficientNetB0": Backbone("keras.applications.efficientnet", 1280),
    "EfficientNetV2B0": Backbone("keras.applications.efficientnet_v2", 1280),
    "InceptionV3": Backbone("keras.applications.inception_v3", 2048, InputSpec(299)),
    "VGG16": Backbone("keras.applications.vgg16", 512),
    "EfficientNetLite0": Backbone("fruits.networks.efficientnet_lite", 1280),
}


class Backbones(tuple[str, ...]):
    """The names that can be chosen; a folder with a network is also a valid choice."""

    def __contains__(self, value: object) -> bool:
        return is_known(value)


def is_known(backbone: object) -> bool:
    """Whether this is the name of a network, or may be the path or URI of a folder."""
    if not isinstance(backbone, str) or not backbone:
        return False
    is_place = "/" in backbone or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", backbone) is not None
    return backbone in BACKBONES or is_place or os.path.isdir(backbone)


CHOICES = Backbones(BACKBONES)


def require_known(backbone: object) -> None:
    """Checks that this is the name of a network or a folder.

    Raises:
        BackboneError: it is neither; the message lists the names.
    """
    if not is_known(backbone):
        raise BackboneError(
            f"backbone: wanted one of {', '.join(BACKBONES)}, or a folder with a network; "
            f"got {backbone!r}"
        )
