import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from tfmri.evaluation import classification_figures, figures, learning_curves, metrics

CURVES = ["confusion_matrix", "precision_recall", "reliability", "roc"]
CLASSES = ["_f$x_1$", "m"]  # a legend drops names with a leading underscore, and mathtext would eat the rest


def classified(scans: int = 40, classes=CLASSES, sites=("A",)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = np.arange(scans) % len(classes)
    probabilities = rng.dirichlet(np.ones(len(classes)), scans) * 0.6 + 0.4 * np.eye(len(classes))[truth]
    names = np.array(classes)
    return pd.DataFrame(
        {
            "subject": [f"s{scan // 2}" for scan in range(scans)],
            "site": [sites[scan % len(sites)] for scan in range(scans)],
            "target": "sex",
            "truth": names[truth],
            "prediction": names[probabilities.argmax(1)],
            **{f"p_{name}": probabilities[:, number] for number, name in enumerate(classes)},
        }
    )


def aged(scans: int = 40, sites=("A",)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 80, scans)
    site = [sites[scan % len(sites)] for scan in range(scans)]
    subject = [f"s{scan}" for scan in range(scans)]
    prediction = 50 + 0.8 * (truth - 50) + rng.normal(0, 4, scans)
    return pd.DataFrame({"subject": subject, "site": site, "target": "age", "truth": truth, "prediction": prediction})


@pytest.fixture
def drawn(monkeypatch):
    """Every figure saved, to look at what stands on it."""
    kept = []
    save = Figure.savefig

    def keep(figure, *args, **settings):
        kept.append(figure)
        return save(figure, *args, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def assert_whole(files, size: tuple[int, int] | None = None) -> None:
    for png, pdf in zip(files[::2], files[1::2], strict=True):
        with Image.open(png) as image:
            assert size in (None, image.size)
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 5, f"{png.name} is blank"
        assert pdf.read_bytes()[:5] == b"%PDF-" and b"%%EOF" in pdf.read_bytes()[-10:]


@pytest.mark.parametrize(
    "rows, kind, classes, names",
    [
        (classified(), "classification", CLASSES, CURVES),
        (classified(classes=list("abc")), "classification", list("abc"), CURVES),
        (classified(classes=list("abc")), "ordinal", list("abc"), CURVES),
        (aged().assign(sd=3.0), "regression", [], ["bland_altman", "gap_vs_age", "predicted_vs_true", "predicted_sd"]),
        (aged(sites=("A", "B")), "regression", [], ["bland_altman", "gap_vs_age", "predicted_vs_true"]),
    ],
)
def test_every_figure_of_a_task_is_written_whole_as_png_and_pdf(tmp_path, rows, kind, classes, names):
    files = figures.write_figures(rows, kind, classes, tmp_path / "figures", resamples=50)
    assert_whole(files)
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")
    )


def test_a_figure_has_150_dots_per_inch_and_the_same_bytes_twice(tmp_path):
    first = classification_figures.roc(classified(), CLASSES, tmp_path / "first", resamples=50)
    second = classification_figures.roc(classified(), CLASSES, tmp_path / "second", resamples=50)
    assert_whole(first, size=(750, 720))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize(
    "rows, kind",
    [
        (classified(scans=1), "classification"),
        (classified().query("truth == 'm'"), "classification"),
        (classified().assign(p_m=0.5, **{"p__f$x_1$": 0.5}), "classification"),
        (aged(scans=1), "regression"),
        (aged().assign(prediction=50.0), "regression"),
        (aged().assign(truth=50.0), "regression"),
    ],
    ids=["one scan", "one class", "constant classes", "one age", "constant ages", "same age"],
)
@pytest.mark.filterwarnings("error")
def test_degenerate_predictions_still_give_figures(tmp_path, rows, kind):
    assert_whole(figures.write_figures(rows, kind, CLASSES if kind == "classification" else [], tmp_path, resamples=50))


def test_the_points_of_a_precision_recall_curve_are_those_of_scikit_learn():
    from sklearn.metrics import precision_recall_curve

    rng = np.random.default_rng(1)
    positive, score = rng.random(60) < 0.4, rng.integers(0, 20, 60) / 20
    precision, recall, _ = precision_recall_curve(positive, score)
    ours = metrics.precision_recall_points(positive, score, np.ones(60))
    np.testing.assert_allclose(ours[0], recall[-2::-1])
    np.testing.assert_allclose(ours[1], precision[-2::-1])


def test_the_gap_stands_corrected_below_the_gap_as_predicted(tmp_path, drawn):
    rows = aged()
    slope, intercept = np.polyfit(rows["truth"], rows["prediction"] - rows["truth"], 1)
    corrected = rows["prediction"] - rows["truth"] - slope * rows["truth"] - intercept
    assert_whole(figures.gap_vs_age(rows.assign(corrected_gap=corrected), tmp_path / "gap", resamples=50))
    said = words(drawn[0])
    assert any(text.startswith("r -0.") for text in said) and any(
        text.startswith(("r 0.00", "r -0.00")) for text in said
    )
    assert any("corrected" in text for text in said) and any("as predicted" in text for text in said)
    alone = tmp_path / "alone"
    figures.gap_vs_age(rows.assign(corrected_gap=np.nan), alone, resamples=50)
    assert not any("corrected" in text for text in words(drawn[-1]))


def test_intervals_that_hold_what_they_say_lie_on_the_diagonal_and_those_of_a_sure_model_below(tmp_path, drawn):
    rows = aged(2000)
    sd = (rows["prediction"] - rows["truth"]).std()
    rows = rows.assign(prediction=rows["truth"] + np.random.default_rng(1).normal(0, sd, 2000), calibrated_sd=sd)
    figures.predicted_sd(rows.assign(sd=sd / 2), tmp_path / "sure", resamples=50)
    _, sure, scaled = drawn[0].axes[0].lines
    np.testing.assert_allclose(scaled.get_ydata(), scaled.get_xdata(), atol=0.05)
    reach = stats.norm.ppf(0.5 + sure.get_xdata() / 2) / 2
    np.testing.assert_allclose(sure.get_ydata(), 2 * stats.norm.cdf(reach) - 1, atol=0.05)


def test_without_any_prediction_there_is_no_figure(tmp_path):
    assert figures.write_figures(aged().assign(prediction=np.nan), "regression", [], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_names_are_drawn_as_they_stand_and_not_as_formulas(tmp_path, drawn):
    figures.write_figures(classified(), "classification", CLASSES, tmp_path, resamples=50)
    classification_figures.roc(classified(), CLASSES[::-1], tmp_path / "roc_of_the_other", resamples=50)
    assert "_f$x_1$" in words(drawn[4])
    (legend,) = drawn[-1].findobj(matplotlib.legend.Legend)
    assert legend.get_texts()[0].get_text().startswith("_f$x_1$: AUC 0.")
    assert not any(text.get_parse_math() for figure in drawn for text in figure.findobj(matplotlib.text.Text))
    assert matplotlib.rcParams["text.parse_math"]  # and the style stays with our figures


def test_figures_say_n_and_units(tmp_path, drawn):
    figures.predicted_vs_true(aged(sites=("A", "B")), tmp_path / "age", resamples=50)
    said = words(drawn[0])
    assert {"age: n = 40", "true age (years)", "predicted age (years)", "A", "B"} <= set(said)
    classification_figures.roc(classified(), CLASSES, tmp_path / "roc", resamples=50)
    assert "sex: n = 40 scans of 20 subjects" in words(drawn[-1])


def test_the_confusion_matrix_shows_counts_and_percentages_of_the_true_class(tmp_path, drawn):
    rows = pd.DataFrame({"subject": list("abcde"), "target": "dx", "truth": list("xxxxy"), "prediction": list("xyyyy")})
    classification_figures.confusion_matrix(rows, ["x", "y", "z"], tmp_path / "matrix")
    assert [word for word in words(drawn[0]) if "\n" in word and "n =" not in word] == [
        *("1\n25%", "3\n75%", "0\n0%"),
        *("0\n0%", "1\n100%", "0\n0%"),
        *("0\n-", "0\n-", "0\n-"),
    ]


def test_more_sites_than_colours_share_the_last_one(tmp_path, drawn):
    figures.predicted_vs_true(aged(sites=[f"site {number}" for number in range(10)]), tmp_path / "age", resamples=50)
    (legend,) = drawn[0].findobj(matplotlib.legend.Legend)
    assert len(legend.get_texts()) == 6 and legend.get_texts()[-1].get_text() == "5 other sites"


def test_long_names_that_begin_alike_stay_apart(tmp_path, drawn):
    sites = ("Neurology ward, scanner 1", "Neurology ward, scanner 2")
    figures.bland_altman(aged(sites=sites), tmp_path / "age", resamples=50)
    assert {"Neurolo…nner 1", "Neurolo…nner 2"} <= set(words(drawn[0]))


def history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "learning_rate": 1e-3 / epoch,
            "loss": 1 / epoch,
            "mae": 10 / epoch,
            "validation_loss": 1.1 / epoch,
            "validation_mae": 5 + (epoch - 3.0) ** 2,
            "seconds": 2.0,
        }
    )


