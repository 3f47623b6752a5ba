"""Several processes train one trial: they do the same, end together, and leave nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.errors import BadCheckpoint
from caviar.models.training import Interrupted, never
from caviar.storage.processes import is_alive
from caviar.studies.errors import RanksDied, TrialMisused
from caviar.studies.workers.local.pool import WorkerPool
from caviar.studies.workers.trial.failures import describe
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.group import GroupTraining
from caviar.studies.workers.user.rank_failures import RankRaised
from caviar.studies.workers.user.rank_starter import RankStarter
from tests.helpers.rank_trainings import LAST, notes, open_group


@pytest.fixture(scope="module")
def starter() -> Iterator[RankStarter]:
    WorkerPool.warm_up()
    with RankStarter() as made:
        yield made


def train(training: GroupTraining, epochs: int = LAST) -> list[dict[str, float]]:
    return [dict(epoch.metrics) for epoch in islice(training.epochs(LAST, never), epochs)]


def saved(training: GroupTraining) -> dict[str, Any]:
    """Return a training's state as another process reads it."""
    state = training.state()
    assert state is not None
    return from_bytes(to_bytes(state), torch.device("cpu"))


def pids(path: Path) -> set[int]:
    return {note.get("child", note["pid"]) for note in notes(path)}


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("function", "ranks"), [("ddp", 2), ("fsdp", 4)])
def test_a_trial_of_several_ranks_goes_on_to_the_last_bit(starter: RankStarter, function: str, ranks: int) -> None:
    whole = open_group(starter, function, ranks=ranks)
    undisturbed = train(whole)
    last = saved(whole)
    whole.close(Ended.COMPLETE)

    first = open_group(starter, function, ranks=ranks)
    before = train(first, 2)
    state = saved(first)
    first.close(Ended.GIVEN_BACK)
    second = open_group(starter, function, state, ranks=ranks)
    after = train(second)
    again = saved(second)
    second.close(Ended.COMPLETE)

    assert before + after == undisturbed
    assert str(again) == str(last)
    assert state["parts"]["net"]["0.weight"].shape[1] == 4
    assert type(state["parts"]["optimizer"]["state"][0]["exp_avg"]) is torch.Tensor


def test_all_ranks_get_the_same_and_hear_the_same(starter: RankStarter, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    training = open_group(starter, "noted", lr=0.125, notes=str(path))
    train(training, 2)
    training.close(Ended.PRUNED)

    by_rank = [[note for note in notes(path) if note["rank"] == rank] for rank in range(2)]
    for of_rank in by_rank:
        assert [note["at"] for note in of_rank] == ["build", "epoch", "epoch", "end"]
        assert (of_rank[0]["values"], of_rank[0]["world_size"]) == (0.125, 2)
        assert (of_rank[-1]["ended"], of_rank[-1]["epoch"], of_rank[-1]["hidden"]) == ("pruned", 2, [])
    assert by_rank[0][0]["drawn"] == by_rank[1][0]["drawn"], "each rank builds the same"
    drawn = [note[of] for notes in by_rank for note in notes[1:3] for of in ("drawn", "torch")]
    assert len(set(drawn)) == 8, "each rank and epoch draws numbers of its own"
    assert [notes[-1]["local_rank"] for notes in by_rank] == ["0", "1"]


@pytest.mark.parametrize(
    ("how", "rank", "kind", "message"),
    [
        ("raise", 1, RankRaised, "ValueError: no good, in rank 1"),
        ("raise", 0, RankRaised, "ValueError: no good, in rank 0"),
        ("exit", 1, RankRaised, r"it calls os._exit\(3\), which would end Caviar, in rank 1"),
        ("memory", 1, torch.OutOfMemoryError, "OutOfMemoryError: CUDA out of memory, in rank 1"),
        ("kill", 1, RanksDied, r"^rank 1 was killed by signal 9 \(SIGKILL\)$"),
        ("kill", 0, RanksDied, r"^rank 0 was killed by signal 9 \(SIGKILL\)$"),
        ("crash", 1, RanksDied, r"^rank 1 was killed by signal 11 \(SIGSEGV\) in string_at"),
        ("starter", 0, RanksDied, "the process that starts the ranks was killed"),
    ],
)
def test_a_rank_that_fails_ends_all_and_is_named(
    starter: RankStarter, tmp_path: Path, how: str, rank: int, kind: type[Exception], message: str
) -> None:
    path = tmp_path / "notes"
    own = RankStarter() if how == "starter" else starter
    training = open_group(own, "failing", how=how, rank=rank, notes=str(path))

    with pytest.raises(kind, match=message) as raised:
        train(training)

    assert training.epoch == 1
    assert len(pids(path)) == 2
    wait_until(lambda: not any(map(is_alive, pids(path))))
    if how == "raise":
        failure = describe(raised.value)
        assert "rank_trainings.py:" in failure["place"]
        assert "in fail" in failure["traceback"]
    training.close(Ended.LOST)


def test_a_rank_that_ends_before_the_others_is_a_mistake_in_the_code(starter: RankStarter) -> None:
    with pytest.raises(TrialMisused, match="rank 1 left its loop while others trained on"):
        train(open_group(starter, "returning"))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("wait", TrialMisused, "rank {} left its loop while others trained on"),
        ("train", TrialMisused, "rank {} left its loop while others trained on"),
        ("at once", TrialMisused, "rank {} left its loop while others trained on"),
        ("exit", RanksDied, "^rank {} left with exit code 0$"),
    ],
)
def test_a_rank_that_leaves_alone_is_noticed_at_once(
    starter: RankStarter, how: str, rank: int, kind: type[Exception], message: str
) -> None:
    """And not when `torch.distributed` has waited for it for half an hour."""
    with pytest.raises(kind, match=message.format(rank)) as raised:
        train(open_group(starter, "parting", how=how, rank=rank))

    if isinstance(raised.value, TrialMisused):
        assert describe(raised.value)["error"].startswith(f"rank {rank} left")


