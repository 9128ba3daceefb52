"""A search space: what it may hold, and that every value comes back from the word it is handed on as."""

import math

import pytest
import yaml

from tfmri.errors import InputError
from tfmri.experiment.load import dump, load_experiment
from tfmri.tuning.space import distributions, tried, word, words

SMALL = {"data": {"labels": "labels.csv"}, "targets": {"age": {"task": "regression"}}}
RATE = "training.optimizer.learning_rate"


@pytest.fixture
def load(tmp_path):
    def load(space, **tune):
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(SMALL | {"tune": {"space": space, **tune}}))
        return load_experiment(path)

    return load


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ([RATE], ["tune.space", "settings with their values"]),
        ({RATE: 0.1}, [f"tune.space.{RATE}: 0.1", "a list of values, or {low:"]),
        ({RATE: [0.1]}, [RATE, "two values or more"]),
        ({RATE: [0.1, 0.2, 0.1]}, [RATE, "each once"]),
        ({RATE: {"low": 0.1}}, [f"{RATE}.high", "missing"]),
        ({RATE: {"low": 0.1, "hgih": 1}}, ["hgih", "Did you mean 'high'?"]),
        ({RATE: {"low": "small", "high": 1}}, [f"{RATE}.low", "'small'"]),
        ({RATE: {"low": True, "high": 2}}, [f"{RATE}.low", "true is no number"]),
        ({RATE: {"low": 0.1, "high": math.inf}}, [f"{RATE}.high", "finite"]),
        ({RATE: {"low": 1, "high": 0.1}}, [RATE, "low 1 is not below high 0.1"]),
        ({RATE: {"low": 0, "high": 0.1, "log": True}}, [RATE, "log: true needs numbers above 0"]),
        ({RATE: {"low": 1, "high": 9, "log": True, "step": 2}}, [RATE, "log and step"]),
        ({RATE: {"low": 1, "high": 9, "step": 10}}, [RATE, "step 10 does not lead from 1 to 9"]),
        ({RATE: {"low": 1, "high": 9, "step": 0.5}}, [RATE, "between whole numbers; for others write 1.0"]),
        ({"data.where": ["age < 50", "age > 50"]}, ["data.where", "not searched over", "image, augment, model"]),
        ({"split.seed": [1, 2]}, ["split.seed", "could not be compared"]),
        ({"seed": [1, 2]}, ["tune.space.seed", "not searched over"]),
        ({"modle.dropout": [0.1, 0.2]}, ["modle.dropout", "Did you mean 'model'?"]),
        ({"training.monitor": ["validation_loss", "validation_mae"]}, ["training.monitor", "compared by it"]),
        ({"model": ["sfcn", "b"], "model.dropout": [0.1, 0.2]}, ["model.dropout", "model is searched over too"]),
        ({"model.l2": [0.0, 0.1]}, ["model.l2", "validation_loss is another quantity", "tune.metric"]),
        ({"targets.age.loss": ["mae", "mse"]}, ["targets.age.loss", "validation_loss is another quantity"]),
    ],
)
def test_a_mistake_in_the_space_is_said_with_its_key(load, space, said):
    with pytest.raises(InputError) as error:
        load(space)
    for words_of_it in said:
        assert words_of_it in str(error.value)


def test_all_mistakes_of_a_space_are_said_at_once(load):
    with pytest.raises(InputError) as error:
        load({RATE: [0.1], "model.dropout": 3, "split.seed": [1, 2], "augment": ["light", "none"]})
    assert len(error.value.problems) == 3


def test_trials_are_compared_by_something_measured_on_validation(load):
    with pytest.raises(InputError, match=r"tune.metric: 'mae' is not measured on validation"):
        load({}, metric="mae")
    assert load({"model.l2": [0.0, 0.1]}, metric="validation_mae").tune.metric == "validation_mae"


@pytest.mark.parametrize(
    "value", [0.1, 1e-05, 1e22, 3, True, None, "light", "1e-3", "no", "a: b", [8, 16], {"name": "sfcn", "l2": 0.1}, ""]
)
def test_every_value_comes_back_from_its_word(value):
    text = word(value)
    assert "\n" not in text
    back = yaml.safe_load(text)
    assert back == value and type(back) is type(value)


def test_a_space_becomes_distributions_whose_values_are_settings(load, tmp_path):
    experiment = load(
        {
            RATE: {"low": 1e-5, "high": 1, "log": True},
            "training.batch_size": {"low": 4, "high": 16, "step": 4},
            "model.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
            "augment": ["light", ["flip", "noise"]],
        }
    )
    space = experiment.tune.space
    found = distributions(space)
    assert [type(each).__name__ for each in found.values()] == [
        {RATE: "Float", "training.batch_size": "Int", "model.dropout": "Float", "augment": "Categorical"}[key]
        + "Distribution"
        for key in found
    ]
    assert found[RATE].log and not found["model.dropout"].log
    assert (found["training.batch_size"].step, found["model.dropout"].step) == (4, 0.25)
    assert set(tried(space)) == {
        (RATE, "1.0e-05"), (RATE, "1.0"), ("training.batch_size", "4"), ("training.batch_size", "16"),
        ("model.dropout", "0.0"), ("model.dropout", "0.5"), ("augment", "light"), ("augment", "[flip, noise]"),
    }  # fmt: skip
    chosen = words({RATE: 1.5e-05, "training.batch_size": 8, "model.dropout": 0.25, "augment": "[flip, noise]"}, space)
    assert list(chosen) == list(space)
    trial = load_experiment(tmp_path / "small.yaml", [f"{key}={value}" for key, value in chosen.items()])
    assert trial.training.optimizer.options["learning_rate"] == 1.5e-05
    assert trial.training.batch_size == 8
    assert [name for step in trial.augment.recipe for name in step] == ["flip", "noise"]
    (tmp_path / "again.yaml").write_text(dump(experiment))
    assert load_experiment(tmp_path / "again.yaml") == experiment
