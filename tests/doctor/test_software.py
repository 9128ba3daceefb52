import sys

from tfmri.doctor.software import check_packages, check_python, check_tensorflow


def test_pythons_that_tfmri_is_not_for():
    assert check_python().state == "ok"
    for version in ((3, 10, 2), (3, 14, 0)):
        assert check_python(version).state == "problem"


def test_packages_against_the_pins(tmp_path):
    pins = tmp_path / "requirements.txt"
    pins.write_text("# pins\nabsl-py==2.5.1\nast_serialize==0.13.1\n")
    assert check_packages([pins], {"absl-py": "2.5.1", "ast-serialize": "0.13.1"}).state == "ok"
    other = check_packages([pins], {"absl-py": "2.4.0", "ast-serialize": "0.13.1"})
    assert other.state == "note" and "absl-py 2.4.0 (not 2.5.1)" in other.found
    missing = check_packages([pins], {"absl-py": "2.5.1"})
    assert missing.state == "problem" and "ast_serialize is missing" in missing.found and "make setup" in missing.advice
    assert check_packages([tmp_path / "none.txt"]).state == "note"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_import_that_fails_or_crashes_is_told():
    fails = check_tensorflow(0, False, python("import no_such_tensorflow"))
    assert fails.state == "problem" and "No module named 'no_such_tensorflow'" in fails.found
    crashes = check_tensorflow(0, False, python("import os, signal; os.kill(os.getpid(), signal.SIGILL)"))
    assert crashes.state == "problem" and "SIGILL" in crashes.found and "AVX" in crashes.advice


def test_what_is_wrong_with_a_gpu_is_told_from_what_tensorflow_says():
    lost = "import sys; sys.exit('INTERNAL: libdevice not found at ./libdevice.10.bc')"
    found = check_tensorflow(1, True, python(lost))
    assert found.state == "problem" and "--xla_gpu_cuda_data_dir=" in found.advice
    busy = "import sys; sys.exit('failed call to cuInit: CUDA_ERROR_DEVICES_UNAVAILABLE')"
    assert "in use by another process" in check_tensorflow(1, True, python(busy)).found


def test_gpus_that_tensorflow_does_not_see():
    sees_one = python("""print('PROBED {"version": "2.21.0", "gpus": ["NVIDIA A100"]}')""")
    assert check_tensorflow(1, True, sees_one).found == "2.21.0, with NVIDIA A100"
    found = check_tensorflow(2, True, sees_one)
    assert found.state == "problem" and "sees 1 of the 2 GPUs" in found.found
    assert "make setup EXTRAS=gpu" in check_tensorflow(2, False, sees_one).advice
