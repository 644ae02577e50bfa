"""Random but reproducible weights, for trials without trained weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

RANDOM_SEED = 0


def random_model(build: Callable[[str | None], Any], preprocess: Callable[[Any], Any]) -> Any:
    """Sets seeded weights, with batch-norm statistics that keep features of order one.

    Without these statistics, the activations of a deep untrained network approach zero. Each layer
    gets one rounded variance for all its channels, so that the weights hardly depend on the
    machine.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(RANDOM_SEED)
    tf.config.experimental.enable_op_determinism()
    model = build(None)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.call = _calibrating(norm)
    # Smooth pictures like photographs, because noise would cause much larger activations.
    coarse = np.random.default_rng(RANDOM_SEED).integers(0, 256, (4, 6, 6, 3), np.uint8)
    size = model.input_shape[1:3]
    pixels = np.stack([np.asarray(Image.fromarray(few).resize(size)) for few in coarse])
    model(preprocess(tf.constant(pixels, tf.float32)), training=False)
    for norm in norms:
        del norm.call
    return model


def _calibrating(norm: Any) -> Callable[..., Any]:
    """A call of a batch normalisation that first sets its variance to that of its input."""
    call = norm.call

    def calibrating_call(inputs: Any, **options: Any) -> Any:
        # The geometric mean over images, because networks with gates amplify differences.
        variance = float(f"{np.exp(np.mean(np.log(np.mean(np.square(inputs), (1, 2, 3))))):.1e}")
        norm.moving_variance.assign(np.full(norm.moving_variance.shape, variance))
        return call(inputs, **options)

    return calibrating_call