def test_ranks_may_leave_their_loop_one_after_the_other(starter: RankStarter) -> None:
    training = open_group(starter, "parting_slowly")

    assert [epoch.epoch for epoch in training.epochs(LAST, never)] == [1, 2]
    assert saved(training)["epoch"] == 2
    training.close(Ended.COMPLETE)


def test_ranks_are_left_before_their_first_epoch(starter: RankStarter, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    with pytest.raises(Interrupted):
        open_group(starter, "building", leave=lambda alive=True: not alive and len(pids(path)) == 2, notes=str(path))
    assert len(pids(path)) == 2
    assert not any(map(is_alive, pids(path)))


def test_what_ranks_report_is_known_with_its_lines(starter: RankStarter) -> None:
    training = open_group(starter, "ddp")
    (metrics,) = train(training, 1)

    first, second = training.reports[0], training.reports[1]
    assert first.metrics == metrics != second.metrics
    assert second.places.keys() == {"loss"}
    file, _, line = second.places["loss"].rpartition(":")
    assert "trial.report(loss=loss.detach())" in Path(file).read_text().splitlines()[int(line) - 1]
    training.close(Ended.PRUNED)


def test_a_report_of_another_rank_alone_is_named_with_its_line(starter: RankStarter) -> None:
    with pytest.raises(
        TrialMisused, match="rank 1 reported loss in epoch 1, and rank 0, whose report counts, nothing"
    ) as raised:
        train(open_group(starter, "reporting", rank=1))

    assert "rank_trainings.py:" in describe(raised.value)["place"]
    with pytest.raises(TrialMisused, match=r"epoch 1 reported nothing; call trial\.report"):
        train(open_group(starter, "reporting", rank=2))
    sound = open_group(starter, "reporting", rank=0)
    assert train(sound) == [{"loss": 1.0}] * LAST
    sound.close(Ended.COMPLETE)


def test_a_report_outside_of_the_loop_is_a_mistake_in_any_rank(starter: RankStarter) -> None:
    with pytest.raises(RankRaised, match=r"outside of the loop over trial\.epochs.*in rank 1"):
        open_group(starter, "reporting_too_early")


@pytest.mark.parametrize("how", ["hang", "sleep"])
def test_an_epoch_is_left_in_its_middle_by_all_ranks(starter: RankStarter, tmp_path: Path, how: str) -> None:
    path, asked = tmp_path / "notes", list[int]()
    training = open_group(starter, "failing", how=how, rank=1, notes=str(path))

    def leave(alive: bool = True) -> bool:
        asked.append(training.epoch)
        return training.epoch == 1 and asked.count(1) > 3

    with pytest.raises(Interrupted):
        list(training.epochs(LAST, leave))
    assert not any(map(is_alive, pids(path)))


def test_what_ranks_have_started_ends_with_them(starter: RankStarter, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    training = open_group(starter, "with_children", how="kill", rank=1, notes=str(path))
    with pytest.raises(RanksDied):
        train(training)

    assert len(pids(path)) == 6
    wait_until(lambda: not any(map(is_alive, pids(path))))


def work(path: str) -> None:
    with RankStarter("fork") as starter:
        train(open_group(starter, "with_children", how="hang", rank=0, notes=path))


def test_no_process_outlives_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WorkerPool.warm_up()
    path = tmp_path / "notes"
    worker = multiprocessing.get_context("forkserver").Process(target=work, args=(str(path),))
    worker.start()
    wait_until(lambda: len(pids(path)) == 6)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()

    wait_until(lambda: not any(map(is_alive, pids(path))))


def test_a_loop_that_is_left_by_the_function_ends_the_training_with_its_state(starter: RankStarter) -> None:
    training = open_group(starter, "stopping_itself")

    assert [epoch.epoch for epoch in training.epochs(LAST, never)] == [1, 2]
    assert saved(training)["epoch"] == 2
    training.close(Ended.COMPLETE)


def test_an_error_behind_the_loop_is_raised_when_the_trial_has_ended(starter: RankStarter, tmp_path: Path) -> None:
    training = open_group(starter, "slow_end", notes=str(tmp_path / "notes"))
    assert len(train(training)) == LAST
    assert training.state() is None

    with pytest.raises(RankRaised, match="behind the loop, in rank 1"):
        training.close(Ended.COMPLETE)


def test_a_state_that_does_not_fit_is_refused(starter: RankStarter) -> None:
    with pytest.raises(BadCheckpoint, match="has no 'net', but 'other'"):
        open_group(starter, "ddp", {"epoch": 1, "parts": {"other": {}}})


def test_a_function_that_is_not_there_is_named(starter: RankStarter) -> None:
    with pytest.raises(RankRaised, match=r"no function at 'tests.helpers.rank_trainings:missing'"):
        open_group(starter, "missing")
