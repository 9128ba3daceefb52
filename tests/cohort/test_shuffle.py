import numpy as np
import pandas as pd

from tfmri.cohort.shuffle import dealer, shuffled


def table(subjects=40):
    split = ["train"] * 20 + ["validation"] * 12 + ["test"] * 8
    rows = [
        {
            "scan": f"s{who}_{session}",
            "subject": f"s{who}",
            "split": split[who],
            "fold": "",
            "age": 100.0 * who + session,
        }
        for who in range(subjects)
        for session in range(2 if who % 3 == 0 else 1)
    ]
    return pd.DataFrame(rows)


def test_each_part_keeps_its_values_and_test_its_own():
    before = table()
    before["sex"] = np.where(before.index % 3, "f", "m")
    before = before[~before["subject"].duplicated(keep=False)]
    after = shuffled(before, "sex", seed=0)
    for part in ("train", "validation", "test"):
        own = before["split"] == part
        assert sorted(after.loc[own, "sex"]) == sorted(before.loc[own, "sex"])
    testing = before["split"] == "test"
    assert (after.loc[testing, "sex"] == before.loc[testing, "sex"]).all()
    assert (after.loc[~testing, "sex"] != before.loc[~testing, "sex"]).mean() > 0.2
    pd.testing.assert_frame_equal(after.drop(columns="sex"), before.drop(columns="sex"))


def test_all_targets_of_a_subject_come_from_one_other_subject_in_their_order():
    before = table()
    after = shuffled(before, "age", seed=1)
    testing = before["split"] == "test"
    for _, rows in after[~testing].groupby("subject"):
        donor, session = np.divmod(rows["age"].to_numpy(), 100)
        assert len(set(donor)) == 1
        assert before.loc[before["subject"] == f"s{donor[0]:.0f}", "split"].iloc[0] == rows["split"].iloc[0]
        there = (before["subject"] == f"s{donor[0]:.0f}").sum()
        assert list(session) == [number % there for number in range(len(rows))]


def test_the_seed_decides_and_the_order_of_rows_does_not():
    before = table()
    turned = shuffled(before.iloc[::-1].reset_index(drop=True), "age", seed=0).set_index("scan")["age"]
    first = shuffled(before, "age", seed=0).set_index("scan")["age"]
    pd.testing.assert_series_equal(turned.sort_index(), first.sort_index())
    assert (shuffled(before, "age", seed=1).set_index("scan")["age"] != first).sum() > 10


def test_folds_keep_their_own_values():
    before = table().assign(split="train", fold=[str(number % 3) for number in range(len(table()))])
    before = before.drop_duplicates("subject")
    after = shuffled(before, "age", seed=0)
    for fold in "012":
        assert sorted(after.loc[before["fold"] == fold, "age"]) == sorted(before.loc[before["fold"] == fold, "age"])


def test_every_subject_gives_once_to_every_other_in_turn():
    random, deal = np.random.default_rng(0), dealer(np.array(["a", "b", "c", "d"]))
    drawn = np.array([deal(random) for _ in range(4000)])
    assert (np.sort(drawn, axis=1) == np.arange(4)).all()
    shares = np.stack([np.bincount(column, minlength=4) / len(drawn) for column in drawn.T])
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
