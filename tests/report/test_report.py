"""The page and the cards, from the files of a run that no model has to be trained for."""

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfmri.baselines.beside import Classical
from tfmri.baselines.verdict import Verdict
from tfmri.checks.confounds import confound_findings
from tfmri.checks.headers import read_headers
from tfmri.checks.leakage import same_images
from tfmri.evaluation.adjustments import apply, learn, summarise_adjustments
from tfmri.evaluation.figures import write_figures
from tfmri.evaluation.summary import summarise
from tfmri.experiment.load import validate
from tfmri.images.cache import CachedScan
from tfmri.report.cards import CLAIM, OPEN, methods, model_card
from tfmri.report.facts import Facts, worst
from tfmri.report.people import flow
from tfmri.report.table_one import table_one
from tfmri.report.write import write_report
from tfmri.runs.directory import Run

EVIL = "<script>alert(1)</script>"
SEX, AGE = {"task": "classification", "classes": {"f": ["f"], "m": ["m"]}}, {"task": "regression"}


def experiment(target, settings):
    return validate({"data": {"labels": "labels.csv"}, "targets": {target: settings}}, "test")


def results(
    tmp_path,
    target="sex",
    people=40,
    sites=("south", EVIL),
    skill=3.0,
    best=None,
    drawn=False,
    change=None,
    place="test",
    **given,
):
    """A run's folder with results on its test split; gives the page, its facts and the text of all files."""
    run = Run(tmp_path / "runs" / "small" / "first")
    random = np.random.default_rng(0)
    table = pd.DataFrame({"subject": [f"sub-{i:03}" for i in range(3 * people)]})
    table["scan"] = table["subject"] + "_1"
    table["path"] = [f"/secret/place/{name}.nii.gz" for name in table["scan"]]
    table = table.assign(session="1", age=random.uniform(20, 80, len(table)), sex=list("fm" * len(table))[: len(table)])
    table["site"] = [sites[i % len(sites)] for i in range(len(table))]
    table["split"], table["fold"] = np.repeat(["train", "validation", "test"], people), ""
    settings = experiment(target, SEX if target == "sex" else AGE)
    classes, kind = (["f", "m"], "classification") if target == "sex" else ([], "regression")

    def said(split):
        rows = table[table["split"] == split].reset_index(drop=True)
        rows = rows.assign(fit="whole", target=target, truth=rows[target])
        if classes:
            odds = skill * (rows["truth"] == "m") - skill / 2 + random.normal(size=people)
            p = 1 / (1 + np.exp(-odds))
            return rows.assign(prediction=np.where(p > 0.5, "m", "f"), p_f=1 - p, p_m=p)
        return rows.assign(prediction=50 + (rows["age"] - 50) * 0.7 + random.normal(0, 5, people))

    adjustments = learn(said("validation"), kind, classes, target)
    predictions = apply((change or (lambda rows: rows))(said("test")), adjustments)
    numbers = 0, 200
    train = table.loc[table["split"] == "train", target]
    summary = summarise(predictions, kind, classes, train, *numbers)
    found = summarise_adjustments(predictions, adjustments, kind, classes, train, *numbers)
    summary = json.loads(json.dumps({**summary, "adjustments": {target: found}}))
    run.path.mkdir(parents=True)
    provenance = {
        "command": f"tfmri train small --set data.labels=/secret/place/{EVIL}",
        "versions": {"tfmri": "1"},
        "python": "3.12",
        "host": "secrethost",
        "system": "Linux",
        "seeds": {"seed": 0},
        "git": {"commit": "abc"},
        "labels": {"path": "/secret/place/labels.csv", "sha256": "0f"},
    }
    run.provenance.write_text(json.dumps(provenance))
    run.warnings.write_text("sub-000 had no age, so left out\n")
    if drawn:
        write_figures(predictions, kind, classes, run.evaluation(place) / "figures", *numbers)
    np.save(tmp_path / "a.npy", random.normal(size=(12, 14, 12, 1)).astype(np.float16))
    prepared = {name: CachedScan(tmp_path / "a.npy", None, {}) for name in table["scan"]}
    best = {target: {"balanced_accuracy" if classes else "mae": best or (0.95 if classes else 3.0)}}
    command = "tfmri evaluate small/first"
    facts = Facts(run, place, settings, table, predictions, summary, best, command, **given)
    path = write_report(facts, prepared)
    text = path.read_text()
    return text, facts, "".join(file.read_text() for file in path.parent.iterdir() if file.suffix in (".html", ".md"))


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, and what is left open."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("target", ["sex", "age"])
def test_the_page_is_whole_by_itself_and_nothing_from_labels_is_markup(tmp_path, target):
    text, facts, _ = results(tmp_path, target, drawn=True)
    tags = Tags(text)
    assert not tags.open and "script" not in {tag for tag, _ in tags.found}
    pictures = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    assert len(pictures) == 1 + (4 if target == "sex" else 3) + 6 and all(
        source.startswith("data:image/") for source in pictures
    )
    assert not re.search(r"(src|href)=.(https?:|file:|/)", text)
    ids = {attributes.get("id") for _, attributes in tags.found}
    assert {attributes["href"][1:] for tag, attributes in tags.found if tag == "a"} <= ids
    assert EVIL not in text and "&lt;script&gt;" in text
    name, _, entry = facts.headline()
    assert f"{entry['value']:.2f} [{entry['lower']:.2f}, {entry['upper']:.2f}]" in text
    assert "so left out" in text and "nobody can do better than" in text and "Conformal" in text
    assert ("Bias with age" in text) == (target == "age") and ("Threshold" in text) == (target == "sex")
    assert name in ("balanced_accuracy", "mae")


