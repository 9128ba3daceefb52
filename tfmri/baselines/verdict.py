"""Whether a network is better than the best classical model, on the same scans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tfmri.evaluation.compare import differences, shared
from tfmri.evaluation.metrics import LOWER_IS_BETTER, Kind
from tfmri.evaluation.summary import IN_WORDS


@dataclass(frozen=True)
class Verdict:
    """What follows from a comparison.

    Args:
        sentence: in words, with the paired interval.
        classical_wins: whether a classical model is better beyond its interval.
    """

    sentence: str
    classical_wins: bool = False


def verdict(
    metric: str,
    reached: Mapping[str, float | None],
    classical: Mapping[str, pd.DataFrame],
    network: pd.DataFrame,
    kind: Kind,
    classes: Sequence[str],
    seed: int,
    resamples: int,
) -> Verdict:
    """Compares the network with the best classical model, by a paired interval over subjects.

    Args:
        metric: by which models are compared.
        reached: classical model -> its value; None where there is none.
        classical: model -> its predictions.csv.
        network: its predictions.csv.
        kind: of the target.
        classes: in the order of the outputs; empty for a number.
        seed: of the resampling.
        resamples: number of draws.
    """
    sign = -1 if metric in LOWER_IS_BETTER else 1
    known = {model: value for model, value in reached.items() if value is not None}
    if not known:
        return Verdict(f"There is no {IN_WORDS[metric]} to compare by on these scans.")
    best = max(known, key=lambda model: sign * known[model])
    first, second = shared(classical[best], network, kind, classes)
    gap = differences(first, second, kind, classes, seed, resamples)[metric]
    if gap["lower"] is None or gap["upper"] is None or gap["difference"] is None:
        return Verdict(f"Whether the network is better than {best} cannot be said: {gap['note']}.")
    low, high = sorted((sign * gap["lower"], sign * gap["upper"]))
    interval = f"{IN_WORDS[metric]} differs by {gap['difference']:+.2f} [{gap['lower']:+.2f}, {gap['upper']:+.2f}]"
    if low > 0:
        return Verdict(f"The network is better than the best classical model, {best}: {interval}.")
    if high < 0:
        return Verdict(f"A CLASSICAL MODEL WINS: {best} is better than the network: {interval}.", classical_wins=True)
    return Verdict(f"The network is not shown to be better than {best}: {interval}. The simpler model may do.")
