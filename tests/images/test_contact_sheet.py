import numpy as np

from tfmri.images.contact_sheet import GAP, GROUND, Section, contact_sheet


def test_tiles_stand_in_rows_under_their_title_and_sections_below_each_other():
    grey = [np.full((40, 60), value, np.uint8) for value in (100, 150, 190)]
    one = np.asarray(contact_sheet([Section("first", grey, ["a", "b", "c"], 2)]))
    both = np.asarray(
        contact_sheet([Section("first", grey, ["a", "b", "c"], 2), Section("second", grey, list("abc"), 3)])
    )
    assert (one[0] == GROUND).all() and both.shape[0] > one.shape[0] and both.shape[1] == GAP + 3 * (60 + GAP)
    places = {}
    for value in (100, 150, 190):
        solid = [
            (row, column)
            for row, column in np.argwhere(one == value)
            if (one[row : row + 40, column : column + 60] == value).sum() == 40 * 60
        ]
        assert len(solid) == 1  # the tile, whole, once
        places[value] = solid[0]
    assert places[150][0] == places[100][0] and places[150][1] - places[100][1] == 60 + GAP
    assert places[190][1] == places[100][1] and places[190][0] - places[100][0] > 40


def test_a_caption_that_is_too_long_stays_under_its_tile():
    tile = np.full((10, 80), 100, np.uint8)
    sheet = np.asarray(contact_sheet([Section("", [tile, tile], ["x" * 200, ""], 2)]))
    assert (sheet[-20:, GAP + 80 + 2 :] == GROUND).all()
