"""Code to the cluster, results home: what is said meanwhile, and again and again if one watches."""

import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tfmri.cluster import transfer
from tfmri.cluster.site import DEFAULT, Site, load_site
from tfmri.cluster.ssh import NOT_LET_IN
from tfmri.errors import InputError
from tfmri.project import in_project
from tfmri.runs.directory import runs_root

INTERRUPTED = 130  # what a shell reports of Ctrl-C
STOPPED = "Stopped. What has come stays; the same command goes on from there."


def push(site_name: str | None = None, data: Sequence[Path] = (), limit: str | None = None) -> int:
    """Copies the code, and data if any are named, to the cluster; prints what to type there. Gives the exit code.

    Raises:
        InputError: whatever was in the way.
    """
    site, project = load_site(site_name), in_project(".").absolute()
    places = []
    try:
        print(f"code: {transfer.push(site, project, limit)}, to {site.host}:{site.folder}", flush=True)
        for each in data:
            moved, place = transfer.push_data(site, project, each, limit)
            places.append(place)
            print(f"data: {moved}, to {place} there", flush=True)
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return INTERRUPTED
    print(_what_to_type(site, places))
    return 0


def _what_to_type(site: Site, places: Sequence[str]) -> str:
    port, jump = (f"-p {site.port} " if site.port else ""), (f"-J {site.jump} " if site.jump else "")
    submit = ".venv/bin/tfmri submit sex_clf"
    submit += f" --site {site.name}" if site.name != DEFAULT else ""
    submit += f" --set data.labels={shlex.quote(f'{places[0]}/labels.csv')}" if places else ""
    folder = shlex.quote(site.folder.removeprefix("~/"))
    lines = [f"ssh {jump}{port}{site.host}", f"cd {folder}", "make setup EXTRAS=gpu", "make doctor", submit]
    return "\n".join(["", "next:", *(f"    {line}" for line in lines)])


def sync(
    site_name: str | None = None,
    run: str | None = None,
    weights: bool = False,
    watch: float | None = None,
    limit: str | None = None,
) -> int:
    """Fetches what a person looks at of the runs there. Gives the exit code.

    Args:
        site_name: the site, the person's own otherwise.
        run: only this one, `EXPERIMENT/NAME` or `EXPERIMENT/latest`.
        weights: models and checkpoints as well.
        watch: seconds after which to fetch again, until Ctrl-C; what fails is told, and tried again, but for a login.
        limit: the most to fetch in a second, in rsync's words: `2m`.

    Raises:
        InputError: whatever was in the way, of what is fetched once; a refused login.
    """
    site = load_site(site_name)
    try:
        while True:
            try:
                _fetch(site, run, weights, limit)
            except InputError as error:
                if watch is None or NOT_LET_IN in str(error):  # clusters shut out who tries again and again
                    raise
                print(f"tfmri: {error}", file=sys.stderr, flush=True)
            if watch is None:
                return 0
            try:
                time.sleep(watch)
            except KeyboardInterrupt:
                return 0  # nothing was under way
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return INTERRUPTED


def _fetch(site: Site, run: str | None, weights: bool, limit: str | None) -> None:
    """Once: the runs and the logs of jobs."""
    runs = runs_root().absolute()
    far = transfer.find_runs(site)
    only = transfer.find_run(far, run, site) if run else None
    moved = transfer.fetch_runs(site, far, runs, only, weights, limit)
    if far.logs:
        moved += transfer.fetch_logs(site, in_project("sge/logs").absolute(), limit)
    for name in transfer.in_the_way(far, runs):
        if only in (None, name):
            what = "a link" if (runs / name).is_symlink() or (runs / name).parent.is_symlink() else "another run"
            print(f"left out, since {what} is here under its name: {name}. Rename what is here to have both.")
    if sentence := transfer.left_out(moved.links):
        print(sentence)
    print(f"{datetime.now():%H:%M:%S}  {moved}, from {site.host}", flush=True)
