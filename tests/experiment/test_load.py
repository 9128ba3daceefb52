import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfmri.errors import InputError
from tfmri.experiment.load import CHANGEABLE, difference, dump, find_experiment, load_experiment
from tfmri.experiment.schema import Experiment

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
SMALL = {"data": {"labels": "labels.csv"}, "targets": {"age": {"task": "regression"}}}


def sexes(classes):
    return SMALL | {"targets": {"sex": {"task": "classification", "classes": classes}}}


@pytest.fixture
def write(tmp_path):
    def write(settings):
        path = tmp_path / "small.yaml"
        path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings))
        return path

    return write


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_of_the_project_is_valid_and_survives_its_own_dump(path, write):
    experiment = load_experiment(path)
    assert load_experiment(write(dump(experiment))) == experiment


def test_the_template_shows_every_key_with_its_default():
    path = next(path for path in EXPERIMENTS if path.stem == "template")
    shown = yaml.safe_load(path.read_text())
    written_out = load_experiment(path)
    defaults = Experiment.model_validate({"data": {"labels": "demo"}, "targets": shown["targets"]})
    assert written_out == defaults
    shown["augment"] = {
        "on" if key is True else key: value for key, value in shown["augment"].items()
    }  # as YAML has it
    for name, field in Experiment.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        assert name in shown
        if name != "targets" and inner:
            assert set(shown[name]) >= set(inner), name


def test_the_template_shows_every_setting_of_every_task():
    import inspect

    from tfmri.options import load_named
    from tfmri.tasks.registry import TASKS

    text = (EXPERIMENTS[0].parent / "template.yaml").read_text()
    for name in TASKS:
        for parameter in inspect.signature(load_named(name, TASKS, "task").fit).parameters.values():
            assert parameter.kind is not inspect.Parameter.KEYWORD_ONLY or f"{parameter.name}:" in text


def test_a_resolved_experiment_holds_the_defaults_of_its_model_its_task_and_its_recipe(write):
    experiment = load_experiment(write(SMALL))
    assert experiment.model.options["dropout"] == 0.5
    assert experiment.targets["age"].settings["loss"] in ("mae", "mse")
    assert all("probability" in next(iter(step.values())) for step in experiment.augment.recipe)
    assert (experiment.augment.on, experiment.augment.padding) == ("auto", "background")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (SMALL | {"traning": {}}, ["traning", "Did you mean 'training'?"]),
        (SMALL | {"training": {"epoch": 3}}, ["training.epoch", "Did you mean 'epochs'?"]),
        (SMALL | {"training": {"optimizer": {"lr": 1}}}, ["training.optimizer.lr", "learning_rate"]),
        (SMALL | {"targets": {"age": {"task": "regression", "los": "mae"}}}, ["targets.age.los", "'loss'"]),
        (SMALL | {"targets": {"age": {"task": "regresion"}}}, ["regresion", "regression"]),
        (SMALL | {"targets": {"age": {}}}, ["targets.age.task", "missing"]),
        (SMALL | {"training": {"epochs": 0}}, ["training.epochs", "0", "greater than or equal to 1"]),
        (SMALL | {"training": {"epochs": "many"}}, ["training.epochs", "many", "integer"]),
        (SMALL | {"image": {"shape": [0, 8, 8]}}, ["image.shape.0", "0"]),
        (SMALL | {"image": {"shape": [8, 8]}}, ["image.shape.2"]),
        (SMALL | {"split": {"test": 0.6, "validation": 0.4}}, ["leave nobody to train on"]),
        (SMALL | {"augment": "standart"}, ["standart", "standard"]),
        (SMALL | {"model": {"name": "sfnc"}}, ["sfnc", "sfcn"]),
        (SMALL | {"model": {"name": "sfcn", "filter": [8]}}, ["filter", "filters"]),
        ({"targets": SMALL["targets"]}, ["data", "missing"]),
        (SMALL | {"targets": {"x": {"task": "classification", "classes": ["a"]}}}, ["1 classes", "two or more"]),
        (SMALL | {"targets": SMALL["targets"] | {"b": {"task": "regression"}}}, ["2 targets", "a model has one"]),
        (SMALL | {"seed": -1}, ["seed", "-1", "greater than or equal to 0"]),
        (SMALL | {"seed": 2**32}, ["seed", "less than 4294967296"]),
        (SMALL | {"split": {"seed": -1}}, ["split.seed", "-1"]),
        (SMALL | {"seed": True}, ["seed: true is no number"]),
        (SMALL | {"training": {"epochs": True}}, ["training.epochs: true is no number"]),
        (SMALL | {"training": {"optimizer": {"learning_rate": True}}}, ["learning_rate: true is no number"]),
        (SMALL | {"image": {"spacing": math.inf}}, ["image.spacing", "inf", "finite"]),
        (SMALL | {"image": {"spacing": math.nan}}, ["image.spacing", "nan", "finite"]),
        (
            SMALL | {"training": {"schedule": {"warmup_epochs": math.inf}}},
            ["training.schedule.warmup_epochs", "finite"],
        ),
        ({**SMALL, "targets": {"age": {"task": "soft_labels", "sigma": math.inf}}}, ["targets.age.sigma", "finite"]),
        (SMALL | {"augment": {"noise": {"sd": 0.1}}}, ["augment: {'noise'", "a list of transforms", "{noise: {sd:"]),
        (SMALL | {"augment": 3}, ["augment: 3", "a list of transforms"]),
        (SMALL | {"augment": [3]}, ["augment, transform 1: 3", "one name with its settings"]),
        (SMALL | {"augment": None}, ["augment: None", "the name of a recipe"]),
        (SMALL | {"augment": {"recipe": "hevy"}}, ["augment: no recipe is called 'hevy'", "Did you mean 'heavy'?"]),
        (SMALL | {"augment": {"on": "gpu"}}, ["augment.on: 'gpu'", "'auto', 'device' or 'host'"]),
        (SMALL | {"augment": {"on": "host", "pading": "border"}}, ["augment.pading", "Did you mean 'padding'?"]),
        (
            SMALL | {"augment": {"padding": "zeros"}},
            ["augment.padding: 'zeros'", "'background', 'border' or 'reflect'"],
        ),
        (SMALL | {"augment": ["no_such_lab:Ringing"]}, ["augment, transform 1: 'no_such_lab' cannot be imported"]),
        (SMALL | {"training": {"devices": ["GPU:0", "gpu:0"]}}, ["training.devices", "GPU:0 stands there more than"]),
        (SMALL | {"targets": {"groups": {"task": "regression"}}}, ["targets", "'groups' cannot be", "data.columns"]),
        (SMALL | {"targets": {"warnings": {"task": "regression"}}}, ["targets", "'warnings' cannot be"]),
        (sexes(3), ["targets.sex", "classes is 3", "{f: [f, female], m: [m, male]}"]),
        (sexes("fm"), ["targets.sex", "classes is 'fm'", "{f: [f, female], m: [m, male]}"]),
        (sexes([["f"], "m"]), ["targets.sex", "['f'] cannot be a class"]),
        (sexes({"f": [None], "m": []}), ["targets.sex", "None cannot be", "a spelling"]),
        ("classes: [unclosed", ["line 1", "not YAML"]),
        ("data:\n\tlabels: x.csv", ["line 2", "not YAML", "indent with spaces"]),
        ("- a\n- b\n", ["no settings"]),
    ],
)
def test_a_mistake_in_the_file_is_said_with_its_key(write, settings, said):
    with pytest.raises(InputError) as error:
        load_experiment(write(settings))
    for words in said:
        assert words in str(error.value)


