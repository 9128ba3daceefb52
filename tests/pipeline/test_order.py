import numpy as np

from tfmri.pipeline.order import epoch_order, sample_seeds


def test_an_epoch_draws_every_row_once_and_epochs_differ():
    rows = np.array([3, 5, 8, 13, 21, 34])
    orders = [epoch_order(rows, seed=1, epoch=epoch)[0] for epoch in range(20)]
    assert all(sorted(order) == sorted(rows) for order in orders)
    assert len({tuple(order) for order in orders}) > 15
    assert np.array_equal(orders[7], epoch_order(rows, seed=1, epoch=7)[0])


def test_a_scan_keeps_its_seed_whoever_stands_beside_it():
    alone = sample_seeds(["sub-7"], seed=0, epoch=3)
    among = sample_seeds(["sub-1", "sub-7", "sub-2"], seed=0, epoch=3)
    assert np.array_equal(alone[0], among[1])


def test_seeds_differ_between_scans_epochs_draws_and_experiments():
    seeds = [
        tuple(sample_seeds([f"sub-{scan}"], seed, epoch, draw)[0])
        for scan in range(10)
        for seed in range(3)
        for epoch in range(10)
        for draw in range(3)
    ]
    assert len(set(seeds)) == len(seeds)


CLASSES = np.array(["rare"] * 3 + ["usual"] * 17 + ["other"] * 8 + ["not drawn"] * 5)
ROWS = np.arange(28)


def test_balanced_sampling_draws_every_class_equally_often_in_each_epoch():
    for epoch in range(20):
        rows, _ = epoch_order(ROWS, seed=0, epoch=epoch, classes=CLASSES)
        assert len(rows) == len(ROWS) and set(rows) <= set(ROWS)
        assert sorted(np.unique(CLASSES[rows], return_counts=True)[1]) == [9, 9, 10]


def test_the_scans_of_a_class_take_turns():
    for epoch in range(20):
        rows, _ = epoch_order(ROWS, seed=0, epoch=epoch, classes=CLASSES)
        for name in ("rare", "usual", "other"):
            drawn = np.bincount(rows, minlength=len(CLASSES))[name == CLASSES]
            assert drawn.max() - drawn.min() <= 1


def test_over_epochs_every_scan_of_a_class_comes_and_every_class_is_the_one_with_a_draw_more():
    drawn = [epoch_order(ROWS, seed=0, epoch=epoch, classes=CLASSES)[0] for epoch in range(30)]
    assert set(np.concatenate(drawn)) == set(ROWS)
    most = [max(set(CLASSES[rows]), key=list(CLASSES[rows]).count) for rows in drawn]
    assert set(most) == {"rare", "usual", "other"}


def test_balanced_draws_depend_on_seed_and_epoch_alone_and_have_seeds_of_their_own():
    rows, draws = epoch_order(ROWS, seed=3, epoch=5, classes=CLASSES)
    again, draws_again = epoch_order(ROWS, seed=3, epoch=5, classes=CLASSES)
    assert np.array_equal(rows, again) and np.array_equal(draws, draws_again)
    assert not np.array_equal(rows, epoch_order(ROWS, seed=3, epoch=6, classes=CLASSES)[0])
    assert not np.array_equal(rows, epoch_order(ROWS, seed=4, epoch=5, classes=CLASSES)[0])
    assert len(set(zip(rows, draws, strict=True))) == len(rows) and len(set(rows)) < len(rows)
    for row in set(rows):
        assert sorted(draws[rows == row]) == list(range(np.sum(rows == row)))
    seeds = sample_seeds([f"sub-{row}" for row in rows], 3, 5, draws)
    assert len(np.unique(seeds, axis=0)) == len(rows)


def test_classes_of_equal_size_are_drawn_as_without_balancing():
    rows, draws = epoch_order(np.arange(12), seed=0, epoch=1, classes=np.array(["a", "b"] * 6))
    assert sorted(rows) == list(range(12)) and not draws.any()
