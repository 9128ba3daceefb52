"""Several commands in one process, for TensorFlow starts slowly: a JSON list of argument lists, answered in kind.

Each answer is the exit code, or the name of an exception that a person would see as a traceback, and what was said.
"""

import contextlib
import io
import json
import sys


def main() -> None:
    from tfmri.cli import main as tfmri

    answers = []
    for arguments in json.loads(sys.argv[1]):
        said, code = io.StringIO(), None
        sys.argv = ["tfmri", *arguments]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                tfmri()
            except SystemExit as left:
                code = left.code or 0
            except Exception as error:
                code = repr(error)
        answers.append([code, said.getvalue()])
    print("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
