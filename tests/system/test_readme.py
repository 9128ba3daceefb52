"""Every command of README and docs that needs neither a cluster nor a person at a browser, on a fresh copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
ELSEWHERE = ("git clone", "make test", "make test-system", "make lint", "make tensorboard")  # tested, or run, by others
SHORT = "--set training.epochs=1"


def commands() -> list[str]:
    text = "".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


@pytest.fixture
def checkout(tmp_path):
    """The tracked and new files of this checkout in a folder of their own, with the environment this test runs in."""
    if not (ROOT / ".venv" / "installed").exists() or Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("takes the .venv that `make setup` made")
    names = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(names, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    for settings in ("setup.cfg", "requirements.txt", "requirements-gpu.txt"):
        os.utime(
            tmp_path / settings, (0, 0)
        )  # or make would install this copy into the environment, for all who use it
    return tmp_path


def test_the_commands_of_the_readme_run(checkout):
    unset = ("TFMRI_RUNS", "TFMRI_CACHE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}"
    environment["ARGS"] = SHORT  # make takes it from here where the command line does not set it
    found = commands()
    assert "make train EXP=sex_clf" in found
    assert len(found) >= 6
    said = ""
    for command in found:
        done = subprocess.run(["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    for words in ("balanced accuracy", "best reachable", "trivial", "preview/sex_clf.png", "next:"):
        assert words in said


def test_the_pictures_of_the_readme_and_the_docs_are_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / picture).stat().st_size > 10_000, picture
        for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), link