def test_learning_curves_mark_the_best_epoch_by_the_main_metric(tmp_path, drawn):
    assert_whole(learning_curves.learning_curves(history(8), tmp_path / "curves"), size=(900, 1215))
    assert learning_curves.main_metric(history(8)) == "mae"
    assert learning_curves.best_epoch(history(8), "validation_mae") == 3
    assert (
        learning_curves.best_epoch(history(8).rename(columns={"validation_mae": "validation_r2"}), "validation_r2") == 8
    )
    assert "best epoch 3: validation mae 5" in words(drawn[0])


@pytest.mark.filterwarnings("error")
def test_learning_curves_can_be_drawn_after_the_first_epoch_and_without_validation(tmp_path):
    assert_whole(learning_curves.learning_curves(history(1), tmp_path / "first"))
    unvalidated = history(3).assign(validation_mae=np.nan, validation_loss=np.nan)
    assert_whole(learning_curves.learning_curves(unvalidated, tmp_path / "unvalidated"))
    assert_whole(learning_curves.learning_curves(history(3)[["epoch", "loss"]], tmp_path / "bare"))


def test_the_histogram_by_split_counts_every_known_target(tmp_path, drawn):
    splits = pd.Series(["train"] * 60 + ["test"] * 40)
    ages = pd.Series(np.linspace(20, 80, 100), name="age").where(splits.index != 0)
    assert_whole(figures.histogram_by_split(ages, splits, tmp_path / "age"))
    assert {"train, n = 59", "test, n = 40", "age (years)"} <= set(words(drawn[0]))
    heights = [[bar.get_height() for bar in axes.patches] for axes in drawn[0].axes]
    assert [sum(panel) for panel in heights] == [59, 40]
    sexes = pd.Series(["f", "m"] * 50, name="sex")
    figures.histogram_by_split(sexes, splits, tmp_path / "sex")
    assert "30 (50%)" in words(drawn[-1]) and "20 (50%)" in words(drawn[-1])


