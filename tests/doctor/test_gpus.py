"""GPUs by what nvidia-smi says of them: a program of that name stands in, since the machine of the tests has none."""

import os
from pathlib import Path

import pytest

from tfmri.doctor import gpus

A100 = "NVIDIA A100-PCIE-40GB, 8.0, 555.42.06"


@pytest.fixture
def says(tmp_path, monkeypatch):
    """Puts a program nvidia-smi onto PATH that says so, and gives what `cards` makes of it."""

    def put(text: str, code: int = 0):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncat << 'END'\n{text}\nEND\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return gpus.cards()

    return put


def test_a_card_that_fits(says):
    there = says(f"{A100}\n{A100}")
    driver, kinds = gpus.check_driver(there, True), gpus.check_kinds(there)
    assert (driver.state, kinds.state) == ("ok", "ok")
    assert driver.found == "2 × NVIDIA A100-PCIE-40GB, driver 555.42.6" and "8.0" in kinds.found


def test_drivers_that_are_too_old(says):
    assert gpus.check_driver(says("NVIDIA TITAN Xp, 6.1, 470.82.01"), True).state == "problem"
    assert gpus.check_driver(says("NVIDIA TITAN Xp, 6.1, 525.60.13"), True).state == "ok"
    hopper = gpus.check_driver(says("NVIDIA H100 PCIe, 9.0, 535.104.05"), True)
    assert hopper.state == "note" and "PTX" in hopper.found


def test_kinds_of_cards_that_do_not_fit(says):
    blackwell = gpus.check_kinds(says("NVIDIA RTX PRO 6000 Blackwell, 12.0, 575.57.08"))
    assert blackwell.state == "problem" and "Blackwell" in blackwell.found and "gpu_type" in blackwell.advice
    assert gpus.check_kinds(says("Tesla K80, 3.7, 525.60.13")).state == "problem"
    assert gpus.check_kinds(says("NVIDIA H100 PCIe, 9.0, 555.42.06")).state == "note"


def test_no_card_and_a_driver_that_fails(says, monkeypatch):
    broken = gpus.check_driver(says("Failed to initialize NVML: Driver/library version mismatch", code=18), True)
    assert broken.state == "problem" and "version mismatch" in broken.found
    monkeypatch.setenv("PATH", "")
    assert gpus.check_driver(gpus.cards(), False).state == "note" and gpus.check_kinds(gpus.cards()) is None


def test_libraries_are_missed_where_jobs_need_them():
    assert gpus.check_libraries(None, has_cards=False, on_cluster=False).state == "ok"
    for has_cards, on_cluster in ((True, False), (False, True)):
        found = gpus.check_libraries(None, has_cards, on_cluster)
        assert found.state == "problem" and found.advice == "make setup EXTRAS=gpu"


def test_a_library_path_that_hides_cudnn(tmp_path):
    packages, other = tmp_path / "nvidia", tmp_path / "cuda-11" / "lib64"
    (packages / "cudnn" / "lib").mkdir(parents=True)
    other.mkdir(parents=True)
    (other / "libpng.so.16").touch()
    path = f"{packages / 'cudnn' / 'lib'}:{other}:/no/such/folder:"
    (packages / "cudnn" / "lib" / "libcudnn.so.9").touch()
    assert gpus.check_library_path(packages, path).state == "ok"
    (other / "libcudnn.so.8").touch()
    found = gpus.check_library_path(packages, path)
    assert found.state == "problem" and "libcudnn.so.8" in found.found and str(other) in found.advice
    assert gpus.check_library_path(None, path).state == "note"
    assert gpus.check_library_path(packages, "").state == "ok"


def test_libdevice_where_xla_looks(tmp_path):
    packages = tmp_path / "nvidia"
    there = packages / "cuda_nvcc" / gpus.LIBDEVICE
    assert gpus.check_libdevice(None, "") is None
    assert gpus.check_libdevice(packages, "").state == "problem"
    there.parent.mkdir(parents=True)
    there.touch()
    assert gpus.check_libdevice(packages, "").state == "ok"
    assert gpus.check_libdevice(packages, f"--xla_gpu_cuda_data_dir={packages / 'cuda_nvcc'} --other=1").state == "ok"
    wrong = gpus.check_libdevice(packages, f"--xla_gpu_cuda_data_dir={Path('/no/cuda')}")
    assert wrong.state == "problem" and str(packages / "cuda_nvcc") in wrong.advice
