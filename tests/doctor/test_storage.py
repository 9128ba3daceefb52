from pathlib import Path

from tfmri.doctor.storage import Quota, check_room, check_writable, judge_quotas, parse_quotas

QUOTA = """\
Disk quotas for user ann (uid 1001):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
store:/home/ann  9961472  10485760  11534336       0   99500*  90000  100000  1767200000
      /dev/sdb1     120        0       0       0      12       0       0       0
"""


def test_folders_that_can_be_written_to_and_not(tmp_path):
    assert check_writable("runs", tmp_path / "not" / "there" / "yet").state == "ok"
    assert not (tmp_path / "not").exists() and not list(tmp_path.iterdir())
    found = check_writable("scratch", Path("/sys"))  # which nobody can write to
    assert found.state == "problem" and "/sys" in found.found and "TMPDIR" in found.advice


def test_too_little_room_is_told(tmp_path):
    assert check_room("cache", tmp_path, little=1, few=0).state == "ok"
    found = check_room("cache", tmp_path, little=2**60)
    assert found.state in ("note", "problem") and found.found.startswith("only ") and "TFMRI_CACHE" in found.advice
    few = check_room("runs", tmp_path, little=1, few=2**60)
    assert few.state == "ok" or "more files" in few.found  # a disk that counts no files has none too few


def test_quotas_of_bytes_and_of_files():
    home, other = parse_quotas(QUOTA)
    assert home == Quota("store:/home/ann", 9961472, 11534336, 99500, 100000) and other.limit == other.most == 0
    found = judge_quotas([home, other])
    assert found.state == "note" and found.found == "99500 of 100000 files on store:/home/ann"
    assert judge_quotas([Quota("home", 120, 100, 1, 10)]).state == "problem"
    assert judge_quotas([Quota("home", 50, 100, 1, 10)]).state == "ok"
    assert judge_quotas([other]) is None and judge_quotas([]) is None
