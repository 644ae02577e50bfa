"""The networks that can be chosen by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """Where a network comes from.

    Attributes:
        module: has the ``preprocess_input`` that belongs to the network, and its constructor (or
            ``keras.applications`` has), which carries the backbone's name and takes the arguments
            of Keras Applications. Weights that a package brings along are told by
            ``weights_file``.
        side: height and width of the input, in pixels.
    """

    module: str
    side: int = 224


# A network of Keras Applications is one line here.
BACKBONES = {
    "MobileNetV2": Backbone("keras.applications.mobilenet_v2"),
    "MobileNetV3Large": Backbone("keras.applications.mobilenet_v3"),
    "ResNet50": Backbone("keras.applications.resnet"),
    "ResNet50V2": Backbone("keras.applications.resnet_v2"),
    "EfficientNetB0": Backbone("keras.applications.efficientnet"),
    "EfficientNetV2B0": Backbone("keras.applications.efficientnet_v2"),
    "InceptionV3": Backbone("keras.applications.inception_v3", side=299),
    "VGG16": Backbone("keras.applications.vgg16"),
    "EfficientNetLite0": Backbone("fruits.networks.efficientnet_lite"),
}
