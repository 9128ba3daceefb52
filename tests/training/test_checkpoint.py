import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.training.checkpoint import load_newest, save


def _save(folder, step):
    save(folder, step, [np.full((3, 2), step, np.float32), np.int64(step)], {"rows": np.arange(step)}, {"epoch": step})


def test_a_checkpoint_gives_back_what_was_saved(tmp_path):
    _save(tmp_path, 5)
    found = load_newest(tmp_path)
    assert [each.tolist() for each in found.variables] == [[[5.0, 5.0]] * 3, 5]
    assert found.variables[0].dtype == np.float32
    assert found.arrays["rows"].tolist() == [0, 1, 2, 3, 4]
    assert found.state == {"epoch": 5}


def test_the_last_two_are_kept(tmp_path):
    for step in (9, 10, 100):
        _save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010.npz", "step-00000100.npz"]


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, caplog):
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    newest = tmp_path / "step-00000002.npz"
    content = bytearray(newest.read_bytes())
    content[130] ^= 0xFF  # a bit of the first array's voxels
    newest.write_bytes(bytes(content))
    assert load_newest(tmp_path).state == {"epoch": 1}
    assert "damaged" in caplog.text
    newest.write_bytes(content[:200])
    assert load_newest(tmp_path).state == {"epoch": 1}


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert load_newest(tmp_path) is None


def test_an_empty_newest_is_passed_over_and_nothing_but_damage_is_refused(tmp_path):
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    (tmp_path / "step-00000002.npz").write_bytes(b"")
    assert load_newest(tmp_path).state == {"epoch": 1}
    (tmp_path / "step-00000001.npz").write_bytes(b"")
    with pytest.raises(InputError, match="Begin a new run"):
        load_newest(tmp_path)


def test_a_flipped_bit_anywhere_is_never_taken_for_the_state(tmp_path, caplog):
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    newest = tmp_path / "step-00000002.npz"
    content = newest.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, 8 * len(content), 300):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << (place % 8)
        newest.write_bytes(damaged)
        assert load_newest(tmp_path).state == {"epoch": 1}, place
    for length in random.integers(0, len(content), 30):
        newest.write_bytes(content[:length])
        assert load_newest(tmp_path).state == {"epoch": 1}, length
    newest.write_bytes(content)
    assert load_newest(tmp_path).state == {"epoch": 2}


def test_a_save_that_fails_leaves_the_checkpoints_before_it_and_nothing_else(tmp_path, monkeypatch):
    _save(tmp_path, 1)
    savez = np.savez

    def full(path, **entries):
        savez(path, **entries)
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        _save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.npz"]
    assert load_newest(tmp_path).state == {"epoch": 1}
