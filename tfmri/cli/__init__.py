"""The command line: one file a command. It parses and prints; what is done stands in `workflows`."""

import errno
import os
import sys
from pathlib import Path

import typer

from tfmri.errors import InputError

app = typer.Typer(
    help="Trains 3D CNNs on brain MRI scans: labels.csv in, an honestly evaluated model out.",
    epilog="Any command takes --debug, which shows where in the program a mistake was noticed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # drawing boxes costs twice the time of all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


IN_WORDS = {  # what the system refuses -> what is wrong, and what to do
    errno.EACCES: ("the permission to read or write here is missing", "Ask its owner, or use another place"),
    errno.EPERM: ("the permission to change this is missing", "Ask its owner, or use another place"),
    errno.EROFS: ("this lies on a file system that can only be read", "Use another place"),
    errno.EEXIST: ("this is there already, where something else has to be made", "Move it away, or use another name"),
    errno.ENOTDIR: ("this is a file, where a folder is needed", "Move it away, or use another place"),
    errno.EISDIR: ("this is a folder, where a file is needed", "Name a file"),
}


def main() -> None:
    """Runs the command line. A person's mistake gets a sentence and exit code 2, a bug a traceback and 1."""
    from tfmri.cli import (  # noqa: F401  they add themselves to app
        baseline,
        cancel,
        check,
        compare,
        demo,
        doctor,
        download,
        evaluate,
        explain,
        export,
        interactive,
        jobs,
        labels,
        new,
        predict,
        prepare,
        preview,
        push,
        runs,
        submit,
        sync,
        tensorboard,
        train,
        tune,
    )

    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as startup.load_tensorflow, before which a model of
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the person's own may import TensorFlow
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except InputError as error:
        if debug:
            raise
        print(f"tfmri: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        sentence = _sentence(error)
        if debug or not sentence:
            raise
        print(f"tfmri: {sentence}", file=sys.stderr)
        sys.exit(2)


def _sentence(error: OSError) -> str:
    """What a person can put right, '' for what is no matter of theirs. It names what is there of the path refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return f"no space is left on the disk{where}. Free some, and run the same command again"
    name = error.filename2 or error.filename  # of two, the second is where a file should have gone
    if error.errno not in IN_WORDS or not isinstance(name, str | bytes | os.PathLike):
        return ""
    path = Path(os.fsdecode(name)).absolute()
    wrong, advice = IN_WORDS[error.errno]
    return f"{next(place for place in (path, *path.parents) if os.path.lexists(place))}: {wrong}. {advice}"
