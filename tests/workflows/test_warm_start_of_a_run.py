"""A run that begins with the weights of another: its provenance, and that it goes on without it."""

import json
import shutil

import numpy as np
import pytest

from tfmri.runs.directory import find_run


@pytest.mark.system
def test_a_run_begins_with_anothers_weights_and_goes_on_without_it(cohort, tfmri):
    assert tfmri("train", "small.yaml", "--run", "first")[0] == 0
    warm = "training.warm_start={run: small/first, freeze: [stage1_*]}"
    code, said = tfmri("train", "small.yaml", "--run", "second", "--set", warm)
    assert code == 0, said
    assert (
        "weights of small/first, fit whole, in stage1_conv, stage1_norm" in said
        and "not trained: stage1_conv, stage1_norm" in said
    )
    first, second = (find_run(f"small/{name}").fit() for name in ("first", "second"))
    about = json.loads(second.provenance.read_text())["warm_start"]
    assert about["run"] == "small/first" and about["new"] == ["head"] and about["test_subjects_known"] == 0
    frozen = stage1(first)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, stage1(second), strict=True))

    shutil.rmtree("runs/small/first")
    code, said = tfmri("train", "small.yaml", "--run", "second", "--set", "training.epochs=2")
    assert code == 0, said
    assert len(second.history.read_text().splitlines()) == 3
    assert json.loads(second.provenance.read_text())["warm_start"] == about
    assert all(np.array_equal(a, b) for a, b in zip(frozen, stage1(second), strict=True))

    shutil.rmtree(second.checkpoints)  # as if it had been killed before the first one
    code, said = tfmri("train", "small.yaml", "--run", "second", "--set", "training.epochs=3")
    assert code == 2 and "run 'small/first': no run of that name" in said and "Traceback" not in said


def stage1(fit):
    """The weights of the first stage in the newest checkpoint: kernel, then gamma, beta, mean, variance."""
    with np.load(max(fit.checkpoints.glob("*.npz"))) as archive:
        return [archive[f"variable_{index:05d}"] for index in range(5)]
