import stat

import pytest

from tfmri.files import whole_folder, whole_path, write_json, write_text


def test_a_crash_while_writing_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), whole_path(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_are_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "whole", "")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_not_a_number_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"mae": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_folder_takes_the_place_of_the_old_one_or_leaves_it_as_it_was(tmp_path):
    folder = tmp_path / "maps"
    for names in (["a", "b"], ["c"]):
        with whole_folder(folder) as new:
            for name in names:
                (new / name).write_text("")
        assert [path.name for path in sorted(folder.iterdir())] == names
    with pytest.raises(RuntimeError), whole_folder(folder) as new:
        (new / "d").write_text("")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["maps", "c"]
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
