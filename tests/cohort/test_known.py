import numpy as np
import pandas as pd
import pytest

from tfmri.cohort.known import ages, diagnoses, healthy, sexes


def test_columns_and_classes_are_known_by_their_usual_names():
    table = pd.DataFrame(
        {"M/F": ["F", "male", ""], "Age_At_Scan": ["34", "n/a", "61.5"], "DX": ["CN", "AD", "control"]}
    )
    assert sexes(table).tolist() == ["f", "m", ""]
    np.testing.assert_array_equal(ages(table), [34, np.nan, 61.5])
    assert diagnoses(table).tolist() == ["healthy", "dementia", "healthy"]
    assert healthy(table).tolist() == [True, False, True]


@pytest.mark.parametrize(("cells", "expected"), [(["1", "2", "2.0"], "mff"), (["0", "1", "1"], "fmm")])
def test_codes_of_sex_follow_the_usual_conventions(cells, expected):
    assert "".join(sexes(pd.DataFrame({"gender": cells}))) == expected


def test_what_nobody_says_is_not_known():
    table = pd.DataFrame({"sex": ["1", "7"], "age": ["", "old"], "diagnosis": ["AD", "MCI"]})
    assert sexes(table) is None and ages(table) is None and healthy(table) is None
    assert sexes(pd.DataFrame({"subject": ["a"]})) is None
