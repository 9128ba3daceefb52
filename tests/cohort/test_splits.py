import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedShuffleSplit

from tfmri.cohort.splits import assign_folds, assign_splits, of_fold
from tfmri.errors import InputError, Problem

SIDES = ("train", "validation", "test")


def cohort(subjects: int = 120, seed: int = 0) -> pd.DataFrame:
    """Subjects with a sex, a site, an age, and every fourth of them with a second session two years later."""
    rng = np.random.default_rng(seed)
    names = [f"sub-{number:03}" for number in range(subjects)]
    table = pd.DataFrame(
        {
            "subject": names,
            "session": "1",
            "sex": rng.choice(["f", "m"], subjects, p=[0.6, 0.4]),
            "site": rng.choice(["a", "b", "c"], subjects, p=[0.5, 0.3, 0.2]),
            "age": rng.uniform(20, 80, subjects),
            "split": "",
        }
    )
    again = table.iloc[::4].assign(session="2", age=table["age"] + 2)
    table = pd.concat([table, again], ignore_index=True)
    return table.assign(scan=table["subject"] + "_" + table["session"])


def by_subject(table: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    return table.assign(side=split).drop_duplicates("subject")


def problem(table: pd.DataFrame, *arguments) -> Problem:
    with pytest.raises(InputError) as caught:
        assign_splits(table, *arguments)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_no_subject_stands_on_two_sides():
    table = cohort()
    split = assign_splits(table, 0.2, 0.2, ["sex", "site"], 0)
    assert table["subject"].duplicated().any()
    assert split.groupby(table["subject"]).nunique().max() == 1
    assert split.index.equals(table.index)


@pytest.mark.parametrize("stratify", [[], ["sex"], ["site", "sex"], ["age"], ["sex", "site", "age"]])
@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.2), (0.15, 0.1), (0.3, 0)])
def test_each_split_has_its_share_of_the_subjects(stratify, test, validation):
    table = cohort(97)
    counts = by_subject(table, assign_splits(table, test, validation, stratify, 3))["side"].value_counts()
    for side, share in zip(SIDES, (1 - test - validation, validation, test), strict=True):
        assert abs(counts.get(side, 0) - share * 97) <= 1


def test_each_group_and_each_group_within_has_its_share():
    table = cohort()
    people = by_subject(table, assign_splits(table, 0.2, 0.2, ["sex", "site"], 0))
    for columns, most in ((["sex"], 1), (["sex", "site"], 2)):
        for _, group in people.groupby(columns):
            for side, share in zip(SIDES, (0.6, 0.2, 0.2), strict=True):
                assert abs((group["side"] == side).sum() - share * len(group)) <= most


def test_classes_are_balanced_as_well_as_by_scikit_learn():
    for seed in range(20):
        table = cohort(83, seed).drop_duplicates("subject").reset_index(drop=True)
        strata = table["sex"] + table["site"]
        overall = strata.value_counts(normalize=True)

        def imbalance(rows, strata=strata, overall=overall):
            return (
                (strata[rows].value_counts(normalize=True).reindex(overall.index, fill_value=0) - overall).abs().sum()
            )

        ours = assign_splits(table, 0.2, 0, ["sex", "site"], seed)
        theirs = next(StratifiedShuffleSplit(1, test_size=17, random_state=seed).split(table, strata))[1]
        assert (ours == "test").sum() in (16, 17)
        assert imbalance(ours.index[ours == "test"]) <= imbalance(theirs) + 2 / 17  # by one subject at most


def test_ages_are_alike_on_all_sides():
    table = cohort(300)
    people = by_subject(table, assign_splits(table, 0.2, 0.2, ["age"], 0))
    tenth = pd.qcut(table.groupby("subject")["age"].mean(), 10, labels=False)
    counts = pd.crosstab(people["subject"].map(tenth), people["side"])
    assert counts["test"].between(5, 7).all() and counts["validation"].between(5, 7).all()  # 6 of 30 in each tenth


