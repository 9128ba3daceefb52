"""GPUs, their driver, and what hides the CUDA libraries that `make setup EXTRAS=gpu` brings.

TensorFlow 2.21 is built with CUDA 12.5 and cuDNN 9 for compute capabilities 6.0, 7.0, 8.0, 8.9, and as PTX for 9.0. A
driver from 525.60 on runs whatever is of CUDA 12; one from 555.42 on is CUDA 12.5's own, and compiles its PTX too.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmri.doctor.finding import Finding

OLDEST_DRIVER, OWN_DRIVER = (525, 60), (555, 42)
OLDEST_CARD, LAST_COMPILED, BLACKWELL = (6, 0), (8, 9), (10, 0)  # compute capabilities
LIBRARIES = re.compile(
    r"lib(cudnn\w*|cudart|cublas|cublasLt|cufft|cusolver|cusparse|curand|nccl|nvrtc|nvJitLink|cupti)\.so"
)
LIBDEVICE = Path("nvvm/libdevice/libdevice.10.bc")
QUERY = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]


@dataclass(frozen=True)
class Card:
    """A GPU as its driver tells.

    Args:
        name: its kind.
        capability: compute capability.
        driver: version.
    """

    name: str
    capability: tuple[int, int]
    driver: tuple[int, ...]


def cards() -> list[Card] | str:
    """The GPUs of this machine; or why they cannot be listed, '' where there is no nvidia-smi."""
    if shutil.which(QUERY[0]) is None:
        return ""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode:
        return " ".join((done.stdout + done.stderr).split()) or f"it ended with {done.returncode}"
    return parse_cards(done.stdout)


def parse_cards(text: str) -> list[Card]:
    """What nvidia-smi says, a line each: `NVIDIA A100-PCIE-40GB, 8.0, 550.54.15`."""
    found = []
    for line in text.splitlines():
        name, capability, driver = (part.strip() for part in line.rsplit(",", 2))
        major, _, minor = capability.partition(".")
        numbers = tuple(int(part) for part in driver.split(".") if part.isdecimal())
        found.append(Card(name, (int(major), int(minor or 0)), numbers))
    return found


def check_driver(there: list[Card] | str, in_job: bool) -> Finding:
    """Whether there are GPUs here, and their driver is new enough."""
    about = "GPU"
    if isinstance(there, str) and there:
        return Finding(
            about, "problem", f"nvidia-smi fails: {there[:200]}", "The driver of this machine: tell its support"
        )
    if not there:
        advice = "Was one asked for (-l gpu=true)?" if in_job else ""
        return Finding(about, "note", "there is none here; TensorFlow works on processors", advice)
    assert not isinstance(there, str)
    driver = there[0].driver
    shown = f"{_counted(there)}, driver {'.'.join(map(str, driver))}"
    if driver < OLDEST_DRIVER:
        advice = "Choose other nodes (cluster.gpu_type), or ask for a driver from 525.60 on; 555.42 is CUDA 12.5's own"
        return Finding(about, "problem", f"{shown}: too old for CUDA 12", advice)
    if driver < OWN_DRIVER and any(card.capability > LAST_COMPILED for card in there):
        advice = "Choose another kind of GPU (cluster.gpu_type), or ask for a driver from 555.42 on"
        found = f"{shown}: TensorFlow brings PTX of CUDA 12.5 for such a card, which this driver may not compile"
        return Finding(about, "note", found, advice)
    return Finding(about, "ok", shown)


def check_kinds(there: list[Card] | str) -> Finding | None:
    """Whether TensorFlow runs on the kinds of GPU here; None without GPUs."""
    if not there or isinstance(there, str):
        return None
    about = "kind of GPU"
    if new := [card for card in there if card.capability >= BLACKWELL]:
        found = f"{new[0].name} is of the Blackwell generation, on which XLA of TensorFlow 2.21 crashes"
        advice = "Leave that kind out with cluster.gpu_type, such as '!(rtx5090)'"
        return Finding(about, "problem", found, advice)
    if old := [card for card in there if card.capability < OLDEST_CARD]:
        found = f"{old[0].name} has compute capability {_dotted(old[0].capability)}; TensorFlow 2.21 needs 6.0"
        return Finding(about, "problem", found, "Leave that kind out: cluster.gpu_type")
    if new := [card for card in there if card.capability > LAST_COMPILED]:
        found = f"the first job on {new[0].name} compiles for minutes; the result is kept (CUDA_CACHE_PATH)"
        return Finding(about, "note", found)
    return Finding(about, "ok", f"compute capability {', '.join(sorted({_dotted(card.capability) for card in there}))}")


def packaged() -> Path | None:
    """The folder of the CUDA libraries among this Python's packages; None where they are not installed."""
    folder = Path(sysconfig.get_path("purelib")) / "nvidia"
    return folder if (folder / "cudnn").is_dir() else None


