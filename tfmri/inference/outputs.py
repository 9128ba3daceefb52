"""A model's raw outputs for chosen rows, nobody dropped, in the order asked for."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfmri.pipeline.dataset import filled_up, make_distributed_reader
from tfmri.pipeline.samples import Samples


def make_predictor(
    model, samples: Samples, batch_size: int, strategy: tf.distribute.Strategy, forward: Callable | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from row numbers to the model's outputs.

    Args:
        model: a Keras model from (batch, x, y, z, channel) to (batch, outputs).
        samples: all scans.
        batch_size: over all devices together.
        strategy: where the model's variables live.
        forward: from images to what is asked of the model, (batch, ...), in place of its outputs (`views`).

    Returns:
        A function of (n,) rows that returns (n, outputs) float32, or (n, ...) of `forward`, row by row as given.
    """
    forward = forward or (lambda images: model(tf.cast(images, tf.float32), training=False))

    read = make_distributed_reader(samples, batch_size, strategy)

    @tf.function
    def predict_batch(batch):
        def on_replica(batch):
            found = batch["row"], forward(batch["image"])
            if strategy.num_replicas_in_sync == 1:
                return found
            context = tf.distribute.get_replica_context()
            return tuple(context.all_gather(tf.identity(each), axis=0) for each in found)

        found = strategy.run(on_replica, args=(batch,))
        return [strategy.experimental_local_results(each)[0] for each in found]

    def predict(rows: np.ndarray) -> np.ndarray:
        padded = filled_up(np.asarray(rows, np.int64), batch_size)
        seeds = np.zeros((len(padded), 2), np.int32)
        seen, outputs = [], []
        for batch in read(padded, seeds):
            batch_rows, batch_outputs = predict_batch(batch)
            seen.append(batch_rows.numpy())
            outputs.append(batch_outputs.numpy())
        if not np.array_equal(np.concatenate(seen), padded):
            raise RuntimeError("the pipeline returned other rows than were asked for")
        return np.concatenate(outputs)[: len(rows)]

    return predict
