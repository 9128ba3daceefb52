"""Does a sound pipeline score chance where there is nothing to learn?        make bench BENCH=null_cohort

For each of the seeds 0 to 9 (or of --seeds others from --first), writes a phantom cohort of the variant `null`, whose
labels are independent of its scans, trains an experiment on it with that seed (weights, order, augmentation and split),
and pools the predictions on the test splits. Prints balanced accuracy with its 95 % interval by resampling subjects. An
interval that does not contain 1 / classes means a leak.

Each seed has people and labels of its own. On one cohort split ten times the predictions hang together by its one draw
of labels: there, the mean over many splits of a logistic regression on the subjects' latent variables has a standard
deviation of 0.034 between draws of labels, which resampling subjects does not see.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tfmri.evaluation.intervals import percentile_intervals
from tfmri.evaluation.metrics import metrics_of
from tfmri.runs.directory import find_run

PROGRAM = [sys.executable, "-c", "from tfmri.cli import main; main()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", default="sex_clf")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=0, help="of the seeds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    options = parser.parse_args()
    pooled, name = [], Path(options.experiment).stem
    for seed in range(options.first, options.first + options.seeds):
        run, cohort = f"null-seed-{seed}", f"data/null-seed-{seed}"
        subprocess.run([*PROGRAM, "demo", cohort, "--variant", "null", "--seed", str(seed)], check=True)
        settings = [f"data.labels={cohort}/labels.csv", f"seed={seed}", f"split.seed={seed}", *options.overrides]
        arguments = [part for setting in settings for part in ("--set", setting)]
        subprocess.run([*PROGRAM, "train", options.experiment, "--run", run, *arguments], check=True)
        subprocess.run([*PROGRAM, "evaluate", f"{name}/{run}"], check=True)
        predictions = pd.read_csv(find_run(f"{name}/{run}").evaluation("test") / "predictions.csv")
        pooled.append(predictions.assign(subject=f"{seed}/" + predictions["subject"]))
    rows = pd.concat(pooled, ignore_index=True)
    classes = [column.removeprefix("p_") for column in rows if column.startswith("p_")]

    metrics = metrics_of(rows, "classification", classes)
    interval = percentile_intervals(metrics, rows["subject"], 0, 2000)["balanced_accuracy"]
    value, chance = float(metrics()["balanced_accuracy"]), 1 / len(classes)
    by_seed = [float(metrics_of(part, "classification", classes)()["balanced_accuracy"]) for part in pooled]
    print(f"by seed: {' '.join(f'{each:.2f}' for each in by_seed)}")
    print(
        f"{len(rows)} predictions of {rows['subject'].nunique()} subjects, {options.seeds} seeds: balanced accuracy "
        f"{value:.3f} [{interval.lower:.3f}, {interval.upper:.3f}], chance {chance:.3f}"
    )
    sys.exit(not interval.lower <= chance <= interval.upper)


if __name__ == "__main__":
    main()