def test_the_fitted_line_is_numpys_and_constant_ages_have_none():
    rows = aged()
    x, gap = rows["truth"].to_numpy(), (rows["prediction"] - rows["truth"]).to_numpy()
    weights = np.random.default_rng(1).integers(0, 3, size=(2, 40)).astype(float)
    grid = np.array([20.0, 50.0])
    for drawn_weights, line in zip(weights, figures.fitted_line(x, gap, weights, grid), strict=True):
        expected = np.polyval(np.polyfit(x, gap, 1, w=np.sqrt(drawn_weights)), grid)
        np.testing.assert_allclose(line, expected)
    assert np.isnan(figures.fitted_line(np.full(40, 50.0), gap, np.ones(40), grid)).all()


def test_limits_of_agreement_are_the_mean_and_1_96_sample_deviations():
    gap = np.array([1.0, 2.0, 4.0, 9.0])
    limits = figures.limits_of_agreement(gap, np.ones(4))
    spread = 1.96 * gap.std(ddof=1)
    assert list(limits.values()) == pytest.approx([4 + spread, 4, 4 - spread])


def test_drawing_needs_neither_a_display_nor_pyplot_nor_tensorflow(tmp_path):
    program = (
        "import sys; from tfmri.evaluation import figures, summary\n"
        "assert not {'matplotlib.pyplot', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