def test_all_mistakes_are_said_at_once(write):
    with pytest.raises(InputError) as error:
        load_experiment(write(SMALL | {"seed": "x", "training": {"epochs": 0, "batch": 2}}))
    assert len(error.value.problems) == 3


@pytest.mark.parametrize("classes", ["{yes: [a], no: [b]}", "{a: [yes], b: [no]}", "[yes, no]", "{a: yes, b: no}"])
def test_bare_yes_and_no_are_taken_for_neither_classes_nor_spellings(write, classes):
    text = f"data: {{labels: a}}\ntargets: {{x: {{task: classification, classes: {classes}}}}}\n"
    with pytest.raises(InputError, match="quotes"):
        load_experiment(write(text))


def test_augmentation_in_short_and_in_full_is_the_same(write):
    in_full = {"recipe": ["flip"], "on": "auto", "padding": "background"}
    short, full = (load_experiment(write(SMALL | {"augment": augment})) for augment in (["flip"], in_full))
    assert short == full
    assert load_experiment(write(SMALL | {"augment": {"padding": "border"}})).augment.transforms


def test_a_bare_on_is_the_key_and_the_command_line_changes_it_beside_a_recipe_written_in_short(write):
    text = yaml.safe_dump(SMALL)
    path = write(text + "augment: {on: host, recipe: none}\n")
    assert load_experiment(path).augment.on == "host"
    assert load_experiment(path, ["augment.on=device"]).augment.on == "device"
    path = write(text + "augment: none\n")
    changed = load_experiment(path, ["augment.on=host"])
    assert changed.augment.on == "host" and changed.augment.recipe == []
    assert [str(each) for each in difference(load_experiment(path), changed)] == ["augment.on: auto -> host"]


def test_settings_are_changed_from_the_command_line(write):
    path = write(SMALL)
    overrides = ["training.epochs=3", "data.columns.sex=gender", "training.optimizer.learning_rate=1e-2"]
    experiment = load_experiment(path, overrides)
    assert experiment.training.epochs == 3
    assert experiment.data.columns == {"sex": "gender"}
    assert experiment.training.optimizer.learning_rate == 0.01
    assert [str(each) for each in difference(load_experiment(path), experiment)] == [
        "data.columns: {} -> (not set)",
        "training.epochs: 12 -> 3",
        "training.optimizer.learning_rate: 0.001 -> 0.01",
        "data.columns.sex: (not set) -> gender",
    ]


