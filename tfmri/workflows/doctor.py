"""`tfmri doctor`: whether this machine, and the cluster, have what tfmri needs."""

import json
import os
import platform
import tempfile
import textwrap
from dataclasses import asdict
from pathlib import Path

from tfmri.cluster.site import load_site
from tfmri.doctor import gpus, reach, software, storage
from tfmri.doctor.finding import Finding
from tfmri.project import in_project
from tfmri.runs.directory import runs_root

MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
PROBLEMS = 3  # exit code


def doctor(site: str | None = None, as_json: bool = False) -> tuple[str, int]:
    """Checks everything, at home, on a login node or in a job.

    Args:
        site: of `sge/sites/`; None for the person's.
        as_json: `Finding`s as JSON, for programs.

    Returns:
        What was found, and the exit code: 3 where there is a problem.

    Raises:
        InputError: no such site.
    """
    found = findings(site)
    code = PROBLEMS if any(each.state == "problem" for each in found) else 0
    if as_json:
        return json.dumps([asdict(each) for each in found], indent=2), code
    width = max(len(each.about) for each in found)
    lines = [f"On {platform.node()}, {_where()}:"]
    for each in found:
        lines.append(f"  {MARKS[each.state]:<8}{each.about:<{width}}  {each.found}")
        if each.state != "ok" and each.advice:
            lines.append(textwrap.indent(each.advice, " " * (width + 12)))
    problems = sum(each.state == "problem" for each in found)
    lines.append("All is well." if not problems else f"{problems} problem{'s' * (problems > 1)}.")
    return "\n".join(lines), code


def findings(site_name: str | None = None) -> list[Finding]:
    """What each check found, in the order in which one depends on another."""
    site = load_site(site_name)
    there, folder, in_job = gpus.cards(), gpus.packaged(), "JOB_ID" in os.environ
    count = 0 if isinstance(there, str) else len(there)
    requirements = ["requirements.txt", *(["requirements-gpu.txt"] if folder else [])]
    found = [
        software.check_python(),
        software.check_packages([in_project(name) for name in requirements]),
        gpus.check_driver(there, in_job),
        gpus.check_kinds(there),
        gpus.check_libraries(folder, bool(count), reach.has_grid_engine()),
        gpus.check_library_path(folder),
        gpus.check_libdevice(folder),
        software.check_tensorflow(count, folder is not None),
        storage.check_writable("scratch", Path(os.environ.get("TFMRI_SCRATCH") or _temporary())),
        storage.check_writable("runs", runs_root()),
        storage.check_writable("cache", Path(os.environ.get("TFMRI_CACHE") or in_project("cache"))),
        storage.check_quota(),
        reach.check_grid_engine(site),
        reach.check_host(site),
    ]
    return [each for each in found if each is not None]


def _temporary() -> str:
    """As given, for `tempfile` passes over a place that cannot be written to."""
    return os.environ.get("TMPDIR") or tempfile.gettempdir()


def _where() -> str:
    if job := os.environ.get("JOB_ID"):
        return f"in job {job}"
    return "where jobs are submitted" if reach.has_grid_engine() else "which is not of a cluster"
