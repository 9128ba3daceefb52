"""tf.data from prepared scans: rows -> read -> decode -> batch [-> augment] -> prefetch, with no Python per scan.

One element, batch first:

    image       (batch, x, y, z, channel) float16, as prepared, on the fit's standard scale if it has one; where the
                batches are augmented here, float32
    row         (batch,) int64, row of the table of scans: predictions find their subject by it
    seed        (batch, 2) int32, for the augmentation of this sample in this epoch
    background  (batch, channel) float32, the intensity with which this image is padded
    target      (batch, ...) as the task encodes it
    weight      (batch,) float32
"""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfmri.pipeline.samples import Samples
from tfmri.pipeline.standard import map_to_standard

Element = dict[str, tf.Tensor]
Reader = Callable[[np.ndarray, np.ndarray], Iterator[Element]]  # (n,) rows, (n, 2) seeds -> batches of them in order
READERS = 4  # files read at a time: enough to hide a network disk's latency, whatever the number of cores


def batches(
    samples: Samples, rows: np.ndarray, seeds: np.ndarray, batch_size: int, augment: Callable | None = None
) -> tf.data.Dataset:
    """Batches of `rows` in their order; what does not fill a batch is dropped, so give full batches (`filled_up`).

    Args:
        samples: all scans.
        rows: (n,) int64.
        seeds: (n, 2) int32.
        batch_size: over all devices together.
        augment: (images, seeds, backgrounds) -> float32 images, applied to whole batches on the host before devices
            share them; None leaves the images as they are.

    Returns:
        A dataset of the elements described above, shapes static.
    """
    source = tf.data.Dataset.from_tensor_slices((rows.astype(np.int64), seeds.astype(np.int32)))
    return _elements(source, samples, batch_size, augment)


def make_reader(samples: Samples, batch_size: int, augment: Callable | None = None) -> Reader:
    """A function from rows and seeds to their batches, for one device; arguments as those of `batches`.

    Its dataset is built once. One built anew for every epoch leaves half a megabyte of graph behind each time, which
    TensorFlow does not give back.
    """
    with tf.device("CPU:0"):
        rows = tf.Variable(tf.zeros([0], tf.int64), trainable=False, shape=[None])
        seeds = tf.Variable(tf.zeros([0, 2], tf.int32), trainable=False, shape=[None, 2])
    source = tf.data.Dataset.from_tensors(0).flat_map(
        lambda _: tf.data.Dataset.from_tensor_slices((rows.value(), seeds.value()))
    )
    dataset = _elements(source, samples, batch_size, augment)

    def read(new_rows: np.ndarray, new_seeds: np.ndarray) -> Iterator[Element]:
        rows.assign(new_rows.astype(np.int64))
        seeds.assign(new_seeds.astype(np.int32))
        return iter(dataset)

    return read


def _elements(source: tf.data.Dataset, samples: Samples, batch_size: int, augment: Callable | None) -> tf.data.Dataset:
    """What `batches` gives, from a dataset of (row, seed)."""
    names = tf.constant(samples.files)
    targets, weights = tf.constant(samples.targets), tf.constant(samples.weights)
    backgrounds = tf.constant(samples.backgrounds)
    scales = None
    if samples.standard is not None:
        scales = tf.constant(samples.landmarks, tf.float32), tf.constant(samples.standard, tf.float32)
    size = 2 * int(np.prod(samples.shape))  # bytes of the float16 voxels, which end the file

    def read(row: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        content = tf.io.read_file(names[row])
        voxels = tf.io.decode_raw(tf.strings.substr(content, -size, size), tf.float16)
        image, background = tf.reshape(voxels, samples.shape), backgrounds[row]
        if scales:
            own, standard = scales[0][row], scales[1]
            image = map_to_standard(image, own, standard)
            air = map_to_standard(tf.cast(background, tf.float16), own, standard)  # as the voxels of air come out
            background = tf.cast(air, tf.float32)
        return {
            "image": image,
            "row": row,
            "seed": seed,
            "background": background,
            "target": targets[row],
            "weight": weights[row],
        }

    dataset = source.map(read, num_parallel_calls=READERS, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    if augment is not None:
        dataset = dataset.map(
            lambda batch: batch | {"image": augment(batch["image"], batch["seed"], batch["background"])}
        )
    dataset = dataset.prefetch(2)
    options = tf.data.Options()
    # Autotuning sleeps 10 ms, then twice as long each time, and an iterator that ends waits for it to wake: seconds an
    # epoch. It also plans with half of the host's memory, far above a job's share.
    options.autotune.enabled = False
    return dataset.with_options(options)


def make_distributed_reader(
    samples: Samples,
    batch_size: int,
    strategy: tf.distribute.Strategy,
    augment: Callable | None = None,
    accumulation: int = 1,
) -> Reader:
    """A function from rows and seeds to their batches, each cut into as many equal parts as there are devices.

    A process reads the parts of its own devices. Whatever the number of devices, they see the same samples at a time:
    of a batch of 8 and two micro-batches, two devices get samples 0 1 4 5 and 2 3 6 7. Synchronised normalisation takes
    its statistics over those 0 1 2 3, as one device does.

    Every device has a dataset of its own. What a strategy would put around one for all tunes itself, with a thread that
    sleeps twice as long each time, and every epoch would end with waiting for it: 29 s of 57 with four devices.

    Args:
        batch_size: over all devices together, a multiple of their number and of the micro-batches'.
        accumulation: micro-batches into which each device cuts its part; the others as `batches` takes them.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return make_reader(samples, batch_size, augment)
    own: list[int] = []
    strategy.experimental_distribute_values_from_function(lambda context: own.append(context.replica_id_in_sync_group))
    readers = [make_reader(samples, batch_size // replicas, augment) for _ in own]

    def read(rows: np.ndarray, seeds: np.ndarray) -> Iterator[Element]:
        places = np.arange(len(rows)).reshape(-1, accumulation, replicas, batch_size // (replicas * accumulation))
        parts = [places[:, :, replica].ravel() for replica in own]
        sources = [reader(rows[part], seeds[part]) for reader, part in zip(readers, parts, strict=True)]
        for elements in zip(*sources, strict=True):
            each = iter(elements)
            yield strategy.experimental_distribute_values_from_function(lambda context, each=each: next(each))

    return read


def filled_up(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """`rows`, with the last one repeated until they fill whole batches.

    Evaluation must drop nobody, and an uneven batch breaks collectives of several devices: whoever uses this takes the
    first `len(rows)` of the results.
    """
    missing = -len(rows) % batch_size
    return np.concatenate([rows, np.repeat(rows[-1:], missing)])
