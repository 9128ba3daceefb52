"""Files to a cluster and results from there, by rsync: nothing is deleted, and all goes on where it was cut.

What is fetched lands whole (a result is there or not, also while it is being fetched), but for TensorBoard's events and
the logs of jobs. Those grow where they are (`--inplace`): a reader has them open, and sees nothing of a file that took
their place (tensorboard#349); one that is half there is a file that has not grown yet.

The far side is not trusted with names: rsync refuses those that lead out of the folder, links that do are left out, and
no name passes through a shell.
"""

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmri.cluster.rsync import FULL, Moved, full, rsync
from tfmri.cluster.site import Site
from tfmri.cluster.ssh import last_line, run_there
from tfmri.errors import InputError, Problem, did_you_mean

EVENTS = "events.out.tfevents.*"
LOOKED_AT = (  # of a run, besides its events: what a person opens, and TensorBoard's profiles
    *("*.yaml", "*.json", "*.csv", "*.tsv", "*.txt", "*.log", "*.diff", "*.md", "*.bib"),
    *("*.html", "*.png", "*.pdf", "*.svg", "*.nii.gz", "plugins/***"),
)
WEIGHTS = ("checkpoints/", "*.keras")  # not even what is to be looked at in there
IDENTITY = ("provenance.json", "study.json")  # of a run, of a search
NO_RSYNC, NO_FOLDER, NO_RUNS, NO_LOGS = 61, 62, 63, 64  # exit codes of our scripts there
INSTALL = "Install it (Debian, Ubuntu: sudo apt install rsync)"


@dataclass(frozen=True)
class FarRuns:
    """The runs there are on the far side: EXPERIMENT/NAME -> what its provenance says; where each `latest` points."""

    known: dict[str, dict[str, Any]]
    latest: dict[str, str]  # experiment -> EXPERIMENT/NAME
    logs: bool  # whether there is a folder of job logs


def push(site: Site, project: Path, limit: str | None = None) -> Moved:
    """Copies the code there: every file of the checkout that git does not ignore, and of which commit they are.

    Args:
        site: where to.
        project: the folder of the code.
        limit: the most to send in a second, in rsync's words: `2m`.

    Raises:
        InputError: no connection, no room, no rsync there, ...
    """
    names = _files_of(project) + _revision(project)
    _ready(site, f"mkdir -p -- {shlex.quote(_there(site.folder))} || exit {NO_FOLDER}")
    # "./": rsync takes a line that begins with # for a comment
    listed = b"\0".join(b"./" + name.encode(errors="surrogateescape") for name in names)
    options = ["--links", "--executability", "--files-from=-", "--from0", *_limit(limit)]
    return rsync(site, options, f"{project}/", f"{site.host}:{_there(site.folder)}/", listed)


def push_data(site: Site, project: Path, data: Path, limit: str | None = None) -> tuple[Moved, str]:
    """Copies a file or a folder of data there, and says where it is then, below the folder of the code.

    What is in the project stays at its place in it; all else goes to `data/`. Links out of the folder become what they
    point to.

    Raises:
        InputError: it is not there, or as `push`.
    """
    data = data.absolute()
    if not data.exists():
        raise InputError(Problem(str(data), "there is no such file or folder"))
    place = data.relative_to(project) if data.is_relative_to(project) and data != project else Path("data", data.name)
    target = f"{_there(site.folder)}/{place}"
    parent = target if data.is_dir() else str(Path(target).parent)
    _ready(site, f"mkdir -p -- {shlex.quote(_there(parent))} || exit {NO_FOLDER}")
    options = ["--recursive", "--links", "--copy-unsafe-links", "--partial-dir=.rsync-partial", *_limit(limit)]
    source, end = (f"{data}/", "/") if data.is_dir() else (str(data), "")
    return rsync(site, options, source, f"{site.host}:{target}{end}"), str(place)


def find_runs(site: Site) -> FarRuns:
    """What runs there are on the far side.

    Raises:
        InputError: no connection, no rsync there, no folder, or no runs in it.
    """
    runs, folder = shlex.quote(_runs(site)), shlex.quote(_there(site.folder))
    logs = f"[ -d {folder}/sge/logs ] || exit {NO_LOGS}"
    missing = f"[ -d {folder} ] && exit {NO_RUNS}; exit {NO_FOLDER}"
    code = _ready(site, f"if [ -d {runs} ]; then {logs}; else {missing}; fi")
    wanted = ["/*/", "/*/*/", "/*/latest", *(f"/*/*/{name}" for name in IDENTITY)]
    options = ["--recursive", "--links", "--safe-links", "--max-size=10m", "--exclude=.*"]
    with tempfile.TemporaryDirectory() as name:
        folder_here = Path(name)
        options += [*(f"--include={each}" for each in wanted), "--exclude=*"]
        rsync(site, options, f"{site.host}:{_runs(site)}/", f"{folder_here}/", shown=False)
        known, latest = {}, {}
        for path in sorted(folder_here.glob("*/*")):
            if path.is_symlink():
                latest[path.parent.name] = f"{path.parent.name}/{path.readlink().name}"
            elif path.is_dir():
                known[f"{path.parent.name}/{path.name}"] = identity(path)
    return FarRuns(known, {name: run for name, run in latest.items() if run in known}, logs=code != NO_LOGS)


