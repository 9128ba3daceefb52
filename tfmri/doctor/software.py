"""Python, its packages, and whether TensorFlow works here, GPUs included."""

import json
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tfmri.doctor.finding import Finding

PYTHONS = ((3, 11), (3, 12), (3, 13))
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
SETUP = "make setup"
FOR_GPUS = "make setup EXTRAS=gpu"
IMPORT = 300  # s for TensorFlow to be imported and used: minutes from a slow network disk

# Imports TensorFlow in a process of its own, so that a crash in it can be told, and uses each GPU as training does: a
# convolution needs cuDNN, a compiled function libdevice.
PROBE = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
for index in range(len(gpus)):
    with tf.device(f"GPU:{index}"):
        tf.nn.conv3d(tf.ones([1, 8, 8, 8, 1]), tf.ones([3, 3, 3, 1, 2]), [1] * 5, "SAME").numpy()
        tf.function(lambda x: tf.math.tanh(x), jit_compile=True)(tf.ones([8])).numpy()
names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
print("PROBED", json.dumps({"version": tf.__version__, "gpus": names}))
"""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Whether this Python's version is one of those that tfmri is for."""
    shown = ".".join(map(str, version))
    if tuple(version[:2]) in PYTHONS:
        return Finding("Python", "ok", f"{shown}, {sys.prefix}")
    advice = f"Have one of them, then: make clean && {SETUP} PYTHON=python3.12"
    return Finding("Python", "problem", f"{shown}; tfmri needs 3.11, 3.12 or 3.13", advice)


def check_packages(requirements: Sequence[Path], installed: dict[str, str] | None = None) -> Finding:
    """Whether what is installed has the versions of requirements.txt.

    Args:
        requirements: files of pins, NAME==VERSION.
        installed: name -> version; None for what is installed here.
    """
    about = "packages"
    if missing := [path for path in requirements if not path.is_file()]:
        return Finding(about, "note", f"there is no {missing[0]}", "Work in the folder of the code")
    pins = {name: version for path in requirements for name, version in PIN.findall(path.read_text())}
    there = {_plain(name): version for name, version in (installed or _installed()).items()}
    wrong = [
        f"{name} {there.get(_plain(name), 'is missing')} (not {version})"
        for name, version in pins.items()
        if there.get(_plain(name)) != version
    ]
    if not wrong:
        return Finding(about, "ok", f"{len(pins)} packages in the versions of {requirements[-1].name}")
    lacks = any("is missing" in each for each in wrong)
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Finding(about, "problem" if lacks else "note", f"{', '.join(wrong[:3])}{more}", f"{SETUP} puts them right")


def check_tensorflow(
    cards: int, has_libraries: bool, command: Iterable[str] = (sys.executable, "-c", PROBE)
) -> Finding:
    """Whether TensorFlow can be imported, sees all GPUs of this machine, and can compute on them.

    Args:
        cards: how many the driver shows.
        has_libraries: whether the CUDA libraries are installed beside TensorFlow.
        command: what imports it.
    """
    about = "TensorFlow"
    try:
        done = subprocess.run([*command], capture_output=True, text=True, errors="replace", timeout=IMPORT)
    except subprocess.TimeoutExpired:
        return Finding(
            about, "problem", f"it was not there after {IMPORT} s", "Is the disk that .venv is on slow or full?"
        )
    probed = re.search(r"^PROBED (\{.*\})$", done.stdout, re.MULTILINE)
    if probed is None:
        return _broken(about, done)
    seen: dict[str, Any] = json.loads(probed[1])
    shown = f"{seen['version']}, with {', '.join(seen['gpus']) or 'no GPU'}"
    if len(seen["gpus"]) >= cards:
        return Finding(about, "ok", shown)
    found = f"{seen['version']} sees {len(seen['gpus'])} of the {cards} GPUs here{_why(done.stderr)}"
    if not has_libraries:
        return Finding(about, "problem", found, f"Its CUDA libraries are missing: {FOR_GPUS}")
    return Finding(about, "problem", found, "See the lines on GPU, LD_LIBRARY_PATH and libdevice")


def _broken(about: str, done: subprocess.CompletedProcess[str]) -> Finding:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        advice = (
            "TensorFlow needs a processor with AVX"
            if name == "SIGILL"
            else "More memory may help; else the lines below"
        )
        return Finding(about, "problem", f"it crashes ({name})", advice)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else f"it ended with {done.returncode}"
    if "CUDA_ERROR_DEVICES_UNAVAILABLE" in done.stderr or "all CUDA-capable devices are busy" in done.stderr:
        return Finding(about, "problem", "a GPU here is in use by another process", "Ask for one: tfmri interactive")
    if "libdevice" in done.stderr:
        folder = f"{sysconfig.get_path('purelib')}/nvidia/cuda_nvcc"
        advice = f"export XLA_FLAGS=--xla_gpu_cuda_data_dir={folder}, as job scripts do"
        return Finding(
            about, "problem", "XLA does not find libdevice, so that nothing can be compiled for a GPU", advice
        )
    return Finding(about, "problem", f"it does not work: {last[:200]}", f"{SETUP} installs it anew after `make clean`")


def _why(log: str) -> str:
    """What TensorFlow says of libraries that it could not load."""
    if found := re.search(r"Could not load dynamic library '([^']+)'", log):
        return f": {found[1]} cannot be loaded"
    if "Cannot dlopen some GPU libraries" in log:
        return ": some CUDA libraries cannot be loaded"
    return ""


def _installed() -> dict[str, str]:
    return {each.metadata["Name"]: each.version for each in distributions()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
