"""The numbers of a report: metrics with their figures, what was learnt on validation, groups of people."""

from collections.abc import Mapping
from html import escape

from tfmri.evaluation.summary import HEADLINES, IN_WORDS, in_figures
from tfmri.report.facts import Facts
from tfmri.report.markup import as_figure, as_grid, as_table, numbers, png, words
from tfmri.report.words import metric_in_words

CAPTIONS = {  # figures in the order in which they are shown -> what they are
    "roc": "ROC curve; the band is a 95 % interval over subjects.",
    "precision_recall": "Precision against recall, with a 95 % band; the dashed line is guessing.",
    "confusion_matrix": "Counts and percentages of each true class.",
    "reliability": "How often the model is right, beside how sure it is.",
    "predicted_vs_true": "Prediction against truth, with the line of identity.",
    "gap_vs_age": "Gap (prediction minus truth) against truth: models guess towards the mean. For age, also corrected.",
    "bland_altman": "Bland-Altman: difference against mean, with limits of agreement.",
    "predicted_sd": "How many truths intervals of the predicted SD hold; below the diagonal the model is too sure.",
    "histogram_by_split": "The target by split.",
    "age_by_split": "Age by split.",
}


def results(facts: Facts) -> str:
    """Every metric, the figures, and how far the fits lie apart."""
    best = facts.best.get(facts.target, {})
    rows = [["", "value [95 % interval]", "trivial", *(["best reachable"] if best else []), "n", ""]]
    for name, entry in facts.metrics.items():
        reachable = [f"{best[name]:.2f}" if name in best else ""] if best else []
        rows.append(
            [metric_in_words(name, facts.target), *numbers(entry), *reachable, str(entry["n"]), entry.get("note", "")]
        )
    figures = [
        as_figure(png(path), caption)
        for name, caption in CAPTIONS.items()
        if (path := facts.folder / "figures" / f"{name}.png").exists()
    ]
    fits = facts.summary.get("fits", {}).get(facts.target, {})
    apart = ""
    if fits:
        spread = [["", "mean over fits", "SD", "lowest", "highest", "fits"]]
        for name, each in fits.items():
            sd = "-" if each["sd"] is None else f"{each['sd']:.3f}"
            ends = [f"{each[key]:.3f}" for key in ("lowest", "highest")]
            spread.append([metric_in_words(name, facts.target), f"{each['mean']:.3f}", sd, *ends, str(each["fits"])])
        apart = "<h3>Each fit by itself</h3><p>How much depends on seed and fold, which intervals do not tell.</p>"
        apart += as_table(spread)
    note = "Intervals resample subjects. Trivial is the most frequent class, or the mean, of the training people."
    return f"<p>{note}</p>{as_table(rows)}{as_grid(figures)}{apart}"


def classical(facts: Facts) -> str:
    """Classical models on the same split, or how to have them."""
    if facts.others or facts.place == "train" or facts.experiment.data.shuffle_labels:
        return ""
    if not facts.classical:
        split = "" if facts.place == "test" else f" --split {facts.place}"
        command = f"tfmri baseline {facts.run.path.parent.name}{split}"
        return f"<p>Not asked yet: <code>{escape(command)}</code>, then evaluate again.</p>"
    parts = []
    for each in facts.classical:
        names = [name for name in HEADLINES if name in facts.metrics]
        trivial = [facts.metrics[name]["trivial"] for name in names]
        rows = [["", *(IN_WORDS[name] for name in names)]]
        rows.append(["trivial", *("-" if value is None else f"{value:.2f}" for value in trivial)])
        rows += [[model, *(in_figures(found[name]) for name in names)] for model, found in each.metrics.items()]
        rows.append(["network", *(in_figures(facts.metrics[name]) for name in names)])
        said = escape(each.verdict.sentence)
        verdict = f"<b>{said}</b>" if each.verdict.classical_wins else said
        parts.append(f"<p>Of {escape(each.features)}. {verdict}</p>{as_table(rows)}")
    return "".join(parts)


def adjustments(facts: Facts) -> str:
    """What was learnt on validation, and what it does here."""
    found = facts.summary.get("adjustments", {}).get(facts.target, {})
    if not found:
        return ""
    counts = f"{found['n']} scans of {found['subjects']} people"
    parts = [f"<p>Learnt on validation ({counts}), none of it changes the headline.</p>"]
    if "value" in found.get("temperature", {}):
        each = found["temperature"]
        rows = [["", "as the model says", f"with temperature {each['value']:.2f}"]]
        rows += [
            [metric_in_words(name, facts.target), in_figures(each["before"][name]), in_figures(each["after"][name])]
            for name in each["before"]
        ]
        parts.append("<h3>Calibration</h3>" + as_table(rows))
    if "value" in found.get("threshold", {}):
        each = found["threshold"]
        rows = [["", f"{each['of']} ≥ {each['value']:.2f}", "at 0.50"]]
        rows += [
            [metric_in_words(name, facts.target), in_figures(entry), in_figures(facts.metrics[name])]
            for name, entry in each["metrics"].items()
        ]
        parts.append("<h3>Threshold</h3>" + as_table(rows))
    if found.get("conformal", {}).get("coverage", {}).get("n"):
        each = found["conformal"]
        if "half_width" in each:
            size = f"Intervals reach {each['half_width']:.1f} to either side of the prediction"
        else:
            size = f"Sets hold {each['mean_size']['value']:.2f} classes on average"
        parts.append(
            f"<h3>Conformal prediction</h3><p>{size}; they are to hold the truth for {each['level']:.0%} of people, "
            f"and did for {in_figures(each['coverage'])} of the scans here.</p>"
        )
    if "factor" in found.get("predicted_sd", {}):
        each = found["predicted_sd"]
        rows = [["intervals that are to hold", "hold, as the model says", f"with sd × {each['factor']:.2f}"]]
        rows += [
            [f"{held['level']:.0%}", in_figures(held["before"]), in_figures(held["after"])] for held in each["coverage"]
        ]
        parts.append("<h3>Predicted standard deviations</h3>" + as_table(rows))
    if "slope" in found.get("age_bias", {}):
        each = found["age_bias"]
        rows = [["", "corrected", "as predicted"]]
        rows += [
            [metric_in_words(name, facts.target), in_figures(entry), in_figures(facts.metrics[name])]
            for name, entry in each["corrected"].items()
        ]
        line = f"gap = {each['slope']:+.3f} × age {each['intercept']:+.1f}"
        parts.append(
            f"<h3>Bias with age</h3><p>{line}, fitted on validation ({escape(each['who'])}). Corrected gaps use the "
            f"true age: they are for relating the gap to other things, and no better predictions.</p>" + as_table(rows)
        )
    parts += [
        f'<p class="dim">No {escape(words(name))}: {escape(each["note"])}.</p>'
        for name, each in found.items()
        if isinstance(each, Mapping) and "note" in each
    ]
    return "".join(parts)


def groups(facts: Facts) -> str:
    """The headline by site, sex and age."""
    name, title, _ = facts.headline()
    parts = []
    for column, groups in facts.summary["groups"].get(facts.target, {}).items():
        rows = [[words(column), title, "trivial", "n", ""]]
        for group, metrics in groups.items():
            entry = metrics[name]
            rows.append([group, *numbers(entry), str(entry["n"]), entry.get("note", "")])
        parts.append(as_table(rows))
    return "".join(parts)