def identity(run: Path) -> dict[str, Any]:
    """What tells a run or a search from another of its name: when it began, and where; nothing where nobody knows."""
    for path in (run / name for name in IDENTITY):
        try:
            known = json.loads(path.read_text()) if path.is_file() and not path.is_symlink() else None
        except ValueError:  # being written, or no such file
            continue
        if isinstance(known, dict):
            return {name: known.get(name) for name in ("started", "began", "host")}
    return {}


def in_the_way(far: FarRuns, runs: Path) -> list[str]:
    """Names of far runs that mean something else here: another run, or a link that rsync would replace."""
    found = []
    for name, theirs in far.known.items():
        here = runs / name
        ours = identity(here)
        if here.is_symlink() or here.parent.is_symlink() or (ours and theirs and ours != theirs):
            found.append(name)
    return found


def fetch_runs(
    site: Site, far: FarRuns, runs: Path, only: str | None = None, weights: bool = False, limit: str | None = None
) -> Moved:
    """Fetches what a person looks at of the runs there: first the events, as they grow, then results, each whole.

    Args:
        site: where from.
        far: the runs there.
        runs: where to.
        only: the one run to fetch, `EXPERIMENT/NAME`; all of them otherwise, but those `in_the_way`.
        weights: everything else too, models and checkpoints.
        limit: the most to fetch in a second, in rsync's words: `2m`.

    Raises:
        InputError: no connection, no room here, ...
    """
    runs.mkdir(parents=True, exist_ok=True)
    rules = _rules(far, runs, only)
    source, target = f"{site.host}:{_runs(site)}/", f"{runs}/"
    options = ["--recursive", "--links", "--safe-links", "--prune-empty-dirs", "--chmod=Du+rwx,Fu+rw", *_limit(limit)]
    events = ["--inplace", *rules, *(f"--exclude={name}" for name in WEIGHTS), "--include=*/", f"--include={EVENTS}"]
    results = ["--partial-dir=.rsync-partial", *rules, f"--exclude={EVENTS}"]
    if not weights:
        results += [f"--exclude={name}" for name in WEIGHTS]
        results += [f"--include={name}" for name in ("*/", "/*/latest", *LOOKED_AT)] + ["--exclude=*"]
    return rsync(site, [*options, *events, "--exclude=*"], source, target) + rsync(
        site, [*options, *results], source, target
    )


def fetch_logs(site: Site, logs: Path, limit: str | None = None) -> Moved:
    """Fetches what jobs said, all of `sge/logs/` there.

    Raises:
        InputError: as `fetch_runs`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    options = ["--recursive", "--inplace", "--exclude=.*", "--chmod=Du+rwx,Fu+rw"]
    return rsync(site, [*options, *_limit(limit)], f"{site.host}:{_there(site.folder)}/sge/logs/", f"{logs}/")


def find_run(far: FarRuns, name: str, site: Site) -> str:
    """The run of that name there, `EXPERIMENT/NAME`, also for `EXPERIMENT/latest`.

    Raises:
        InputError: there is none.
    """
    experiment, _, run = name.strip("/").partition("/")
    found = far.latest.get(experiment, "") if run == "latest" else f"{experiment}/{run}"
    if found not in far.known:
        known = list(far.known)
        expected = f"one of {', '.join(known[-5:])}" if known else "a run: there are none yet"
        raise InputError(Problem(f"run '{name}'", f"no run of that name on {site.host}", expected,
                                 did_you_mean(name, known)))  # fmt: skip
    return found


def _rules(far: FarRuns, runs: Path, only: str | None) -> list[str]:
    """rsync's rules of which runs: the first that fits a name holds."""
    rules = ["--exclude=.*"]  # what is being written, locks
    for experiment, run in far.latest.items():
        link = runs / experiment / "latest"
        ours = f"{experiment}/{link.resolve().name}" if link.is_dir() else ""
        if (ours and (ours not in far.known or ours in in_the_way(far, runs))) or only not in (None, run):
            rules.append(f"--exclude=/{_escaped(experiment)}/latest")  # a run of this machine was worked on last here
    if only:
        experiment, _, _ = only.partition("/")
        rules += [f"--include=/{_escaped(experiment)}/", f"--include=/{_escaped(only)}/"]
        rules += [f"--include=/{_escaped(experiment)}/latest", f"--exclude=/{_escaped(experiment)}/*", "--exclude=/*"]
    return rules + [f"--exclude=/{_escaped(name)}" for name in in_the_way(far, runs)]