def test_numbers_in_text_are_numbers_and_few_of_them_are_classes():
    table = cohort(100)
    text = table.assign(age=table["age"].map("{:.6f}".format), grade="1")
    text.loc[text["subject"] < "sub-006", "grade"] = "2"
    numbers = table.assign(age=text["age"].astype(float))
    assert assign_splits(text, 0.2, 0.2, ["age"], 0).equals(assign_splits(numbers, 0.2, 0.2, ["age"], 0))
    people = by_subject(text, assign_splits(text, 0.2, 0.2, ["grade"], 0))
    assert set(people.loc[people["grade"] == "2", "side"]) == set(SIDES)


def test_subjects_without_a_number_are_a_group_of_their_own():
    table = cohort(100).astype({"age": object})
    table.loc[table["subject"] < "sub-020", "age"] = "n/a"
    people = by_subject(table, assign_splits(table, 0.2, 0.2, ["age"], 0))
    assert people.loc[people["age"] == "n/a", "side"].value_counts()["test"] in (3, 4, 5)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_three_subjects_is_in_every_split(seed):
    table = cohort(60)
    table["diagnosis"] = np.where(table["subject"].isin(["sub-007", "sub-021", "sub-040"]), "dementia", "healthy")
    people = by_subject(table, assign_splits(table, 0.15, 0.15, ["diagnosis", "site"], seed))
    assert sorted(people.loc[people["diagnosis"] == "dementia", "side"]) == sorted(SIDES)


def test_three_subjects_suffice_for_three_splits():
    table = cohort(3)
    assert set(assign_splits(table, 0.1, 0.1, [], 0)) == set(SIDES)


def test_the_order_of_rows_does_not_matter():
    table = cohort()
    split = assign_splits(table, 0.2, 0.2, ["sex", "site", "age"], 0)
    for seed in range(5):
        shuffled = table.sample(frac=1, random_state=seed)
        assert assign_splits(shuffled, 0.2, 0.2, ["sex", "site", "age"], 0).sort_index().equals(split)


def test_the_split_is_the_same_in_years_to_come():
    table = cohort(10)[["subject", "scan"]].assign(sex=list("ffmfmmfmff") + list("fmf"))
    split = by_subject(table, assign_splits(table, 0.2, 0.2, ["sex"], 0)).set_index("subject")["side"]
    numbers = {side: "".join(name[-1] for name in split.index[split == side]) for side in SIDES}
    assert numbers == {"train": "124689", "validation": "37", "test": "05"}


def test_another_seed_gives_another_split_and_every_subject_the_same_chance():
    table = cohort(50).drop_duplicates("subject")
    tested = np.mean([assign_splits(table, 0.2, 0.2, ["sex", "site"], seed) == "test" for seed in range(150)], axis=0)
    # one subject's frequency over 150 seeds has a standard deviation of sqrt(0.2 * 0.8 / 150) = 0.033
    assert np.abs(tested - 0.2).max() < 5 * 0.033


def test_the_files_own_split_wins():
    table = cohort()
    own = np.where(table["subject"] < "sub-050", "test", np.where(table["subject"] < "sub-060", "validation", "train"))
    split = assign_splits(table.assign(split=own), 0.2, 0.2, ["sex"], 0)
    assert list(split) == list(own)


@pytest.mark.parametrize(("named", "cut"), [("test", "validation"), ("validation", "test")])
def test_a_split_that_the_file_does_not_name_is_cut_from_train(named, cut):
    table = cohort(100)
    own = pd.Series(np.where(table["subject"] < "sub-020", named, "train"))
    split = assign_splits(table.assign(split=own), 0.2, 0.2, ["sex"], 0)
    assert ((split == named) == (own == named)).all()
    people = by_subject(table, split)
    assert (people["side"] == cut).sum() == 20  # 0.2 / (0.2 + 0.6) of the 80 who are left
    assert split.groupby(table["subject"]).nunique().max() == 1


