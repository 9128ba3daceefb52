"""What does a step of each model cost, in memory and time?      make bench BENCH=models ARGS='--size 96 96 96'

A training step (forward, loss, gradients, AdamW; a tf.function, float32) on noise, each model with its default options
in a process of its own. Prints trainable parameters, the peak resident set of that process less what importing
TensorFlow took, and the median time of the steps after the first two. On a machine that others use as well, the time
says little.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from tfmri.models.registry import MODELS, build_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96), metavar="N", help="voxels")
    parser.add_argument("--batch", type=int, default=1, metavar="N")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="after two that are not counted")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the name of the model that this process measures
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.size, options.batch, options.steps)))
        return
    print(f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}, batch {options.batch}")
    for name in options.names:
        arguments = ["--size", *map(str, options.size), "--batch", str(options.batch), "--steps", str(options.steps)]
        command = [sys.executable, __file__, "--one", name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:14s} failed ({done.returncode}): {(done.stderr.strip().splitlines() or ['killed'])[-1][:90]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        cost = f"{found['memory']:8.2f} GiB{found['seconds']:8.2f} s a step"
        print(f"{name:14s}{found['parameters']:12,d} parameters{cost}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def measured(name: str, size: list[int], batch: int, steps: int) -> dict[str, float]:
    """Trainable parameters, peak memory in GiB beyond that of TensorFlow itself, and the median seconds of a step."""
    import keras
    import numpy as np
    import tensorflow as tf

    tf.reduce_sum(tf.ones(3))  # TensorFlow's own memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = build_model(name, (*size, 1), 2)
    optimizer = keras.optimizers.AdamW(1e-4)
    optimizer.build(model.trainable_variables)
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(batch, *size, 1)), tf.float32)
    classes = tf.constant(random.integers(2, size=batch))

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    seconds = []
    for _ in range(2 + steps):
        start = time.perf_counter()
        step()  # on a CPU it returns when all is done
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "parameters": sum(int(np.prod(each.shape)) for each in model.trainable_variables),
        "memory": (peak - before) / 2**20,
        "seconds": statistics.median(seconds[2:]),
    }


if __name__ == "__main__":
    main()
