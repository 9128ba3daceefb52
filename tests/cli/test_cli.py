import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfmri.cli import main


@pytest.mark.parametrize(
    "arguments", [[], ["train"], ["evaluate"], ["labels"], ["labels", "bids"], ["demo"], ["check"], ["new"]]
)
def test_help_answers_without_any_of_the_heavy_packages(arguments):
    code = (
        "import sys, atexit\n"
        "from tfmri.cli import main\n"
        "heavy = ('tensorflow', 'keras', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'nibabel', 'scipy', 'yaml')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"sys.argv = ['tfmri', *{arguments!r}, '--help']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert "LOADED []" in done.stdout


def test_an_unknown_command_or_option_is_refused_with_2():
    for arguments in (["trian"], ["train", "x", "--epochs", "3"]):
        code = f"import sys; from tfmri.cli import main; sys.argv = ['tfmri', *{arguments!r}]; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2
        assert "No such" in done.stderr


@pytest.fixture
def tfmri(monkeypatch, capfd):
    """Runs a command here; its exit code and what it said come back."""

    def tfmri(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["tfmri", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capfd.readouterr()

    return tfmri


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with a BIDS dataset of one scan in `data`."""
    for name in ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever main sets
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    scan = tmp_path / "data" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"scan")
    (tmp_path / "data" / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    return tmp_path


def test_labels_are_written_once_and_what_a_person_changed_stays(here, tfmri):
    for _ in range(2):
        code, output, _ = tfmri("labels", "bids", "data")
        assert code == 0 and "labels.csv: 1 rows" in output
    (here / "labels.csv").write_text("my work\n")
    code, _, said = tfmri("labels", "bids", "data")
    assert code == 2 and "labels.csv: the file is there" in said and "--output" in said
    assert (here / "labels.csv").read_text() == "my work\n"


@pytest.mark.parametrize(
    ("output", "named", "said"),
    [
        ("data", "data", "this is a folder, where a file is needed. Name a file"),
        ("note.txt/labels.csv", "note.txt", "this is there already"),
        ("note.txt/deeper/labels.csv", "note.txt", "this is a file, where a folder is needed"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_said_in_a_sentence(here, tfmri, output, named, said):
    (here / "note.txt").write_text("a file")
    code, _, error = tfmri("labels", "bids", "data", "--output", output)
    assert code == 2
    assert error.startswith(f"tfmri: {here / named}: {said}") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EACCES, "permission"), (errno.EPERM, "permission"), (errno.EROFS, "only be read")]
)
def test_what_the_system_forbids_is_said_with_the_folder_it_forbids(here, tfmri, monkeypatch, number, said):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number), str(here / "data" / ".writing-xyz-labels.csv"))

    monkeypatch.setattr("tfmri.cohort.layouts.layout.write_text", refuse)
    code, _, error = tfmri("labels", "bids", "data")
    assert code == 2 and error.startswith(f"tfmri: {here / 'data'}: ") and said in error


def test_an_error_of_the_system_that_no_person_made_is_not_hidden(here, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error", "labels.csv")

    monkeypatch.setattr("tfmri.cohort.layouts.layout.write_text", fail)
    monkeypatch.setattr(sys, "argv", ["tfmri", "labels", "bids", "data"])
    with pytest.raises(OSError, match="Input/output error"):
        main()


def test_an_own_model_is_imported_with_the_settings_that_tensorflow_reads_only_once(here, tfmri, monkeypatch):
    module = "import os\nprint(os.environ['TF_ENABLE_ONEDNN_OPTS'], os.environ['TF_CPP_MIN_LOG_LEVEL'])\n"
    Path("own_network.py").write_text(module + "def build(shape, outputs): ...\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    targets, model = {"age": {"task": "regression"}}, {"name": "own_network:build"}
    Path("own.yaml").write_text(yaml.safe_dump({"data": {"labels": "none.csv"}, "targets": targets, "model": model}))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    code, output, error = tfmri("train", "own.yaml")
    sys.modules.pop("own_network")
    assert (code, output.splitlines()[0]) == (2, "1 0")
    assert "none.csv" in error
