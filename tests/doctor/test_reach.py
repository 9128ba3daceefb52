import shutil
import socket

import pytest

from tfmri.cluster.site import Site
from tfmri.doctor.reach import check_grid_engine, check_host


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A machine without Grid Engine: of its programs only ssh is on PATH."""
    if not shutil.which("ssh"):
        pytest.skip("needs ssh")
    (tmp_path / "ssh").symlink_to(shutil.which("ssh"))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_host_that_refuses_and_one_that_nobody_knows(at_home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        refused = check_host(Site(host="ann@127.0.0.1", port=taken.getsockname()[1]))
    assert refused.state == "problem" and "refuses the connection" in refused.found
    unknown = check_host(Site(host="ann@no-such-host.invalid"))
    assert unknown.state == "problem" and "no host of that name" in unknown.found and "VPN" in unknown.advice


def test_at_home_grid_engine_is_not_missed(at_home):
    assert check_grid_engine(Site(name="comic", host="x")).state == "ok"
