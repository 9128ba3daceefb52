"""Several looks of one model at the same scan: mirrored, and with dropout left on.

Sources: averaging over mirrored images, as Krizhevsky et al. 2012 tested; dropout at test time as draws from an
approximate posterior, Gal & Ghahramani 2016, ICML.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfmri.errors import InputError, Problem


@dataclass(frozen=True)
class Views:
    """Which looks are taken beside the plain one.

    Args:
        mirrored: the image with left and right exchanged as well; the prediction is the mean of both.
        dropout_draws: so many with dropout on. They say how sure the model is, and do not change the prediction.
    """

    mirrored: bool = False
    dropout_draws: int = 0

    @property
    def averaged(self) -> int:
        """How many of the looks, the first ones, the prediction is the mean of."""
        return 1 + self.mirrored

    @property
    def in_words(self) -> str:
        """What a person asked for; empty for the plain look alone."""
        asked = ["each scan averaged with its mirror image"] * self.mirrored
        asked += [f"{self.dropout_draws} draws with dropout"] * bool(self.dropout_draws)
        return ", ".join(asked)


PLAIN = Views()


def make_forward(model, views: Views) -> Callable:
    """A function from images (batch, x, y, z, channel) to what the model says of each look, (batch, looks, outputs).

    The looks are the plain one, the mirrored one if asked for, then the draws, whose masks follow from the seeds that
    the model was saved with: the same calls in the same order give the same draws. Of the model, only dropout is left
    on: normalisation keeps its running statistics.

    Raises:
        InputError: draws of a model without dropout.
    """
    import keras
    import tensorflow as tf

    if views.dropout_draws:
        layers = list(_layers(model))
        if not any(getattr(layer, "rate", 0) for layer in layers):
            advice = "Train one with model.dropout, or several with --seeds"
            raise InputError(Problem("--dropout-draws", "this model has no dropout", "one with it", advice))
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # then `training=True` does not reach it

    def forward(images):
        images = tf.cast(images, tf.float32)
        looks = [model(images, training=False)]
        if views.mirrored:
            looks.append(model(tf.reverse(images, [1]), training=False))
        looks += [model(images, training=True) for _ in range(views.dropout_draws)]
        return tf.stack([tf.cast(look, tf.float32) for look in looks], axis=1)

    return forward


def _layers(model) -> Iterator:
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]
