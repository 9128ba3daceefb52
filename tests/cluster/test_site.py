import shutil
from pathlib import Path

import pytest

from tfmri.cluster.site import Needs, load_site, own_settings, words
from tfmri.errors import InputError

PROJECT = Path(__file__).parents[2]
SITES = sorted(path.stem for path in (PROJECT / "sge" / "sites").glob("*.yaml"))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder of one's own with the sites, which is the current one."""
    shutil.copytree(PROJECT / "sge" / "sites", tmp_path / "sge" / "sites")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "any.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TFMRI_SITE", raising=False)
    return tmp_path


def asked(name: str, **needs) -> str:
    return " ".join(words(load_site(name), Needs(**{"memory": "16G", "time": "12:00:00", **needs})))


def test_comic_counts_memory_by_slot_and_gpus_as_slots():
    assert asked("comic", gpus=1) == "-l tmem=16G -l h_rt=12:00:00 -l gpu=true"
    assert asked("comic", gpus=2).startswith("-l tmem=8192M -l h_rt=12:00:00 -l gpu=true -pe gpu 2 -R y")
    assert asked("comic", slots=3, memory="10G") == "-l tmem=3414M -l h_rt=12:00:00 -pe smp 3 -R y"
    assert "-l gpu_type=!(titanxp|gtx1080ti)" in asked("comic", gpus=1, gpu_type="!(titanxp|gtx1080ti)")
    assert asked("comic", scratch="20G").endswith("-l tscratch=20G")
    assert "gpu" not in asked("comic", gpu_type="a100")  # of a job without one


def test_other_sites_say_the_same_in_their_words():
    assert asked("myriad", gpus=2, scratch="20G") == "-l mem=16G -l h_rt=12:00:00 -l gpu=2 -l tmpfs=20G"
    assert asked("generic", gpus=1) == "-l h_vmem=16G -l h_rt=12:00:00 -l gpu=1"


@pytest.mark.parametrize("name", SITES)
def test_every_site_can_be_read_and_asked(name):
    assert "12:00:00" in asked(name, gpus=1, slots=2, scratch="1G")
    assert "{user}" not in load_site(name).host


def test_the_site_is_that_of_the_option_the_environment_or_the_own_settings(project, monkeypatch):
    assert load_site().name == "comic"
    (project / "sge" / "user.mk").write_text("# mine\nSITE = myriad\nLOGIN := zcabc12  # there\nREMOTE=/home/z/work\n")
    assert load_site().name == "myriad"
    assert load_site().host == "zcabc12@myriad.rc.ucl.ac.uk" and load_site().folder == "/home/z/work"
    monkeypatch.setenv("TFMRI_SITE", "generic")
    assert load_site().name == "generic" and load_site("comic").name == "comic"
    (project / "sge" / "user.mk").write_text("HOST = me@here\nJUMP =\nPORT = 2222\n")
    assert load_site("comic").host == "me@here" and load_site("comic").port == 2222
    assert load_site("comic").jump is None


def test_what_cannot_be_is_refused_in_a_sentence(project):
    with pytest.raises(InputError, match="Did you mean 'comic'"):
        load_site("comik")
    (project / "sge" / "sites" / "odd.yaml").write_text('host: x\nask: {gpu: "-l gpu={cards}"}\n')
    with pytest.raises(InputError, match=r"nothing is filled in for \{cards\}"):
        load_site("odd")
    (project / "sge" / "sites" / "odd.yaml").write_text("host: x\nask: {gpus_: 1}\n")
    with pytest.raises(InputError, match="Did you mean 'gpus'"):
        load_site("odd")
    with pytest.raises(InputError, match="at most 4"):
        asked("myriad", gpus=5)
    with pytest.raises(InputError, match="h_rt: 72:00:00; expected at most 48:00:00"):
        asked("myriad", time="72:00:00")
    (project / "sge" / "user.mk").write_text("SITE = comic\nmake it so\n")
    with pytest.raises(InputError, match="line 2: 'make it so'; expected NAME = value"):
        own_settings()