def test_what_a_run_may_change_is_told_from_what_would_make_another_run_of_it(write):
    path = write(SMALL)
    allowed = ["cluster.h_rt='48:00:00'", "cluster.gpus=2", "evaluation.resamples=5000", "training.epochs=3"]
    allowed += ["training.patience=4", "training.threads=2", "training.devices=[CPU:0]"]
    changes = difference(load_experiment(path), load_experiment(path, allowed))
    assert len(changes) == len(allowed) and all(each.allowed for each in changes)
    others = ["seed=1", "seeds=2", "training.batch_size=4", "training.monitor=validation_mae", "split.folds=3"]
    others += ["training.optimizer.learning_rate=0.1", "model.name=small_cnn", "training.precision=mixed_bfloat16"]
    refused = difference(load_experiment(path), load_experiment(path, others))
    assert {each.key for each in refused} >= {each.partition("=")[0] for each in others}
    assert not any(each.allowed for each in refused)


def test_every_key_that_a_run_may_change_is_one():
    defaults = Experiment.model_validate(SMALL).model_dump()
    for key in CHANGEABLE:
        inner = defaults
        for part in key.split("."):
            inner = inner[part]


def test_an_experiment_has_a_fit_for_each_fold_and_seed(write):
    def fits(*overrides):
        return [(each.name, each.fold, each.seed) for each in load_experiment(write(SMALL), overrides).fits]

    assert fits() == [("whole", None, 0)]
    assert fits("seed=7", "seeds=2") == [("whole_seed-7", None, 7), ("whole_seed-8", None, 8)]
    assert fits("split.folds=2") == [("fold-1", 1, 0), ("fold-2", 2, 0)]
    assert [name for name, _, _ in fits("split.folds=2", "seeds=2")] == [
        "fold-1_seed-0",
        "fold-1_seed-1",
        "fold-2_seed-0",
        "fold-2_seed-1",
    ]
    with pytest.raises(InputError, match="not below"):
        fits("seed=4294967290", "seeds=7")


@pytest.mark.parametrize("text", ["`age at scan` > 18", "site != 'A' # B", "age > 3 and {x}: [", "@a", "yes", "18"])
def test_queries_and_paths_from_the_command_line_are_taken_as_they_stand(write, text):
    overrides = [f"data.where={text}", f"data.labels={text}", f"data.columns.sex={text}"]
    data = load_experiment(write(SMALL), overrides).data
    assert (data.where, data.labels, data.columns) == (text, text, {"sex": text})


@pytest.mark.parametrize("none", ["", "null", "~"])
def test_a_query_is_taken_back_from_the_command_line(write, none):
    path = write(SMALL | {"data": {"labels": "a", "where": "age > 3"}})
    assert load_experiment(path, [f"data.where={none}"]).data.where is None


def test_columns_as_a_whole_are_read_as_yaml(write):
    assert load_experiment(write(SMALL), ["data.columns={sex: gender}"]).data.columns == {"sex": "gender"}


@pytest.mark.parametrize("override", ["epochs", "=3", "training.epochs=[1"])
def test_an_override_that_sets_nothing_is_refused(write, override):
    with pytest.raises(InputError, match="--set"):
        load_experiment(write(SMALL), [override])


def test_numbers_as_spellings_are_taken_as_text(write):
    classes = {"f": [2, "female"], "m": 1}
    experiment = load_experiment(write(SMALL | {"targets": {"sex": {"task": "classification", "classes": classes}}}))
    assert experiment.targets["sex"].classes == {"f": ["2", "female"], "m": ["1"]}


def test_an_experiment_is_found_from_a_folder_below_and_a_mistyped_one_is_named(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "sex_clf.yaml").write_text("")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert find_experiment("sex_clf") == tmp_path / "experiments" / "sex_clf.yaml"
    with pytest.raises(InputError, match="Did you mean 'sex_clf'"):
        find_experiment("sexclf")
    with pytest.raises(InputError, match="no such file"):
        find_experiment("elsewhere/sex.yaml")


def test_validating_a_file_imports_no_tensorflow():
    code = (
        "import sys; from pathlib import Path; from tfmri.experiment.load import load_experiment;"
        f"load_experiment(Path({str(EXPERIMENTS[0])!r})); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_recipe_in_the_documentation_is_the_standard_one():
    from tfmri.augment.recipe import parse_recipe

    page = (EXPERIMENTS[0].parents[1] / "docs" / "augmentation.md").read_text()
    shown = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["augment"]
    assert parse_recipe(shown) == parse_recipe("standard")
    assert list(shown[0]["flip"]) == ["probability", "axes"]
