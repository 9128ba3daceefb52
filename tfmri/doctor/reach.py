"""Grid Engine here, and from elsewhere the way to the cluster."""

import shutil

from tfmri.cluster.grid_engine import verify
from tfmri.cluster.site import Needs, Site, words
from tfmri.cluster.ssh import NOT_LET_IN, run_there
from tfmri.doctor.finding import Finding
from tfmri.errors import InputError
from tfmri.project import in_project


def has_grid_engine() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("qsub") is not None


def check_grid_engine(site: Site) -> Finding:
    """Whether Grid Engine answers here, and knows the words in which the site asks for a GPU."""
    about = "Grid Engine"
    if not has_grid_engine():
        return Finding(about, "ok", "not on this machine: it is on the login node of the cluster")
    asked = words(site, Needs("1G", "0:10:0", gpus=1))
    command = ["qsub", "-b", "y", *asked, "true"]
    try:
        said = verify(command, in_project("."))
    except InputError as error:
        found = error.problems[0].found
        if "initialize environment" in found or "commlib error" in found or "can't connect" in found:
            advice = "Its programs are here, but its master is not reached: work on the login node"
            return Finding(about, "problem", f"it does not answer: {found[:160]}", advice)
        if "unknown resource" in found or "unable to parse" in found or "does not exist" in found:
            advice = "Is this another cluster? --site, or SITE in sge/user.mk; a file of your own in sge/sites/"
            return Finding(about, "problem", f"it does not know what {site.name} asks for: {found}", advice)
        advice = (
            "tfmri submit --dry-run tells of the jobs of an experiment; if nobody gets any, ask the cluster's support"
        )
        return Finding(about, "problem", f"it would give nobody a GPU: {found}", advice)
    return Finding(about, "ok", f"it answers as {site.name}: {said.splitlines()[-1] if said else 'a job could run'}")


def check_host(site: Site) -> Finding | None:
    """Whether the cluster can be reached from here, as far as that goes without a password; None on the cluster."""
    about = "the way there"
    if has_grid_engine():
        return None
    way = f"{site.host}{f' through {site.jump}' if site.jump else ''}"
    try:
        done = run_there(site, "command -v qsub; command -v rsync; true", unattended=True)
    except InputError as error:
        problem = error.problems[0]
        if problem.found == NOT_LET_IN:
            found = (
                f"{problem.where} answers, and without a password lets nobody in: what is behind it was not looked at"
            )
            return Finding(about, "note", found, "A key (ssh-copy-id) saves the typing")
        return Finding(about, "problem", f"{problem.where}: {problem.found}", problem.advice)
    missing = [name for name in ("qsub", "rsync") if f"/{name}" not in done.stdout]
    if missing:
        advice = "Is it the login node? Where only a login shell finds them, this need not matter"
        return Finding(about, "note", f"{way} lets you in, but has no {' and no '.join(missing)}", advice)
    return Finding(about, "ok", f"{way} lets you in")
