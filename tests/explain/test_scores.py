"""The number of a network that is explained, of each task."""

import numpy as np
import pandas as pd
import tensorflow as tf

from tfmri.explain.scores import score_of
from tfmri.tasks.registry import make_task

STAGES = pd.Series(["a", "b", "c", "d", "a"], name="stage")
AGES = pd.Series([30.0, 50.0, 70.0], name="age")
RANDOM = np.random.default_rng(0)


def test_of_a_class_it_is_how_far_its_log_probability_is_above_the_mean_of_the_others():
    for kind in ("classification", "ordinal"):
        task = make_task(kind, STAGES, classes=list("abcd"))
        outputs = RANDOM.normal(size=(6, task.outputs)).astype(np.float32)
        logs = np.log(task.decode(outputs)[[f"p_{name}" for name in "abcd"]].to_numpy(float))
        for place in range(4):
            expected = logs[:, place] - np.delete(logs, place, axis=1).mean(axis=1)
            np.testing.assert_allclose(score_of(task, place)(tf.constant(outputs)), expected, rtol=1e-4, atol=1e-5)


def test_of_a_number_it_is_the_prediction_but_for_a_constant():
    for settings in ({"kind": "regression"}, {"kind": "regression", "loss": "gaussian"}, {"kind": "soft_labels"}):
        kind = settings.pop("kind")
        task = make_task(kind, AGES, **settings)
        outputs = RANDOM.normal(size=(6, task.outputs)).astype(np.float32)
        difference = score_of(task)(tf.constant(outputs)).numpy() - task.decode(outputs)["prediction"]
        np.testing.assert_allclose(difference, difference[0], atol=1e-4)
