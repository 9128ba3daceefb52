import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfmri.checks import page as module
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.page import page
from tfmri.checks.report import Report

EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "img"}


class Parsed(HTMLParser):
    """What a page consists of; tags that are not closed in their order are told in `wrong`."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.texts, self.open, self.wrong = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def report(scans: int = 6, numeric: bool = False, findings=(), planes=None, **columns) -> Report:
    names = [f"s{n}" for n in range(scans)]
    table = pd.DataFrame(
        {"subject": names, "session": "", "scan": names, "path": names, "site": "A"}
        | {"split": np.resize(["train", "train", "validation", "test"], scans)}
        | {"target": np.linspace(20, 70, scans) if numeric else np.resize(["f", "m"], scans)}
        | columns
    )
    noise = np.random.default_rng(0).integers(0, 255, (scans, 40, 120), dtype=np.uint8)
    order, rows = np.arange(scans)[::-1], np.arange(2, scans + 2)
    planes = list(noise) if planes is None else planes
    classes = () if numeric else ("m", "f", *({*table["target"]} - {"f", "m"}))
    return Report("sex_clf", Path("labels.csv"), "target", classes, tuple(findings), table, rows, order, planes)


FINDINGS = (
    Finding("near_duplicate", Harm.SPOILS, "labels.csv", EVIL, EVIL, EVIL, ("s1", "s2"), {"r": 0.999}),
    Finding("odd_scan", Harm.DOUBTFUL, EVIL, "dark", scans=("s4",)),
    Finding("how_the_file_was_read", Harm.NOTE, "labels.csv", "read 'gender' as sex"),
)


@pytest.fixture
def hostile() -> Parsed:
    """A page in which every text that comes from labels would be a program, if it were not escaped."""
    bad = {"scan": [EVIL, *[f"s{n}" for n in range(1, 6)]], "site": EVIL, "target": [EVIL, "f", "m", "f", "m", EVIL]}
    return Parsed(page(report(findings=FINDINGS, **bad)))


def test_the_page_is_whole_html_and_loads_nothing(hostile):
    assert hostile.wrong == [] and hostile.open == []
    for _, attributes in hostile.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert value.startswith(("#", "data:image/")), value
            assert "url(" not in (value or "")
    assert {tag for tag, _ in hostile.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    style = module.STYLE
    assert "url(" not in style and "@import" not in style
    policy = next(each["content"] for each in hostile.all("meta") if "http-equiv" in each)
    assert "default-src 'none'" in policy and "img-src data:" in policy


def test_what_comes_from_labels_stands_as_text(hostile):
    for place in ("h3", "dd", "figcaption", "td"):
        assert place in {tag for tag, _ in hostile.tags}
    assert hostile.text.count("<script>alert(1)</script>") >= 6
    assert any("alert(1)" in (each.get("title") or "") for each in hostile.all("li"))


def test_links_lead_to_places_on_the_page(hostile):
    places = [attributes["id"] for _, attributes in hostile.tags if "id" in attributes]
    links = [attributes["href"].removeprefix("#") for attributes in hostile.all("a")]
    assert len(places) == len(set(places)) and set(links) <= set(places)
    assert {"scan-1", "scan-2", "scan-4"} <= set(links)


def test_findings_stand_in_the_order_of_harm_with_all_they_tell():
    text = Parsed(page(report(findings=FINDINGS))).text
    assert text.index("near duplicate") < text.index("odd scan") < text.index("how the file was read")
    assert "1 finding spoils a result" in text and "r 0.999" in text and "rows 3-4" in text


def test_scans_stand_worst_first_each_with_id_label_site_and_its_findings():
    html = page(report(findings=FINDINGS))
    figures = re.findall(r'<figure id="scan-(\d)".*?</figure>', html, re.S)
    assert figures == ["5", "4", "3", "2", "1", "0"]  # as the report orders them
    dark = re.search(r'<figure id="scan-4".*?</figure>', html, re.S)[0]
    told = Parsed(dark).text
    for words in ("s4", "target f", "A", "train", "row 6", "odd scan"):
        assert words in told
    assert 'class="doubtful"' in dark
    assert "near duplicate" not in told


def test_what_is_told_of_most_scans_is_not_repeated_below_each():
    everybody = Finding("target_tells_site", Harm.SPOILS, "labels.csv", "", scans=tuple(f"s{n}" for n in range(6)))
    assert page(report(findings=[everybody])).count("target tells site") == 1


def test_pictures_are_the_planes_and_are_loaded_when_they_are_looked_at():
    plane = np.zeros((40, 120), np.uint8)
    plane[10:30, 80:] = 200
    images = Parsed(page(report(planes=[plane] * 5 + [None]))).all("img")
    assert len(images) == 5 and all(each["loading"] == "lazy" for each in images)
    data = base64.b64decode(images[0]["src"].partition("base64,")[2])
    seen = np.asarray(Image.open(io.BytesIO(data)), float)
    assert seen.shape == (40, 120) and np.abs(seen - plane).mean() < 2


def test_a_scan_that_cannot_be_read_has_no_picture_but_its_place():
    html = page(report(planes=[None] * 6))
    assert html.count("no picture") == 6 and html.count("<figure") == 6


def test_pictures_become_coarser_where_there_are_too_many(monkeypatch):
    whole = len(page(report(scans=40)))
    monkeypatch.setattr(module, "PICTURES", 60_000)
    images = Parsed(page(report(scans=40))).all("img")
    assert len(images) == 40 and sum(len(each["src"]) for each in images) < 60_000 < whole


def test_of_very_many_scans_the_worst_are_shown(monkeypatch):
    monkeypatch.setattr(module, "MOST", 4)
    finding = Finding("odd_scan", Harm.DOUBTFUL, "labels.csv", "dark", scans=("s0", "s5"))
    html = page(report(findings=[finding]))
    assert re.findall(r'figure id="scan-(\d)"', html) == ["5", "4", "3", "2"]
    assert "Only the first 4 are shown" in html
    assert 'href="#scan-0"' not in html and 'href="#scan-5"' in html


@pytest.mark.parametrize("numeric", [True, False])
def test_the_cohort_is_told_by_split_with_a_histogram_of_the_subjects(numeric):
    data = report(scans=40, numeric=numeric)
    data.table.loc[1, "subject"] = "s0"  # two scans of one person, who counts once
    parsed = Parsed(page(data))
    bars = parsed.all("svg")[-1]["aria-label"]
    assert sum(int(number) for number in re.findall(r": (\d+)(?:,|$)", bars)) == 39
    for words in (
        "train",
        "validation",
        "test",
        "all",
        "mean 45" if numeric else "19\N{NO-BREAK SPACE}m, 20\N{NO-BREAK SPACE}f",
    ):
        assert words in parsed.text


def test_a_report_without_scans_tells_its_findings():
    empty = report(scans=0, numeric=False, findings=FINDINGS[:1], planes=[])
    parsed = Parsed(page(empty))
    assert "near duplicate" in parsed.text and not parsed.all("figure") and not parsed.wrong


def test_the_page_says_whom_it_shows():
    assert "shows heads and ids of people" in page(report())