def check_libraries(folder: Path | None, has_cards: bool, on_cluster: bool) -> Finding:
    """Whether the CUDA libraries are installed, where they are needed: for GPUs here, or on the nodes of a cluster."""
    about = "CUDA libraries"
    if folder is not None:
        return Finding(about, "ok", f"in {folder}")
    if not has_cards and not on_cluster:
        return Finding(about, "ok", "not installed, and not needed without a GPU")
    needed = "for the GPUs here" if has_cards else "for jobs with GPUs, which use this .venv"
    return Finding(about, "problem", f"not installed {needed}", "make setup EXTRAS=gpu")


def check_library_path(folder: Path | None, path: str | None = None) -> Finding:
    """Whether LD_LIBRARY_PATH hides the CUDA libraries among the packages behind others (tensorflow#66987).

    Args:
        folder: of those among the packages; None where there are none.
        path: None for that of this process.
    """
    about = "LD_LIBRARY_PATH"
    path = os.environ.get("LD_LIBRARY_PATH", "") if path is None else path
    places = [Path(place) for place in path.split(":") if place]
    hiding = [
        file
        for place in places
        if folder is None or not place.resolve().is_relative_to(folder.resolve())
        for file in sorted(place.glob("lib*.so*"))
        if LIBRARIES.match(file.name)
    ]
    if not hiding:
        return Finding(about, "ok", f"{len(places)} folders, none with CUDA libraries" if places else "not set")
    found = f"{hiding[0]} would be loaded instead of that which .venv brings"
    advice = f"Leave {hiding[0].parent} out: `unset LD_LIBRARY_PATH`, or unload the CUDA module, also in ~/.bashrc"
    return Finding(about, "problem" if folder is not None else "note", found, advice)


def check_libdevice(folder: Path | None, flags: str | None = None) -> Finding | None:
    """Whether XLA finds libdevice, which compiled functions on a GPU need; None where nothing is for a GPU.

    Args:
        folder: of the CUDA libraries among the packages.
        flags: None for XLA_FLAGS of this process.
    """
    about = "libdevice"
    flags = os.environ.get("XLA_FLAGS", "") if flags is None else flags
    packages = None if folder is None else folder / "cuda_nvcc"
    if given := re.search(r"--xla_gpu_cuda_data_dir=(\S+)", flags):
        if (Path(given[1]) / LIBDEVICE).is_file():
            return Finding(about, "ok", f"XLA_FLAGS leads to it, in {given[1]}")
        right = f"export XLA_FLAGS=--xla_gpu_cuda_data_dir={packages}" if packages else "unset XLA_FLAGS"
        return Finding(about, "problem", f"XLA_FLAGS names {given[1]}, where there is no {LIBDEVICE}", right)
    if packages is None:
        return None
    if not (packages / LIBDEVICE).is_file():
        return Finding(about, "problem", f"there is no {packages / LIBDEVICE}", "make clean && make setup EXTRAS=gpu")
    return Finding(about, "ok", f"in {packages}; job scripts lead XLA to it")


def _counted(there: Sequence[Card]) -> str:
    names = [card.name for card in there]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
