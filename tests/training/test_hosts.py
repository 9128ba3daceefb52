"""Who trains together, from a file of hosts or TF_CONFIG."""

import json
import socket

import pytest

from tfmri.errors import InputError
from tfmri.training.hosts import PORT, Team, find_team


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


@pytest.fixture
def hosts(tmp_path):
    def write(text: str):
        (tmp_path / "hosts").write_text(text)
        return tmp_path / "hosts"

    return write


def test_a_line_is_a_name_with_or_without_a_port_or_one_of_grid_engine(hosts):
    own = socket.gethostname()
    found = find_team(hosts(f"other:2000\n\n{own} 1 gpu.q@{own} UNDEFINED  # here\n"), None)
    assert found == Team(("other:2000", f"{own}:{PORT}"), 1)
    assert not found.leads


def test_one_host_is_no_team_and_neither_is_nothing(hosts):
    assert find_team(hosts(f"{socket.gethostname()}\n"), None) is None
    assert find_team(None, None) is None


def test_a_team_is_joined_by_tf_config_and_found_there(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")  # so that it is put back
    team = Team(("a:1", "b:2"), 1)
    team.join()
    assert find_team(None, None) == team


@pytest.mark.parametrize(
    ("text", "index", "said"),
    [
        ("", None, ["no host stands in it", "name:port"]),
        ("# a comment\n", None, ["no host stands in it"]),
        ("a:1\na:1\n", 0, ["a:1 stands there twice"]),
        ("a:1\nb:1\n", None, ["none of a, b is this machine", "--host-index"]),
        ("127.0.0.1:1\n127.0.0.1:2\n", 2, ["--host-index", "0 to 1"]),
    ],
)
def test_a_file_that_does_not_say_who_this_is_is_refused(hosts, text, index, said):
    with pytest.raises(InputError) as error:
        find_team(hosts(text), index)
    for words in said:
        assert words in str(error.value)


def test_what_is_no_file_and_no_tf_config_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        find_team(tmp_path / "none", None)
    with pytest.raises(InputError, match="--hosts FILE"):
        find_team(None, 1)
    for wrong in ("{", "3", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})):
        monkeypatch.setenv("TF_CONFIG", wrong)
        with pytest.raises(InputError, match="TF_CONFIG"):
            find_team(None, None)