def test_nothing_is_cut_for_a_share_of_zero():
    table = cohort(100)
    own = np.where(table["subject"] < "sub-020", "test", "train")
    assert list(assign_splits(table.assign(split=own), 0.2, 0, ["sex"], 0)) == list(own)


@pytest.mark.parametrize(("test", "validation"), [(0.5, 0.5), (-0.1, 0.2), (0.2, 1.0)])
def test_shares_that_leave_nothing_to_train_on_are_refused(test, validation):
    found = problem(cohort(), test, validation, [], 0)
    assert found.where == "split"
    assert found.expected == "shares of at least 0 that add up to less than 1"


def test_an_unknown_column_to_stratify_by_names_the_nearest():
    found = problem(cohort(), 0.2, 0.2, ["sexe"], 0)
    assert (found.where, found.advice) == ("split.stratify", "Did you mean 'sex'?")


def test_fewer_subjects_than_splits_are_refused():
    found = problem(cohort(2), 0.2, 0.2, [], 0)
    assert (found.found, found.advice) == ("2 subjects for train, validation, test", "Add subjects.")


def test_a_split_column_that_makes_no_sense_is_refused():
    table = cohort(20)
    parted = table.assign(split=np.where(table["session"] == "2", "test", "train"))
    assert "5 subjects stand in two splits, such as 'sub-000'" in problem(parted, 0.2, 0.2, [], 0).found
    assert "no row says train" in problem(table.assign(split="test"), 0.2, 0.2, [], 0).found
    partly = table.assign(split=np.where(table["subject"] < "sub-010", "train", ""))
    assert problem(partly, 0.2, 0.2, [], 0).expected == "train, validation or test in every row"


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_cut_what_is_not_test_into_equal_parts_by_subject_and_class(folds):
    table = cohort(97)
    people = by_subject(table, fold := assign_folds(table, 0.2, folds, ["sex", "site"], 0))
    assert fold.groupby(table["subject"]).nunique().max() == 1
    assert set(fold) == {"test", *(str(number) for number in range(1, folds + 1))}
    assert abs((people["side"] == "test").sum() - 0.2 * 97) <= 1
    sizes = people.loc[people["side"] != "test", "side"].value_counts()
    assert sizes.max() - sizes.min() <= 1
    women = people[people["sex"] == "f"]["side"].value_counts().drop("test")
    assert women.max() - women.min() <= 2


def test_each_fold_is_validated_on_by_one_fit_and_trained_on_by_the_others():
    table = cohort(50)
    parts = assign_folds(table, 0.2, 4, ["sex"], 0)
    table = table.assign(split=np.where(parts == "test", "test", "train"), fold=parts.mask(parts == "test", ""))
    validated = [
        set(seen.loc[seen["split"] == "validation", "scan"]) for seen in (of_fold(table, k) for k in range(1, 5))
    ]
    assert set.union(*validated) == set(table.loc[parts != "test", "scan"])
    assert sum(map(len, validated)) == (parts != "test").sum()
    for fold in range(1, 5):
        seen = of_fold(table, fold)
        assert ((seen["split"] == "test") == (parts == "test")).all()
        assert ((seen["split"] == "train") == ~parts.isin(["test", str(fold)])).all()
    assert of_fold(table, None) is table


def test_the_files_own_test_subjects_stay_apart_from_the_folds_and_its_validation_is_refused():
    table = cohort(40)
    own = table.assign(split=np.where(table["subject"] < "sub-010", "test", "train"))
    parts = assign_folds(own, 0.5, 3, [], 0)
    assert ((parts == "test") == (own["split"] == "test")).all()
    with pytest.raises(InputError, match="names validation"):
        assign_folds(own.assign(split=own["split"].replace("test", "validation")), 0.2, 3, [], 0)
