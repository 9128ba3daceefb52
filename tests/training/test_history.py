"""Tests of history.csv, of the line that a person reads of an epoch, and of how often it is drawn."""

import pandas as pd
from PIL import Image

from tfmri.training.callbacks import sparing
from tfmri.training.callbacks.history import History

ROW = {
    "accuracy": 0.5, "balanced_accuracy": 0.25, "epoch": 1.0, "gradient_norm": 3.0, "learning_rate": 0.001,
    "loss": 0.75, "seconds": 4.0, "step": 16.0, "validation_accuracy": 0.5, "validation_balanced_accuracy": 0.375,
    "validation_loss": 1.5, "volumes_per_second": 8.0, "waiting": 0.01,
}  # fmt: skip


def history(folder, rows=()):
    found = History(folder / "history.csv", folder / "curves", "validation_loss", epochs=12, steps=16)
    found.set_state({"rows": list(rows)})
    found.on_train_begin()
    return found


def test_columns_stand_as_they_are_read_and_the_line_is_short(tmp_path, capsys):
    found = history(tmp_path)
    found.on_epoch_end(0, ROW)
    found.on_epoch_end(1, ROW | {"epoch": 2.0, "waiting": 0.25})
    first, second = capsys.readouterr().out.splitlines()
    said = "loss 0.750, validation 1.500  balanced accuracy 0.250, validation 0.375"
    assert first == f"epoch  1/12  {said}  (4.0 s, 8 volumes/s)"
    assert second == f"epoch  2/12  {said}  (4.0 s, 8 volumes/s, 25% of it waiting for data)"
    header, line, _ = (tmp_path / "history.csv").read_text().splitlines()
    assert header == (
        "epoch,step,learning_rate,loss,accuracy,balanced_accuracy,"
        "validation_loss,validation_accuracy,validation_balanced_accuracy,"
        "gradient_norm,seconds,waiting,volumes_per_second"
    )
    assert line.startswith("1,16,0.001,0.75,")


def test_a_training_that_goes_on_takes_away_the_rows_past_its_checkpoint_before_its_first_step(tmp_path):
    killed = history(tmp_path)
    killed.on_epoch_end(0, ROW)
    state = killed.get_state()["rows"][:1]
    killed.on_epoch_end(1, ROW | {"epoch": 2.0})
    history(tmp_path, state)
    assert list(pd.read_csv(tmp_path / "history.csv")["epoch"]) == [1]
    history(tmp_path)
    assert not (tmp_path / "history.csv").exists()


def test_the_curves_are_drawn_as_often_as_it_costs_little_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(sparing, "monotonic", lambda: now[0])
    found, drawn = history(tmp_path), []

    def draw():
        drawn.append(len(found.rows))
        now[0] += 0.5

    monkeypatch.setattr(found, "_draw", draw)
    for epoch in range(8):
        now[0] += 10.0
        found.on_epoch_end(epoch, ROW)
    assert drawn == [1, 2, 5, 8], "at first and once more, then every 25 s, half a second being 2 % of that"
    monkeypatch.undo()
    found.on_train_end()
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 500
    assert (tmp_path / "curves.pdf").exists()