@pytest.mark.parametrize("target", ["sex", "age"])
def test_an_anonymous_report_holds_no_id_no_path_no_machine_and_no_head(tmp_path, target):
    _, facts, every = results(tmp_path, target, anonymous=True)
    assert "sub-" not in every and "/secret" not in every and "secrethost" not in every and str(tmp_path) not in every
    assert "image/jpeg" not in every and len(worst(facts)) == 6


def test_what_a_reader_has_to_know_is_said(tmp_path):
    _, weak, _ = results(tmp_path / "weak", skill=0.0, people=12)
    said = " ".join(weak.warnings())
    assert "nothing is shown to be learnt" in said and "12 people are few" in said
    _, good, _ = results(tmp_path / "good", skill=50.0)
    assert "better than honest results usually are" in " ".join(good.warnings())
    _, usual, _ = results(tmp_path / "usual", skill=3.0)
    assert usual.warnings() == ["sub-000 had no age, so left out"]


@pytest.mark.parametrize(("target", "best"), [("sex", 0.6), ("age", 60.0)])
def test_a_result_that_nobody_can_reach_is_called_out(tmp_path, target, best):
    text, facts, _ = results(tmp_path / "beyond", target, best=best)
    said = f"is better than the best reachable {best:.2f}, which no honest model can be"
    assert any(said in each for each in facts.warnings()) and said in text and f"<td>{best:.2f}</td>" in text
    assert f"nobody can do better than {best:.2f}" in text
    assert "no honest model can be" not in results(tmp_path / "below", target)[0]


def test_what_tells_the_answer_without_anatomy_is_said_with_its_number(tmp_path):
    people = pd.DataFrame({"subject": [f"sub-{i:02}" for i in range(40)], "sex": list("fm") * 20})
    people = people.assign(scan=people["subject"], path="/none", split="train", site=["south", "north"] * 20)
    site = confound_findings(people, "sex", False, read_headers([Path("/none")] * 40), None)
    pair = same_images(people, ["one", "one", *map(str, range(38))])
    text, facts, _ = results(tmp_path / "all", findings=[*site, *pair])
    said = "the site goes with sex, and alone tells it with a balanced accuracy of 1.00 (chance 0.5)"
    assert said in facts.warnings() and "north: 20 m; south: 20 f" in text and "sub-00 and sub-01" in text
    assert "not known until tfmri check small" in text
    hidden, _, every = results(tmp_path / "hidden", findings=[*site, *pair], anonymous=True, examined=True)
    assert said in hidden and "same image under two ids: 1 pair of scans" in hidden and "sub-" not in every
    assert "not known until tfmri check" not in hidden


def test_who_came_in_and_who_was_left_out_is_counted(tmp_path):
    rows = [("in labels.csv", 150, 140), ("where age > 18", 130, 125), ("with sex", 120, 120)]
    steps = [dict(zip(("name", "rows", "subjects"), row, strict=True)) for row in rows]
    text, facts, _ = results(tmp_path, flow=steps)
    assert [row[3] for row in flow(facts)][1:4] == ["", "20 scans, 15 subjects", "10 scans, 5 subjects"]
    assert ["of these, test", "40", "40", ""] in flow(facts) and "where age &gt; 18" in text


def test_a_classical_model_that_wins_is_told_first_and_in_the_table(tmp_path):
    entry = {"value": 0.9, "lower": 0.8, "upper": 1.0, "trivial": 0.5, "n": 40, "subjects": 40}
    metrics = {"ridge": {"balanced_accuracy": entry, "roc_auc": entry}}
    wins = Classical("8 voxels", metrics, Verdict("A CLASSICAL MODEL WINS: ridge", classical_wins=True))
    text, facts, _ = results(tmp_path / "wins", classical=[wins])
    assert "A CLASSICAL MODEL WINS: ridge" in facts.warnings() and "<td>ridge</td><td>0.90 [0.80, 1.00]</td>" in text
    text, facts, _ = results(tmp_path / "none")
    assert "tfmri baseline small" in text and not any("CLASSICAL" in each for each in facts.warnings())


