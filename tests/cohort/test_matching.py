import pytest

from tfmri.cohort.layouts.matching import SESSION_WORDS, match_ids, normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sub_101", "sub-101"),
        ("Sub_101", "101"),
        ("SUBJECT 7", "sub-007"),
        ("101", "101.0"),
        ("002_S_0413", "002S0413"),
        ("A-1", "a1"),
        ("sub-0", "00"),
        ("Größe-1", "GRÖSSE_01"),
        ("ä1", "a\u03081"),
    ],
)
def test_spellings_of_one_id_are_told_to_be_alike(one, other):
    assert match_ids([one], [other]).pairs == {one: other}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1-23", "12-3"),
        ("patient01", "control01"),
        ("101", "1010"),
        ("10", "1"),
        ("1.5", "1"),
        ("sub-101", "sub-101b"),
        ("OAS1_0001", "OAS2_0001"),
        ("sub", "7"),
        ("---", "_"),
    ],
)
def test_different_ids_stay_different(one, other):
    matches = match_ids([one], [other])
    assert (matches.pairs, matches.notes, matches.ambiguous) == ({}, (), {})


def test_what_is_spelled_exactly_so_is_matched_without_a_word():
    matches = match_ids(["sub-01", "1", "001"], ["1", "sub-01", "x", "001"])
    assert matches.pairs == {"sub-01": "sub-01", "1": "1", "001": "001"}
    assert matches.notes == ()


def test_what_was_matched_in_another_spelling_is_said_with_examples():
    matches = match_ids([f"Sub_{n}" for n in range(101, 106)], [f"sub-{n}" for n in range(100, 106)])
    assert len(matches.pairs) == 5
    assert matches.notes == (
        "5 ids are spelled in two ways and taken for the same: "
        "'Sub_101' is 'sub-101', 'Sub_102' is 'sub-102', 'Sub_103' is 'sub-103' and 2 more.",
    )
    assert match_ids(["Sub_1"], ["1"]).notes == ("1 id is spelled in two ways and taken for the same: 'Sub_1' is '1'.",)


def test_an_id_that_may_be_one_of_two_is_given_to_neither():
    matches = match_ids(["007", "8"], ["7", "07", "8"])
    assert matches.pairs == {"8": "8"}
    assert matches.ambiguous == {"007": ["7", "07"]}
    assert matches.reasons == {"007": "it may be '7' or '07'"}


def test_an_id_that_two_could_be_is_given_to_neither_of_them():
    matches = match_ids(["Sub_101", "sub101"], ["sub-101"])
    assert matches.pairs == {}
    assert matches.ambiguous == {"Sub_101": ["sub-101"], "sub101": ["sub-101"]}
    assert matches.reasons["Sub_101"] == "'sub-101' may be this or 'sub101'"


def test_an_id_that_has_its_exact_match_is_not_given_to_another_too():
    matches = match_ids(["sub-101", "Sub_101"], ["sub-101"])
    assert matches.pairs == {"sub-101": "sub-101"}
    assert matches.ambiguous == {"Sub_101": ["sub-101"]}


def test_bare_numbers_are_matched_to_ids_that_all_begin_alike():
    assert match_ids(["IXI012", "IXI013"], ["12", "13", "14"]).pairs == {"IXI012": "12", "IXI013": "13"}
    assert match_ids(["12", "13"], ["IXI012", "IXI013"]).pairs == {"12": "IXI012", "13": "IXI013"}
    assert match_ids(["OAS1_0001", "OAS1_0002"], ["0001", "2"]).pairs == {"OAS1_0001": "0001", "OAS1_0002": "2"}


def test_bare_numbers_are_not_matched_where_the_letters_tell_people_apart():
    assert match_ids(["01", "02"], ["patient01", "control02"]).pairs == {}
    assert match_ids(["01", "02"], ["patient01", "control01"]).pairs == {}
    assert match_ids(["01", "02"], ["ses-1", "ses-2"]).pairs == {}
    assert match_ids(["IXI012", "IXI013"], ["Sub_12", "Sub_13"]).pairs == {}
    both = match_ids(["IXI012", "12"], ["12"])
    assert both.pairs == {"12": "12"}
    assert match_ids(["IXI012", "12"], ["IXI012", "IXI013"]).pairs == {"IXI012": "IXI012"}


def test_no_known_id_is_given_twice_and_repetitions_do_not_matter():
    wanted = ["1", "01", "sub-1", "2", "2", "IXI3", "3", "S4", "4"]
    known = ["1", "2", "2", "3", "IXI3", "4", "04"]
    pairs = match_ids(wanted, known).pairs
    assert len(set(pairs.values())) == len(pairs)
    assert match_ids(wanted * 2, known * 2).pairs == pairs


def test_words_without_a_meaning_can_be_others():
    assert match_ids(["ses-01", "visit-02"], ["1", "2"]).pairs == {}
    assert match_ids(["ses-01", "visit-02"], ["1", "2"], SESSION_WORDS).pairs == {"ses-01": "1", "visit-02": "2"}
    assert normal_form("visit 02", SESSION_WORDS) == ("2",)