def _escaped(name: str) -> str:
    """A name as rsync's rules take it: a backslash means itself where there is nothing that could be a wildcard."""
    return re.sub(r"([\\*?\[])", r"\\\1", name) if re.search(r"[*?\[]", name) else name


def _there(path: str) -> str:
    """A path below the home folder, or absolute, that begins with no `~`, which nothing would fill in, and no dash."""
    path = path.removeprefix("~/").rstrip("/") or "/"
    return path if path.startswith(("/", "./")) else f"./{path}"


def _runs(site: Site) -> str:
    return _there(site.runs or f"{site.folder}/runs")


def _limit(limit: str | None) -> list[str]:
    return [f"--bwlimit={limit}"] if limit else []


def _files_of(project: Path) -> list[str]:
    """Every file that git does not ignore, also where the code came without its `.git`.

    Raises:
        InputError: git is not installed.
    """
    command = ["git", "-C", str(project), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    with tempfile.TemporaryDirectory() as empty:
        try:
            if subprocess.run([*command[:3], "rev-parse", "--git-dir"], capture_output=True, check=False).returncode:
                subprocess.run(["git", "init", "--quiet", "--bare", empty], capture_output=True, check=True)
                command[1:1] = [f"--git-dir={empty}", f"--work-tree={project}"]
            listed = subprocess.run(command, capture_output=True, check=True).stdout
        except FileNotFoundError:
            advice = "Install it (Debian, Ubuntu: sudo apt install git)"
            raise InputError(Problem("git", "the program is not installed here", advice=advice)) from None
        except subprocess.CalledProcessError as error:
            said = last_line(error.stderr.decode(errors="replace"))
            raise InputError(Problem(str(project), f"git cannot list the files of the code: {said}")) from None
    names = dict.fromkeys(name.decode(errors="surrogateescape") for name in listed.split(b"\0") if name)
    return [name for name in names if (project / name).is_symlink() or (project / name).is_file()]


def _revision(project: Path) -> list[str]:
    """Writes which commit the code is of, and what differs from it, for the provenance of runs there; their names."""
    folder = project / ".revision"
    git = ["git", "-C", str(project)]
    commit = subprocess.run([*git, "rev-parse", "--verify", "HEAD"], capture_output=True, check=False)
    if commit.returncode == 0:
        changes = subprocess.run([*git, "diff", "--no-ext-diff", "HEAD"], capture_output=True, check=True)
        folder.mkdir(exist_ok=True)
        (folder / "commit").write_bytes(commit.stdout)
        (folder / "uncommitted.diff").write_bytes(changes.stdout)
    return [f".revision/{path.name}" for path in sorted(folder.glob("*")) if path.is_file()]


def _ready(site: Site, script: str) -> int:
    """Opens the way, sees that rsync is there, runs a script that ends with one of our codes if something lacks."""
    if not shutil.which("rsync"):
        raise InputError(Problem("rsync", "the program is not installed here", advice=INSTALL))
    done = run_there(site, f"command -v rsync > /dev/null 2>&1 || exit {NO_RSYNC}\n{script}\n")
    folder = f"{site.host}:{site.folder}"
    if done.returncode == NO_RSYNC:
        advice = "Ask its administrators for it; where it is a module, load it in ~/.bashrc there"
        raise InputError(Problem(site.host, "the program rsync is not found there", advice=advice))
    if done.returncode == NO_RUNS:
        found = f"there are no runs yet in {_runs(site)}"
        raise InputError(Problem(site.host, found, advice="They come once a job has begun (tfmri jobs, there)"))
    if done.returncode == NO_FOLDER and FULL.search(done.stderr):
        raise InputError(full(site.host))
    if done.returncode == NO_FOLDER and "mkdir" in script:
        advice = "Name another folder (REMOTE = in sge/user.mk)"
        raise InputError(Problem(folder, f"the folder cannot be made: {last_line(done.stderr)}", advice=advice))
    if done.returncode == NO_FOLDER:
        advice = "Bring the code there first (tfmri push), or say where it is (REMOTE = in sge/user.mk)"
        raise InputError(Problem(folder, "there is no such folder there", advice=advice))
    if done.returncode not in (0, NO_LOGS):
        raise InputError(Problem(site.host, f"a command failed there: {last_line(done.stderr or done.stdout)}"))
    return done.returncode


def left_out(links: Iterable[str]) -> str:
    """The sentence on links that were not fetched; '' for none."""
    names = sorted(set(links))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"left out, links to elsewhere there: {', '.join(names[:3])}{more}" if names else ""
