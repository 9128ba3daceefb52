"""The report of a real run in a real browser: whole, silent, and printed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COUNT = """<script>addEventListener('load', () => {
  const pictures = [...document.images];
  document.title = `${pictures.length} pictures, ${pictures.filter(each => !each.naturalWidth).length} missing, ` +
    `${document.documentElement.scrollWidth > innerWidth ? 'too wide' : 'fits'}`;
});</script></body>"""


def browse(page: Path, *options: str, width: int = 1200) -> subprocess.CompletedProcess:
    profile = page.parent / "profile"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--no-first-run"]
    command += [f"--user-data-dir={profile}", f"--window-size={width},900", "--virtual-time-budget=5000"]
    done = subprocess.run([*command, *options, f"file://{page}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
@pytest.mark.parametrize("target", ["sex", "age"])
def test_the_report_opens_prints_and_has_all_its_pictures(tmp_path, monkeypatch, target):
    import sys

    for folder in ("workflows", "images"):
        monkeypatch.syspath_prepend(ROOT / "tests" / folder)
    from cohort_of_balls import write_cohort

    write_cohort(tmp_path)
    program = [sys.executable, "-c", "from tfmri.cli import main; main()"]
    changes = ["--set", "targets={age: {task: regression}}"] if target == "age" else []
    for command in (["train", "small.yaml", "--run", "one", *changes], ["evaluate", "small/one"]):
        done = subprocess.run([*program, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    report = tmp_path / "runs" / "small" / "one" / "evaluation" / "test" / "report.html"

    said = browse(report, "--dump-dom")
    assert "CONSOLE" not in said.stderr and "Before you believe it" in said.stdout
    counted = tmp_path / "counted.html"  # a copy that may run the script which counts
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text())
    counted.write_text(text.replace("</body>", COUNT))
    title = re.search(r"<title>(.*?)</title>", browse(counted, "--dump-dom").stdout, re.DOTALL)
    assert title and re.fullmatch(r"\d\d pictures, 0 missing, fits", title[1]), title
    narrow = re.search(r"<title>(.*?)</title>", browse(counted, "--dump-dom", width=500).stdout, re.DOTALL)
    assert narrow and narrow[1].endswith("fits"), narrow

    printed = tmp_path / "report.pdf"
    browse(report, f"--print-to-pdf={printed}")
    pdf = printed.read_bytes()
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Subtype ?/Image", pdf)) >= 8
