"""The command line: one file a command. It parses and prints; what is done stands in `workflows`."""

import errno
import os
import sys

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


def main() -> None:
    """Runs the command line. A person's mistake gets a sentence and exit code 2, a bug a traceback and 1."""
    from tfmri.cli import demo, evaluate, labels, prepare, preview, runs, train  # noqa: F401  they add themselves to app

    os.environ["KERAS_BACKEND"] = "tensorflow"
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
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"tfmri: no space is left on the disk{where}. Free some, and run the same command again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tfmri: interrupted", file=sys.stderr)
        sys.exit(130)