def test_other_people_are_described_by_themselves_and_the_command_names_them(tmp_path):
    asked = pd.DataFrame({"subject": ["x", "y"], "site": "far", "sex": ["f", "m"], "age": [30.0, 40.0]})
    text, facts, _ = results(
        tmp_path, place="far", asked=asked, flow=[{"name": "in others.csv", "rows": 3, "subjects": 3}]
    )
    assert "People here" in text and "35.0 (7.1), 30 to 40" in text and "People of the run" in text
    assert [row[:1] + row[3:] for row in flow(facts)][1:3] == [["in others.csv", ""], ["used", "1 scan, 1 subject"]]
    checklist = methods(facts)
    assert (
        "see External evaluation" in checklist and "| 32 Evaluation on internal data | *to be written* |" in checklist
    )


def nothing(rows):
    return rows.assign(**{name: np.nan for name in rows if name == "prediction" or name.startswith("p_")})


def half(rows):
    return rows.assign(**{name: rows[name].where(rows.index % 2 == 0) for name in nothing(rows) if name[0] == "p"})


def one_answer(rows):
    return rows.assign(**{"prediction": "f", "p_f": 0.9, "p_m": 0.1} if "p_f" in rows else {"prediction": 50.0})


DEGENERATE = {
    "no prediction": (nothing, "Sex: there is no balanced accuracy", "Age: there is no mean absolute error"),
    "half of them": (half, "20 of 40 scans have no truth or no prediction", "20 of 40 scans have no truth"),
    "one answer": (
        lambda rows: rows.assign(
            **({"prediction": "f", "p_f": 0.9, "p_m": 0.1} if "p_f" in rows else {"prediction": 50.0})
        ),
        "the model answers &#x27;f&#x27; for every scan",
        "the model answers 50 for every scan",
    ),
    "one truth": (
        lambda rows: rows.assign(truth=rows["truth"].iloc[0]),
        "nobody here is m",
        "not defined on these scans",
    ),
}


@pytest.mark.parametrize("target", ["sex", "age"])
@pytest.mark.parametrize("case", DEGENERATE)
def test_results_that_are_hardly_any_still_give_a_whole_page_that_says_so(tmp_path, case, target):
    change, of_sex, of_age = DEGENERATE[case]
    text, facts, every = results(tmp_path, target, change=change)
    assert not Tags(text).open and (of_sex if target == "sex" else of_age) in text
    assert ">nan" not in every and "None" not in every and len(methods(facts)) > 2000


@pytest.mark.parametrize("target", ["sex", "age"])
def test_two_people_of_one_site_give_a_report_that_says_what_there_is_not(tmp_path, target):
    text, _, _ = results(tmp_path, target, people=2, sites=("only",))
    assert not Tags(text).open and "2 people are few" in text and "9 are needed" in text


def test_the_cards_are_filled_in_where_the_run_knows_and_marked_where_not(tmp_path):
    _, facts, _ = results(tmp_path)
    text = methods(facts)
    rows = re.findall(r"^\| (\d+) .* \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 45)) == list(range(1, len(CLAIM) + 1))
    headings = set(re.findall(r"^## (.*)$", text, re.MULTILINE))
    assert {place.removeprefix("see ") for _, place in rows if place != OPEN} <= headings
    assert "120 scans of 120 people" in text and OPEN in text
    card, fenced, _ = model_card(facts).split("```")
    assert "<script" not in card and EVIL in fenced and "&lt;script&gt;" in card and card.count("| subjects |") == 1


def test_table_one_counts_people_and_describes_ages_by_side():
    table = pd.DataFrame({"subject": ["a", "a", "b"], "split": ["train", "train", "test"], "site": ["x", "x", "y"]})
    table = table.assign(gender=["F", "F", "M"], age=[20.0, 22.0, 61.5], target=[1.0, 2, 3])
    rows = {row[0]: row[1:] for row in table_one(table, "target")}
    assert rows["subjects"] == ["1", "1", "2"] and rows["scans"] == ["2", "1", "3"]
    assert rows["age, mean (SD), range"][:2] == ["21.0 (1.4), 20 to 22", "61.5, 62 to 62"]
    assert rows["sex f"] == ["2 (100%)", "0 (0%)", "2 (67%)"] and rows["site y"][1] == "1 (100%)"
    assert "target, mean (SD), range" in rows
