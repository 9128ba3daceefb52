import pytest

from tfmri.cohort.table import read_labels
from tfmri.errors import InputError

AGE = {"age": None}


@pytest.fixture
def labels(tmp_path):
    """Two subjects with a T1, a FLAIR and a mask each; rewrites labels.csv with what a test changes in it."""
    for name in ("a", "b"):
        for kind in ("t1w", "flair", "brain"):
            (tmp_path / f"{name}_{kind}.nii.gz").write_bytes(b"x")

    def write(change=lambda text: text):
        rows = [f"{name},{age},{name}_t1w.nii.gz,{name}_flair.nii.gz,{name}_brain.nii.gz" for name, age in ("a1", "b2")]
        (tmp_path / "labels.csv").write_text(change("\n".join(["id,age,t1w,FLAIR,brain", *rows])))
        return tmp_path / "labels.csv"

    return write


def test_further_images_get_absolute_paths_under_the_names_that_were_asked_for(labels, tmp_path):
    table = read_labels(labels(), AGE, {"path": "t1w"}, images={"flair": "", "brain": ""}).table
    assert table["path"].tolist() == [str(tmp_path / "a_t1w.nii.gz"), str(tmp_path / "b_t1w.nii.gz")]
    assert table["flair"].tolist() == [str(tmp_path / "a_flair.nii.gz"), str(tmp_path / "b_flair.nii.gz")]
    assert table["brain"].tolist() == [str(tmp_path / "a_brain.nii.gz"), str(tmp_path / "b_brain.nii.gz")]
    assert read_labels(labels(), AGE).table["FLAIR"].tolist() == ["a_flair.nii.gz", "b_flair.nii.gz"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("b_flair.nii.gz", ""), ["row 3, column 'FLAIR'", "no path"]),
        (lambda text: text.replace("a_brain", "c_brain"), ["row 2, column 'brain'", "no file 'c_brain.nii.gz'"]),
        (lambda text: text.replace("FLAIR", "T2"), ["no column holds the flair"]),
    ],
)
def test_a_further_image_that_is_not_there_is_told_like_the_first(labels, change, said):
    with pytest.raises(InputError) as caught:
        read_labels(labels(change), AGE, {"path": "t1w"}, images={"flair": "", "brain": ""})
    for words in said:
        assert words in str(caught.value)


def test_one_mask_may_serve_every_scan(labels):
    table = read_labels(labels(lambda text: text.replace("b_brain", "a_brain")), AGE, images={"brain": ""}).table
    assert table["brain"].nunique() == 1
