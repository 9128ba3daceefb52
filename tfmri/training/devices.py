"""The devices a model trains on, and what makes its arithmetic repeatable."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmri.errors import InputError, Problem
from tfmri.machine import processors
from tfmri.training.startup import held_back


def set_up(
    devices: Sequence[str] | None, threads: int | None, deterministic: bool, seed: int
) -> tf.distribute.Strategy:
    """Prepares TensorFlow, once a process and before any of its operations, and gives the strategy to train under.

    Several devices share each batch (MirroredStrategy); one needs no strategy. `CPU:1` and so on are made where they
    are asked for, as logical devices of the one processor.

    With `deterministic`, the same seed gives the same bits on CPU. Deterministic operations alone do not suffice there:
    operations running side by side add up gradients in varying order, hence one of them at a time, and each of them on
    all threads.

    Args:
        devices: such as ``["GPU:0", "GPU:1"]``; None for all GPUs, else the CPU.
        threads: of one operation; None for one per usable core.
        deterministic: whether equal seeds have to give equal weights.
        seed: of Python, NumPy and TensorFlow, for weights and dropout.

    Raises:
        InputError: if a device is not there.
    """
    keras.utils.set_random_seed(seed)
    tf.config.threading.set_intra_op_parallelism_threads(threads or processors())
    if deterministic:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [name.upper() for name in devices or ()]
    wanted_cpus = sum(name.startswith("CPU") for name in names)
    if wanted_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * wanted_cpus
        tf.config.set_logical_device_configuration(cpu, logical)
    there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    for name in names:
        if name not in there:
            raise InputError(Problem("training.devices", f"there is no {name}", f"some of {', '.join(there)}"))
    with held_back() as messages:
        tf.zeros((), tf.float16)  # with the first of them oneDNN says that it leaves half precision to other kernels
    messages.unlink()
    if not names:
        names = [name for name in there if name.startswith("GPU")] or ["CPU:0"]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.OneDeviceStrategy(names[0])
