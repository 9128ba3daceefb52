"""The devices a model trains on, and what makes its arithmetic repeatable."""

import json
import os
from collections.abc import Sequence
from functools import cache

import keras
import tensorflow as tf

from tfmri.errors import InputError, Problem
from tfmri.machine import processors
from tfmri.training.startup import held_back

# How gradients of the devices of one machine are summed, by the name of `training.reduction`.
REDUCTIONS = {
    "nccl": tf.distribute.NcclAllReduce,
    "hierarchical": tf.distribute.HierarchicalCopyAllReduce,
    "one_device": tf.distribute.ReductionToOneDevice,
}


def set_up(
    devices: Sequence[str] | None,
    threads: int | None,
    deterministic: bool,
    seed: int,
    precision: str = "float32",
    reduction: str = "auto",
    memory_growth: bool = True,
) -> tf.distribute.Strategy:
    """Prepares TensorFlow, once a process and before any of its operations, and gives the strategy to train under.

    Several devices share each batch (MirroredStrategy); one needs no strategy; several processes, on hosts that
    TF_CONFIG lists, share it with all their devices (MultiWorkerMirroredStrategy). `CPU:1` and so on are made where
    they are asked for, as logical devices of the one processor.

    With `deterministic`, the same seed gives the same bits on CPU. Deterministic operations alone do not suffice there:
    operations running side by side add up gradients in varying order, hence one of them at a time, and each of them on
    all threads.

    Args:
        devices: such as ``["GPU:0", "GPU:1"]``; None for all GPUs, else the CPU.
        threads: of one operation; None for one per usable core.
        deterministic: whether equal seeds have to give equal weights.
        seed: of Python, NumPy and TensorFlow, for weights and dropout.
        precision: Keras' dtype policy: `float32`, `mixed_float16` or `mixed_bfloat16`.
        reduction: a key of `REDUCTIONS`, or `auto` for TensorFlow's choice.
        memory_growth: take memory of a GPU as it is needed; else all of it at once.

    Raises:
        InputError: if a device is not there.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    tf.config.threading.set_intra_op_parallelism_threads(threads or processors())
    if deterministic:
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, memory_growth)
    names = [name.upper() for name in devices or ()]
    wanted_cpus = sum(name.startswith("CPU") for name in names)
    if wanted_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * wanted_cpus
        tf.config.set_logical_device_configuration(cpu, logical)
    if len(json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", [])) > 1:
        if names:
            expected = "none: each process takes all of its host's GPUs, or its CPU"
            raise InputError(Problem("training.devices", ", ".join(names), expected))
        return _several_processes(reduction)
    there = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    for name in names:
        if name not in there:
            raise InputError(Problem("training.devices", f"there is no {name}", f"some of {', '.join(there)}"))
    _hush()
    if not names:
        names = [name for name in there if name.startswith("GPU")] or ["CPU:0"]
    return _one_process(tuple(names), reduction)


def worker_count(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together."""
    resolver = strategy.cluster_resolver
    return 1 if resolver is None else len(resolver.cluster_spec().as_dict().get("worker", [""]))


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Which of them this one is, from 0; the first one writes."""
    return 0 if strategy.cluster_resolver is None else strategy.cluster_resolver.task_id or 0


def compiles(xla: str, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA compiles the training step: `auto` on one GPU alone, for on a CPU it is several times slower.

    Raises:
        InputError: if it is to be on for several devices, where TensorFlow cannot.
    """
    several = strategy.num_replicas_in_sync > 1
    if xla == "on" and several:
        raise InputError(Problem("training.xla", "on, with several devices", "auto or off: one device alone can"))
    on_gpu = "GPU" in strategy.extended.worker_devices[0].upper()
    return xla == "on" or (xla == "auto" and on_gpu and not several)


# Both are made once a process: TensorFlow counts its collectives anew for every strategy, and those of a second one, of
# the next of several fits, would meet the first one's.
@cache
def _one_process(names: tuple[str, ...], reduction: str) -> tf.distribute.Strategy:
    if len(names) == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.MirroredStrategy(names, REDUCTIONS[reduction]() if reduction != "auto" else None)


@cache
def _several_processes(reduction: str) -> tf.distribute.Strategy:
    known = {"auto": "AUTO", "nccl": "NCCL", "ring": "RING"}
    if reduction not in known:
        expected = f"one of {', '.join(known)}, with several processes"
        raise InputError(Problem("training.reduction", reduction, expected))
    implementation = tf.distribute.experimental.CommunicationImplementation[known[reduction]]
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    _hush()
    return strategy


def _hush() -> None:
    """Makes oneDNN say, unheard, what it says once: that it leaves half precision to other kernels."""
    with held_back() as messages:
        tf.zeros((), tf.float16)
    messages.unlink()
