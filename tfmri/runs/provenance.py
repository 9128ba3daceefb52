"""Where a result comes from: command, versions, code, machine."""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
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


def describe(experiment: str, overrides: Sequence[str], labels: Path, seeds: dict[str, int]) -> dict[str, Any]:
    """What is known of a run before it starts.

    Args:
        experiment: as the person named it.
        overrides: the `--set` of the command; the run goes on with them (`settings_of`).
        labels: the labels file, of which the hash is kept.
        seeds: the seeds of the experiment, by name.
    """
    installed = {each.metadata["Name"].lower(): each.version for each in distributions()}
    return {
        "experiment": experiment,
        "set": list(overrides),
        "command": shlex.join(["tfmri", *sys.argv[1:]]),
        "started": now(),
        "folder": str(Path.cwd()),
        "host": platform.node(),
        "system": platform.platform(),
        "processor": processor(),
        "python": platform.python_version(),
        "versions": {name: installed.get(name.lower(), "") for name in PACKAGES},
        "git": _git_state(),
        "labels": {"path": str(labels), "sha256": hashlib.sha256(labels.read_bytes()).hexdigest()},
        "seeds": seeds,
        "job": job(),
    }


def job() -> dict[str, str]:
    """The numbers of the Grid Engine job that this process is of; empty outside of one."""
    return {name: os.environ[name] for name in ("JOB_ID", "SGE_TASK_ID") if name in os.environ}


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


def settings_of(run: Run) -> list[str]:
    """The overrides `key=value` with which a run began, or that it was given since."""
    return list(json.loads(run.provenance.read_text()).get("set", ()))


def merged(before: Sequence[str], given: Sequence[str]) -> list[str]:
    """Overrides with further ones `given`, each key once: what is given later holds, also for keys below its own."""
    kept: list[str] = []
    for override in (*before, *given):
        key = override.partition("=")[0].strip()
        kept = [each for each in kept if not f"{each.partition('=')[0].strip()}.".startswith(f"{key}.")]
        kept.append(override)
    return kept


def resume_command(run: Run) -> str:
    """The command that goes on where a run stopped, with the settings that it has."""
    return shlex.join([program(), "train", _experiment(run), "--run", run.path.name])


def begin_command(run: Run, setting: str = "") -> str:
    """The command that begins a run such as this one, with all its fits; with another `setting`, `key=value`."""
    overrides = merged(settings_of(run), [setting] if setting else [])
    options = [part for each in overrides for part in ("--set", each)]
    return shlex.join([program(), "train", _experiment(run), *options])


def _experiment(run: Run) -> str:
    return json.loads(run.provenance.read_text()).get("experiment", run.path.parent.name)


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


def processor() -> str:
    """The kind of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
