"""The folder that relative names count from: the one that holds `experiments/`, whether one works in it or below it."""

from pathlib import Path


def in_project(name: str | Path) -> Path:
    """`name` below the nearest folder, of the current one and those above, with experiment files in `experiments/`.

    Below the current folder, and so `name` as it is, where there is none. An absolute path stays, `~` is one's home.
    """
    here, path = Path.cwd(), Path(name).expanduser()
    project = next((folder for folder in (here, *here.parents) if any(folder.glob("experiments/*.yaml"))), here)
    return path if project == here else project / path
