"""A study shared by real processes: no trial twice, none lost, whoever dies and whenever."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tfmri.runs.directory import Run
from tfmri.runs.study import StudyFolder, study_of
from tfmri.tuning.space import check_space
from tfmri.tuning.study import Search, best_of, end_trial, open_study, take_trial

SPACE = check_space({"model.dropout": {"low": 0.0, "high": 1.0}, "augment": ["none", "light", "heavy"]}, "space")
SEARCH = Search(SPACE, True, "random", "none", warmup_trials=1, warmup_epochs=0, epochs=4, seed=3)
PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "exp" / "tune"
    path.mkdir(parents=True)
    return StudyFolder(path)


def value_of(words: dict[str, str]) -> float:
    return abs(float(words["model.dropout"]) - 0.4) + (words["augment"] != "light")


def work(folder: StudyFolder, trials: int, name: str = "", search: Search = SEARCH, most: int = 99) -> None:
    """What a worker does, with a formula in place of a training; each trial it has is a line in a file of its own."""
    study = open_study(folder, search)
    for _ in range(most):
        with take_trial(study, folder, search, trials) as taken:
            if taken is None:
                return
            if name:
                with (folder.path / name).open("a") as file:
                    file.write(f"{taken.number}\n")
                time.sleep(0.01)
            for epoch in range(1, 5):
                taken.report(epoch, value_of(taken.words) + 1 / epoch)
            end_trial(study, folder, taken, value_of(taken.words))


def found(folder: StudyFolder, search: Search = SEARCH):
    return open_study(folder, search).get_trials()


def die(folder: StudyFolder, trials: int) -> None:
    with take_trial(open_study(folder, SEARCH), folder, SEARCH, trials) as taken:
        taken.report(1, 5.0)
        os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_trial(folder: StudyFolder, trials: int) -> None:
    """A worker that is killed in its trial, when it has told of one epoch."""
    process = PROCESSES.Process(target=die, args=(folder, trials))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_workers_at_once_train_every_trial_once_and_as_many_as_were_asked_for(folder):
    workers = [PROCESSES.Process(target=work, args=(folder, 12, f"worker-{index}")) for index in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    had = [int(line) for path in folder.path.glob("worker-*") for line in path.read_text().split()]
    assert sorted(had) == list(range(12))
    trials = found(folder)
    assert {each.state for each in trials} == {TrialState.COMPLETE}
    assert not list(folder.path.glob(".trial-*"))


def test_what_is_tried_at_first_depends_on_the_seed_and_the_number_alone(folder, tmp_path):
    other, third = (StudyFolder(tmp_path / "exp" / name) for name in ("other", "third"))
    work(folder, 6)
    for each in (other, third):
        each.path.mkdir()
    die_in_a_trial(other, 6)  # others come before the first one ends
    for _ in range(3):
        work(other, 6, most=1)
    work(other, 6)
    work(third, 6, search=replace(SEARCH, seed=4))
    assert [each.params for each in found(folder)] == [each.params for each in found(other)]
    assert [each.params for each in found(folder)] != [each.params for each in found(third)]
    assert len({each.params["model.dropout"] for each in found(folder)}) == 6


def test_tpe_learns_and_one_worker_alone_tries_the_same_however_often_it_is_stopped(folder, tmp_path):
    learning = replace(SEARCH, sampler="tpe")
    work(folder, 30, search=learning)
    other = StudyFolder(tmp_path / "exp" / "other")
    other.path.mkdir()
    work(other, 15, search=learning)
    work(other, 30, search=learning)
    trials = found(folder)
    assert [each.params for each in trials] == [each.params for each in found(other)]
    first, last = (sum(each.value for each in part) / 10 for part in (trials[:10], trials[-10:]))
    assert last < first / 2
    assert best_of(trials, lower_is_better=True).value == min(each.value for each in trials)
    assert best_of(trials, lower_is_better=False).value == max(each.value for each in trials)


def test_a_trial_whose_worker_was_killed_is_taken_up_by_the_next_with_the_same_settings(folder):
    die_in_a_trial(folder, 2)
    left = found(folder)[0]
    assert left.state == TrialState.RUNNING
    study = open_study(folder, SEARCH)
    with take_trial(study, folder, SEARCH, 2) as taken:
        assert (taken.number, taken.anew) == (0, False)
        assert float(taken.words["model.dropout"]) == left.params["model.dropout"]
        taken.report(1, 5.0)  # once more: it is in the journal already
        taken.report(2, 4.0)
        with take_trial(open_study(folder, SEARCH), folder, SEARCH, 2) as other:
            assert (other.number, other.anew) == (1, True)
            with take_trial(study, folder, SEARCH, 2) as third:
                assert third is None
        end_trial(study, folder, taken, 4.0)
    first, second = found(folder)
    assert first.intermediate_values == {1: 5.0, 2: 4.0}
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.RUNNING)


def test_a_trial_that_was_never_chosen_to_the_end_counts_for_nothing(folder):
    study = open_study(folder, SEARCH)
    study.ask()  # and its worker is gone
    work(folder, 2)
    assert [each.state for each in found(folder)] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_line_of_the_journal_that_a_full_disk_cut_short_is_cut_off(folder):
    work(folder, 1)
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(whole + b'{"op_code":4,"worker_id":"x","trial')
    work(folder, 3)
    lines = folder.journal.read_bytes().splitlines()
    assert folder.journal.read_bytes().startswith(whole)
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert [each.state for each in found(folder)] == [TrialState.COMPLETE] * 3


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_a_trial_far_behind_the_others_is_told_to_stop_and_one_ahead_is_not(folder, pruner):
    search = replace(SEARCH, pruner=pruner, epochs=9)
    study = open_study(folder, search)
    stops = []
    for value in (*[1.0] * 6, *[50.0] * 6, *[0.5] * 6):
        with take_trial(study, folder, search, 99) as taken:
            stop = next((epoch for epoch in range(1, 10) if taken.report(epoch, value)), None)
            stops.append(stop)
            end_trial(study, folder, taken, value if stop is None else None)
    assert stops[12:] == [None] * 6
    if pruner == "none":
        assert set(stops) == {None}
    else:
        assert all(stops[6:12]) if pruner == "median" else any(stops[6:12])
        states = [each.state for each in found(folder, search)]
        assert [state == TrialState.PRUNED for state in states] == [stop is not None for stop in stops]


def test_a_trial_says_how_often_it_was_begun_at_the_same_place(folder):
    counts = []
    for place in ("", "", "step-3", "step-3", "step-3", "step-9"):
        study = open_study(folder, SEARCH)
        with take_trial(study, folder, SEARCH, 1) as taken:
            counts.append(taken.begin_at(place))
    assert counts == [1, 2, 1, 2, 3, 1]


def test_a_run_knows_whose_trial_it_is(folder):
    folder.settings.write_text("seed: 0\n")
    assert folder.trial(6).path.name == "tune-0007"
    assert study_of(folder.trial(6)) == "exp/tune"
    assert study_of(Run(folder.path.parent / "other-0007")) is None
    assert study_of(Run(Path("exp/first"))) is None
