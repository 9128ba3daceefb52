"""Where a result comes from: command, versions, code, machine."""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import tfmri
from tfmri.runs.directory import Run

SOURCE = Path(tfmri.__file__).resolve().parent.parent
PUSHED = SOURCE / ".revision"  # what `make push` says of the code it sends without its .git
PACKAGES = (
    "tfmri",
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "pandas",
    "nibabel",
    "SimpleITK",
    "nilearn",
    "scikit-learn",
)


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(labels: Path, seeds: dict[str, int]) -> dict[str, Any]:
    """What is known of a run before it starts.

    Args:
        labels: the labels file, of which the hash is kept.
        seeds: the seeds of the experiment, by name.
    """
    installed = {each.metadata["Name"].lower(): each.version for each in distributions()}
    return {
        "command": shlex.join(["tfmri", *sys.argv[1:]]),
        "started": now(),
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: installed.get(name.lower(), "") for name in PACKAGES},
        "git": _git_state(),
        "labels": {"path": str(labels), "sha256": hashlib.sha256(labels.read_bytes()).hexdigest()},
        "seeds": seeds,
        "job": {name: os.environ[name] for name in ("JOB_ID", "SGE_TASK_ID") if name in os.environ},
    }


def installed_versions() -> str:
    """`name==version` of every installed package, sorted: the text of a requirements file."""
    pins = {f"{each.metadata['Name']}=={each.version}" for each in distributions() if each.metadata["Name"] != "tfmri"}
    return "\n".join(sorted(pins, key=str.lower)) + "\n"


def uncommitted_changes() -> str:
    """The difference of the program's working tree to its commit; empty outside a git checkout."""
    changes = _git("diff", "HEAD")
    if changes is None and (PUSHED / "uncommitted.diff").exists():
        return (PUSHED / "uncommitted.diff").read_text()
    return changes or ""


def resume_command(run: Run) -> str:
    """The command that goes on where a run stopped."""
    return f"{begin_command(run)} --run {run.path.name}"


def begin_command(run: Run, setting: str = "") -> str:
    """The command that began a run, as it begins another, on all its folds; with another `setting`, `key=value`."""
    arguments = shlex.split(json.loads(run.provenance.read_text())["command"])[1:]
    for option in ("--run", "--fold"):
        if option in arguments:
            place = arguments.index(option)
            del arguments[place : place + 2]
        arguments = [each for each in arguments if not each.startswith(f"{option}=")]
    if setting:
        key = f"{setting.partition('=')[0]}="
        old = {place for place, each in enumerate(arguments) if each.removeprefix("--set=").startswith(key)}
        old |= {place - 1 for place in old if arguments[place - 1] == "--set"}
        arguments = [each for place, each in enumerate(arguments) if place not in old] + ["--set", setting]
    return shlex.join([program(), *arguments])


def program() -> str:
    """What a person types to call this program: `tfmri`, or its path where the shell would not find it."""
    found = shutil.which("tfmri")
    if found and Path(found).resolve() == Path(sys.argv[0]).resolve():
        return "tfmri"
    inside = Path(sys.argv[0]).is_relative_to(Path.cwd())
    return str(Path(sys.argv[0]).relative_to(Path.cwd())) if inside else sys.argv[0]


def _git_state() -> dict[str, Any] | None:
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        return {"commit": commit.strip(), "dirty": bool(_git("status", "--porcelain"))}
    if (PUSHED / "commit").exists():
        changes = (PUSHED / "uncommitted.diff").read_text()
        return {"commit": (PUSHED / "commit").read_text().strip(), "dirty": bool(changes)}
    return None


def _git(*arguments: str) -> str | None:
    if not (SOURCE / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(SOURCE), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
