import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [[], ["train"], ["evaluate"], ["labels"], ["labels", "bids"], ["demo"]])
def test_help_answers_without_any_of_the_heavy_packages(arguments):
    code = (
        "import sys, atexit\n"
        "from tfmri.cli import main\n"
        "heavy = ('tensorflow', 'keras', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'nibabel', 'scipy', 'yaml')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"sys.argv = ['tfmri', *{arguments!r}, '--help']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert "LOADED []" in done.stdout


def test_an_unknown_command_or_option_is_refused_with_2():
    for arguments in (["trian"], ["train", "x", "--epochs", "3"]):
        code = f"import sys; from tfmri.cli import main; sys.argv = ['tfmri', *{arguments!r}]; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2
        assert "No such" in done.stderr
