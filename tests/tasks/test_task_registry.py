"""What holds for every task: JSON and back, shapes that do not belong together, no TensorFlow before its time."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.tasks.registry import TASKS, load_task, make_task

AGES = pd.Series([31.1, 45.7, 60.2, 82.9], name="age")
STAGES = pd.Series(["b", "a", "c", "a"], name="stage")
MADE = {
    "classification": lambda: make_task(
        "classification", STAGES, class_weights="balanced", label_smoothing=0.05, focal_gamma=1.5
    ),
    "ordinal": lambda: make_task("ordinal", STAGES, classes=["a", "b", "c"], loss="coral"),
    "regression": lambda: make_task("regression", AGES, loss="huber", delta=0.7),
    "gaussian": lambda: make_task("regression", AGES, loss="gaussian", beta=0.5),
    "soft_labels": lambda: make_task("soft_labels", AGES, bin_width=3, sigma=2.5),
}


def test_every_task_is_tested():
    assert {make().kind for make in MADE.values()} == TASKS.keys()


@pytest.mark.parametrize("name", MADE)
def test_a_task_comes_back_from_json_as_it_was(name):
    task = MADE[name]()
    config = task.to_config()
    assert config["task"] == task.kind
    assert load_task(json.loads(json.dumps(config, allow_nan=False))) == task


@pytest.mark.parametrize("name", MADE)
def test_shapes_that_would_broadcast_are_refused(name):
    task = MADE[name]()
    values = STAGES if hasattr(task, "classes") else AGES
    target = tf.constant(task.encode(values))
    output = tf.zeros((4, task.outputs))
    assert task.loss(target, output).shape == (4,)
    for wrong_target, wrong_output in [
        (target[:, None], output),
        (target, output[:, None]),
        (target, tf.zeros((4, task.outputs + 1))),
        (target[:1], output),
        (target, output[:, 0]),
        (target, output[:1]),
    ]:
        with pytest.raises(ValueError, match="do not belong together"):
            task.loss(wrong_target, wrong_output)


def test_a_batch_that_is_only_known_when_the_graph_runs_is_checked_there():
    task = MADE["regression"]()

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, 1])])
    def loss(target, output):
        return task.loss(target, output)

    assert loss(tf.zeros(3), tf.zeros((3, 1))).shape == (3,)
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss(tf.zeros(3), tf.zeros((1, 1)))


@pytest.mark.parametrize("name", MADE)
def test_the_loss_is_float32_for_half_precision_outputs(name):
    task = MADE[name]()
    values = STAGES if hasattr(task, "classes") else AGES
    assert task.loss(tf.constant(task.encode(values)), tf.zeros((4, task.outputs), tf.float16)).dtype == tf.float32


@pytest.mark.parametrize("name", MADE)
def test_the_initial_bias_fits_the_outputs(name):
    bias = MADE[name]().initial_bias()
    assert bias.shape == (MADE[name]().outputs,) and bias.dtype == np.float32 and np.isfinite(bias).all()


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"targets\.age\.task: unknown name 'regresion'\. Did you mean 'regression'"):
        make_task("regresion", AGES)


def test_making_a_task_imports_no_tensorflow():
    program = "import sys; import pandas as pd; from tfmri.tasks.registry import make_task; "
    program += "make_task('soft_labels', pd.Series([30.0, 40.0], name='age')); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
