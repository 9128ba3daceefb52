"""setup.cfg, the pins of requirements*.txt, and the Makefile agree with each other and with the code."""

import ast
import configparser
import importlib.metadata
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def declared(extra: str | None = None) -> list[Requirement]:
    """What setup.cfg asks for: always, or with `extra`."""
    settings = configparser.ConfigParser()
    settings.read(PROJECT / "setup.cfg")
    lines = settings["options.extras_require"][extra] if extra else settings["options"]["install_requires"]
    return [Requirement(line) for line in lines.split("\n") if line]


def pins(name: str) -> dict[str, str]:
    """Canonical name -> version of a requirements file, those of a file that it names (-r) included."""
    found: dict[str, str] = {}
    for line in (PROJECT / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            package, version = line.split("==")
            found[canonicalize_name(package)] = version
    return found


def closure(requirements: Iterable[Requirement]) -> Iterator[Requirement]:
    """`requirements` and all that they require in turn, on any Python that we support, by what is installed here."""
    waiting, seen = list(requirements), set()
    while waiting:
        requirement = waiting.pop()
        yield requirement
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in seen:
                continue
            seen.add((requirement.name, extra))
            try:
                inner = [Requirement(line) for line in importlib.metadata.requires(requirement.name) or []]
            except importlib.metadata.PackageNotFoundError:
                continue  # CUDA libraries, or what only another Python needs
            environments = [
                {"extra": extra, "python_version": python, "python_full_version": f"{python}.0"} for python in PYTHONS
            ]
            waiting += [r for r in inner if r.marker is None or any(map(r.marker.evaluate, environments))]


def imported(folder: str) -> dict[str, str]:
    """Top-level names of other people's modules that the code in `folder` imports -> one file that does."""
    found: dict[str, str] = {}
    for path in sorted((PROJECT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules = [node.module]
            for module in modules:
                found[module.split(".")[0]] = str(path.relative_to(PROJECT))
    own = {"tfmri", "conftest", "__future__", *(path.stem for path in (PROJECT / folder).rglob("*.py"))}
    return {name: path for name, path in found.items() if name not in own and name not in sys.stdlib_module_names}


@pytest.mark.parametrize(("folder", "extras"), [("tfmri", []), ("tests", ["dev"])])
def test_every_import_is_declared(folder: str, extras: list[str]):
    requirements = declared() + [requirement for extra in extras for requirement in declared(extra)]
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        f"{module} ({path})"
        for module, path in imported(folder).items()
        if not names & {canonicalize_name(name) for name in distributions.get(module, [])}
    }
    assert not undeclared


def test_all_that_setup_installs_is_pinned_within_its_ranges_and_nothing_else_is():
    needed: dict[str, list[Requirement]] = {}
    for requirement in closure(declared() + declared("dev")):
        needed.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    pinned = pins("requirements.txt")
    assert set(pinned) == set(needed)
    assert not [str(r) for name, asked in needed.items() for r in asked if not r.specifier.contains(pinned[name])]


def test_the_pins_of_the_gpu_extra_add_the_cuda_libraries_within_their_ranges():
    pinned, base = pins("requirements-gpu.txt"), pins("requirements.txt")
    needed = list(closure(declared() + declared("dev") + declared("gpu")))
    names = {canonicalize_name(requirement.name) for requirement in needed}
    assert base.items() <= pinned.items()
    assert set(pinned) == names
    assert {name for name in names if name.startswith("nvidia-")} == set(pinned) - set(base)
    assert not [str(r) for r in needed if not r.specifier.contains(pinned[canonicalize_name(r.name)])]


def test_the_pins_of_the_onnx_extra_are_content_with_the_others():
    added, base = pins("requirements-onnx.txt"), pins("requirements.txt")
    assert not set(added) & set(base)
    assert {canonicalize_name(requirement.name) for requirement in declared("onnx")} == set(added)
    needed = [*declared("onnx"), *closure(declared("onnx"))]
    assert {canonicalize_name(requirement.name) for requirement in needed} <= {*added, *base}
    assert not [str(r) for r in needed if not r.specifier.contains((base | added)[canonicalize_name(r.name)])]


def make(*arguments: str, path: str | None = None, folder: Path = PROJECT) -> subprocess.CompletedProcess:
    """Runs make as from a shell of its own: what the make around these tests was given is not handed on."""
    environment = {"PATH": path or os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)


def test_help_lists_every_target():
    text = (PROJECT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()}
    listed = set(re.findall(r"^  make (\S+) +\S", make("help").stdout, re.MULTILINE))
    assert {
        "setup",
        "train",
        "evaluate",
        "prepare",
        "push",
        "sync",
        "tensorboard",
        "test",
        "test-system",
        "lint",
    } <= targets
    assert listed == targets


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [
        (
            ["train", "EXP=sex_clf", "LABELS=my scans/labels.csv", "ARGS=--set training.epochs=3"],
            [
                "tfmri train 'sex_clf' --set 'data.labels=my scans/labels.csv' --set training.epochs=3",
                "tfmri evaluate 'sex_clf/latest'",
            ],
        ),
        (["train", "EXP=my/own exp.yaml"], ["tfmri train 'my/own exp.yaml'", "tfmri evaluate 'own exp/latest'"]),
        (
            ["evaluate", "RUN=sex_clf/first", "ARGS=--split validation"],
            ["tfmri evaluate 'sex_clf/first' --split validation"],
        ),
        (["evaluate", "EXP=sex_clf"], ["tfmri evaluate 'sex_clf/latest'"]),
        (["prepare", "EXP=sex_clf"], ["tfmri prepare 'sex_clf'"]),
        (["tensorboard", "RUN=sex_clf/first run"], ["tfmri tensorboard 'sex_clf/first run' --port 6006"]),
        (["push", "SITE=myriad", "ARGS=--data scans"], ["tfmri push --site 'myriad' --data scans"]),
        (
            ["sync", "SITE=comic", "RUN=sex_clf/first run", "WEIGHTS=1", "WATCH=60"],
            ["tfmri sync --site 'comic' --run 'sex_clf/first run' --weights --watch 60"],
        ),
    ],
)
def test_targets_run_the_command_of_their_name(arguments: list[str], commands: list[str]):
    done = make("-n", *arguments)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[-len(commands) :] == [f".venv/bin/{command}" for command in commands]


@pytest.mark.parametrize(
    ("target", "variable"),
    [("train", "EXP"), ("prepare", "EXP"), ("evaluate", "EXP"), ("bench", "BENCH")],
)
def test_a_missing_variable_is_said_in_one_sentence(target: str, variable: str, tmp_path: Path):
    (tmp_path / "Makefile").write_bytes((PROJECT / "Makefile").read_bytes())  # away from anyone's own sge/user.mk
    done = make(target, folder=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"{variable}= is missing, for example: make {target} {variable}=" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "sentences"),
    [
        ("exit 1", ["tfmri needs Python 3.11, 3.12 or 3.13: install one", "python3-venv", "make setup PYTHON="]),
        ("echo 3.9", ["tfmri needs Python 3.11, 3.12 or 3.13; my-python is 3.9: install one"]),
        ('case "$2" in *venv*) exit 1 ;; esac; echo 3.11', ["Python 3.11 lacks its venv module", "python3.11-venv"]),
    ],
    ids=["none", "too old", "without venv"],
)
def test_setup_without_a_fitting_python_names_what_to_install(script: str, sentences: list[str], tmp_path: Path):
    for name in ("Makefile", "requirements.txt", "setup.cfg"):
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    python = tmp_path / "my-python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    done = make("setup", "PYTHON=my-python", path=f"{tmp_path}:{os.environ['PATH']}", folder=tmp_path)
    assert done.returncode != 0
    for sentence in sentences:
        assert sentence in done.stderr
    assert not (tmp_path / ".venv").exists()
