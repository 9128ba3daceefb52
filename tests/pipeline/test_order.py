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
