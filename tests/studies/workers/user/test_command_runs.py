"""Studies of commands as a user runs them: real workers, signals and databases; then every row and process counted."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.control import kill_trial, set_control
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.processes import descendants, is_alive
from caviar.storage.status import read_trials
from caviar.studies.cli.progress import _remark
from caviar.studies.definition import Study
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.manager import open_study, progress
from caviar.studies.space.scales import Choice, Linear, Log
from caviar.studies.workers.local.events import CommandFound
from caviar.studies.workers.local.preparation import check_and_fetch, check_machine
from tests.helpers.command import Caviar, rows, until
from tests.helpers.studies import write_study
from tests.helpers.workers import worker

# Goes on from its folder, and writes down each start with the epoch that it is told, and all processes of it.
SCRIPT = """
echo "$2 $CAVIAR_EPOCH" >> starts
setsid sh -c 'echo $$ >> pids; exec sleep 600' &
sh -c 'trap "" TERM; echo $$ >> pids; while true; do sleep 1; done' &
n=$(cat $CAVIAR_FOLDER/n 2> /dev/null || echo 0)
while [ $n -lt $1 ]; do
  sleep $3; n=$((n + 1)); echo $n > $CAVIAR_FOLDER/new; mv $CAVIAR_FOLDER/new $CAVIAR_FOLDER/n
  echo "epoch $n rmse $((100 - n)) lr $4"
done
"""
EPOCHS = r"epoch (?P<epoch>\d+) rmse (?P<rmse>\S+)"
TIERS = ({"lr": Log(1e-4, 1e-1, default=1e-2)}, {"units": Linear(4, 32, default=8)})


def study_of(command: str, **fields: Any) -> Study:
    values: dict[str, Any] = {
        "name": "own", "metric": "rmse", "direction": "minimize", "epochs": 4, "budget": 3, "tiers": TIERS,
        "report": EPOCHS, "pruner": "none",
    }  # fmt: skip
    return Study(command=command, **{**values, **fields})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.sh").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def caviar_here(caviar: list[str], new_database: Callable[..., Any], here: Path) -> Caviar:
    return Caviar(caviar, new_database(), here)


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def started(folder: Path) -> list[list[str]]:
    file = folder / "starts"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def curve(engine: Engine, number: int) -> list[tuple[int, float | None]]:
    study_id = load_study(engine, "own").study_id
    return [(epoch.epoch, epoch.value("rmse")) for epoch in read_curve(engine, study_id, number)]


def test_a_study_of_a_command_is_trained(engine: Engine, here: Path) -> None:
    study = study_of("sh train.sh {epochs} {number} 0 {lr} {units}")
    record = open_study(engine, study)
    worker(engine, record, study).run()
    now = progress(engine, record)
    assert (now.complete, now.failed, now.open) == (3, 0, 0)
    for trial in read_trials(engine, record.study_id):
        assert curve(engine, trial.slot.number) == [(n, 100 - n) for n in (1, 2, 3, 4)]
        assert trial.value == 96
    assert not any(map(is_alive, pids(here)))
    caviar.save("own", here / "winner", database=engine)
    assert (here / "winner" / "n").read_text() == "4\n"
    assert caviar.confirm("own", 2, database=engine) is not None
    assert [file.name for file in (here / "caviar-home" / "trials").iterdir()] == ["lock"]


def test_a_command_that_ends_before_the_last_epoch_is_complete(engine: Engine, here: Path) -> None:
    study = study_of("sh train.sh 2 {number} 0 {args}")
    record = open_study(engine, study)
    worker(engine, record, study).run()
    assert [(t.state, t.epoch, t.value) for t in read_trials(engine, record.study_id)] == [("complete", 2, 98.0)] * 3


def test_a_command_that_diverges_is_information(engine: Engine, here: Path) -> None:
    (here / "nan.sh").write_text("echo 'epoch 1 rmse nan'; sleep 600")
    study = study_of("sh nan.sh {args}", budget=2)
    record = open_study(engine, study)
    worker(engine, record, study).run()
    assert [t.attributes["why it stopped"] for t in read_trials(engine, record.study_id)] == [
        "diverged at epoch 1: rmse is not finite"
    ] * 2


def test_a_command_that_fails_the_same_way_three_times_stops_its_study(engine: Engine, here: Path) -> None:
    (here / "fail.sh").write_text('echo begin; echo "ValueError: batch $2 is too large"; exit 3')
    study = study_of("sh fail.sh {args}", budget=9)
    record = open_study(engine, study)
    worker(engine, record, study).run()
    now = progress(engine, record)
    assert (now.failed, now.control) == (3, "stop")
    events = read_events(engine, record.study_id, "trial failed")
    for event, trial in zip(events, read_trials(engine, record.study_id), strict=False):
        why = str(trial.attributes["why it stopped"])
        assert why.startswith("the command ended with exit code 3; its last line: ValueError: batch 0.0")
        assert event.detail["traceback"].splitlines()[1:] == ["  begin", f"  {why.partition('line: ')[2]}"]


def test_commands_that_fail_in_different_ways_do_not_stop_a_study(engine: Engine, here: Path) -> None:
    (here / "fail.sh").write_text('echo "$(echo $2 | tr 0-9 a-j)"; exit 3')
    study = study_of("sh fail.sh {args}", budget=5, strategy="random")
    record = open_study(engine, study)
    worker(engine, record, study).run()
    assert progress(engine, record).failed == 5


def test_what_cannot_be_saved_is_said_and_the_trial_goes_on(
    engine: Engine, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caviar.studies.workers.trial.checkpoints._CHECKPOINT_SECONDS", 0.0)
    (here / "link.sh").write_text('ln -s / $CAVIAR_FOLDER/root; for n in 1 2 3 4; do echo "epoch $n rmse $n"; done')
    study = study_of("sh link.sh {args}", budget=1, tiers=({"lr": Log(1e-4, 1e-1, default=1e-2)},))
    record = open_study(engine, study)
    worker(engine, record, study).run()
    assert progress(engine, record).complete == 1
    (event,) = read_events(engine, record.study_id, "checkpoint not written")
    assert event.detail["reason"] == "root in its folder is a link; only regular files are saved"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"command": "nowhere {args}"}, "study 'own': there is no program 'nowhere' on the PATH of this machine"),
        ({"command": "./train.sh {args}"}, r"'./train.sh' cannot be executed; allow it by chmod \+x"),
        ({"command": "sh train.sh {lr}"}, "study 'own': the command does not get units"),
        ({"command": "sh train.sh {lrr} {args}"}, "there is nothing for {lrr} in the command; did you mean lr"),
        ({"command": "sh train.sh {args}", "fixed": {"layers": 3}, "report": None}, None),
        ({"command": "env X={trial} sh train.sh"}, None),
    ],
)
def test_a_command_is_checked_before_a_run(here: Path, fields: dict[str, Any], why: str | None) -> None:
    study = study_of(**fields)
    if why is None:
        check_and_fetch(study, Path("nowhere"))
        return
    with pytest.raises(DefinitionError, match=why):
        check_and_fetch(study, Path("nowhere"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"report": "("}, "report= is no regular expression: missing"),
        ({"report": "rmse (?P<loss>x)"}, r"no group for rmse, \(\?P<rmse>\\S\+\); its named groups: loss"),
        ({"report": "rmse", "metric": "val-rmse"}, "which no group can be called"),
        ({"constraints": {"latency": 20}}, "no group for latency"),
        ({"report": "x" * 3000}, "the expression of report= has 3,000 characters, more than 2,000"),
        ({"command": "a\0b"}, "the command has the control character"),
        ({"command": None, "train": "x:y"}, "report is for a command=, not for train="),
    ],
)
def test_a_definition_that_cannot_be_meant_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        study_of(**{"command": "sh {args}", **fields})


def test_who_joins_reads_which_command_runs(engine: Engine, here: Path) -> None:
    command = "sh train.sh {epochs} {number} 0 {args}"
    record, heard = open_study(engine, study_of(command)), list[object]()
    check_machine(engine, record, here, on_event=heard.append)
    assert CommandFound(command, here) in heard
    assert _remark(CommandFound(f"{command}\nrm", here)) == f"running this command in {here}: {command}\\nrm"


def running(engine: Engine, number: int = 0, epochs: int = 2) -> Callable[[], bool]:
    return lambda: bool(
        rows(engine, f"SELECT count(*) FROM caviar.epoch WHERE slot = {number}") >= epochs
        and rows(engine, f"SELECT 1 FROM caviar.slot WHERE number = {number} AND state = 'leased'")
    )


@pytest.mark.slow
def test_a_worker_that_is_killed_takes_its_command_with_it_and_another_goes_on_with_the_folder(
    caviar_here: Caviar, engine: Engine, here: Path
) -> None:
    """The database has the folder of some epoch, and the second attempt goes on behind it."""
    address = engine.url
    caviar_here.environ["CAVIAR_DATABASE_URL"] = address.render_as_string(hide_password=False)
    study = study_of("sh train.sh {epochs} {number} 0.5 {lr} {units}", epochs=40, budget=1, tiers=TIERS[:1] and (
        {"lr": TIERS[0]["lr"], "units": TIERS[1]["units"]},
    ))  # fmt: skip
    run = caviar_here.start("run", write_study(here / "own.py", study), "--workers", "1")
    until(lambda: rows(engine, "SELECT epoch FROM caviar.checkpoint"))
    first = pids(here)
    assert all(map(is_alive, first))
    (trial,) = read_trials(engine, load_study(engine, "own").study_id)
    os.kill(int(str(trial.attributes["worker"]).rpartition(":")[2]), signal.SIGKILL)
    until(lambda: not any(map(is_alive, first)))
    said, _ = run.communicate(timeout=240)
    assert run.returncode == 0, said
    (trial,) = read_trials(engine, load_study(engine, "own").study_id)
    assert (trial.state, trial.epoch, trial.attempts) == ("complete", 40, 2)
    assert curve(engine, 0) == [(n, 100 - n) for n in range(1, 41)]
    (_, before), (_, after) = started(here)
    assert before == "0"
    assert int(after) > 10
    assert not any(map(is_alive, pids(here)))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pause", "stop --now", "SIGTERM", "kill"])
def test_a_command_is_ended_when_its_trial_is(caviar_here: Caviar, engine: Engine, here: Path, how: str) -> None:
    caviar_here.environ["CAVIAR_DATABASE_URL"] = engine.url.render_as_string(hide_password=False)
    file = write_study(
        here / "own.py", study_of("sh train.sh {epochs} {number} 0.2 {lr} {units}", epochs=2000, budget=2)
    )
    run = caviar_here.start("run", file, "--workers", "1")
    until(running(engine))
    record = load_study(engine, "own")
    match how:
        case "kill":
            kill_trial(engine, record, 0)
            until(running(engine, number=1))
        case "pause":
            set_control(engine, record.study_id, "pause")
        case "stop --now":
            set_control(engine, record.study_id, "stop", at_once=True)
        case "SIGTERM":
            run.terminate()
    first = [int(pid) for pid in (here / "pids").read_text().split()][:2]
    until(lambda: not any(map(is_alive, first)))
    if how in ("pause", "SIGTERM"):  # after the epoch, with its folder
        until(lambda: rows(engine, "SELECT 1 FROM caviar.slot WHERE number = 0 AND state = 'open'"))
        assert rows(engine, "SELECT max(epoch) FROM caviar.epoch") <= rows(
            engine, "SELECT epoch FROM caviar.checkpoint"
        )
    if how == "kill":
        assert read_trials(engine, record.study_id)[0].state == "pruned"
    run.terminate()
    run.communicate(timeout=240)
    until(lambda: not any(map(is_alive, pids(here))))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_an_announced_end_reaches_every_process_and_ends_only_the_epoch(
    caviar_here: Caviar, engine: Engine, here: Path, number: signal.Signals
) -> None:
    """As Slurm sends it to all processes of a job: the fork server, the guardian and the user's script, too."""
    caviar_here.environ["CAVIAR_DATABASE_URL"] = engine.url.render_as_string(hide_password=False)
    file = write_study(
        here / "own.py", study_of("sh train.sh {epochs} {number} 1 {lr} {units}", epochs=2000, budget=2)
    )  # fmt: skip
    run = caviar_here.start("run", file, "--workers", "2", "--lease", "600")
    until(lambda: rows(engine, "SELECT count(*) FROM caviar.slot WHERE state = 'leased' AND epoch > 0") == 2)
    before = rows(engine, "SELECT sum(epoch) FROM caviar.slot")
    family = {run.pid} | {process.pid for process in descendants(run.pid)}
    for pid in family:
        os.kill(pid, number)
    said, _ = run.communicate(timeout=240)
    assert run.returncode == 0, said
    assert len(family) > 10
    record = load_study(engine, "own")
    assert [trial.epoch for trial in read_trials(engine, record.study_id)] == [
        rows(engine, f"SELECT epoch FROM caviar.checkpoint WHERE slot = {slot}") for slot in range(2)
    ]
    # The epochs that were in progress; one may have ended before, and was being written.
    assert rows(engine, "SELECT sum(epoch) FROM caviar.slot") > before
    kinds = {event.kind for event in read_events(engine, record.study_id)}
    assert not kinds & {"worker died", "lease expired", "trial failed"}
    assert not any(map(is_alive, family | set(pids(here))))


@pytest.mark.slow
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_job_that_is_stopped_for_longer_than_its_lease_and_all_limits_loses_nothing(
    caviar_here: Caviar, engine: Engine, here: Path, is_alone: bool
) -> None:
    """As with gang scheduling: all processes of a job are stopped, and another one may take over what they hold."""
    caviar_here.environ["CAVIAR_DATABASE_URL"] = engine.url.render_as_string(hide_password=False)
    budget = 3 if is_alone else 10
    study = study_of("sh train.sh {epochs} {number} 0.5 {lr} {units}", epochs=20, budget=budget, trial_timeout="30s")
    limits = ("--lease", "2", "--renew", "0.5", "--epoch-timeout", "8s", "--patience", "8")
    words = ("run", write_study(here / "own.py", study), "--workers", "2", *limits)
    stopped = caviar_here.start(*words)
    until(lambda: rows(engine, "SELECT count(*) FROM caviar.slot WHERE state = 'leased' AND epoch > 3") == 2)
    stopped_at = time.monotonic()
    family = {stopped.pid} | {process.pid for process in descendants(stopped.pid)}
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    jobs = [stopped] if is_alone else [stopped, caviar_here.start(*words)]
    until(lambda: time.monotonic() - stopped_at > 35)
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    for job in jobs:
        said, _ = job.communicate(timeout=240)
        assert job.returncode == 0, said
    record = load_study(engine, "own")
    trials = read_trials(engine, record.study_id)
    assert [(trial.state, trial.epoch) for trial in trials] == [("complete", 20)] * budget
    assert all(curve(engine, n) == [(epoch, 100 - epoch) for epoch in range(1, 21)] for n in range(budget))
    assert max(trial.attempts for trial in trials) == (1 if is_alone else 2)
    kinds = {event.kind for event in read_events(engine, record.study_id)}
    assert not kinds & {"worker died", "trial failed", "timed out"}
    assert is_alone or "taken over" in kinds
    workers = rows(engine, "SELECT count(DISTINCT worker_id) FROM caviar.slot WHERE state = 'done'")
    assert workers == (2 if is_alone else 4)  # the stopped ones went on with other slots
    assert not any(map(is_alive, pids(here)))


@pytest.mark.slow
def test_no_password_reaches_a_command(caviar_here: Caviar, engine: Engine, here: Path) -> None:
    caviar_here.environ["CAVIAR_DATABASE_URL"] = engine.url.render_as_string(hide_password=False)
    caviar_here.environ["PGPASSWORD"] = "secret of libpq"
    (here / "seen.sh").write_text("env > env; cat /proc/$PPID/environ > guardian; cat /proc/$PPID/cmdline >> guardian; "
                                  "echo 'epoch 1 rmse 1'")  # fmt: skip
    study = study_of("sh seen.sh {args}", budget=2, epochs=1)
    said = caviar_here.run("run", write_study(here / "own.py", study), "--workers", "1")
    assert "sh seen.sh" in said
    assert "epoch 1 rmse 1\n" in caviar_here.run("logs", "own", "0")
    for file in ("env", "guardian"):
        seen = (here / file).read_text()
        assert "CAVIAR_TRIAL=" in seen
        for hidden in ("secret of libpq", "CAVIAR_DATABASE", "postgresql", "CAVIAR_HOME"):
            assert hidden not in seen


@pytest.mark.slow
def test_pruned_commands_are_ended(engine: Engine, here: Path) -> None:
    (here / "curve.sh").write_text(
        "echo $$ >> pids; n=0; while [ $n -lt 12 ]; do n=$((n + 1)); sleep 0.05; "
        'if [ $2 = good ]; then r=$((20 - n)); else r=$((100 - n / 4)); fi; echo "epoch $n rmse $r"; done\n'
    )
    study = study_of(
        "sh curve.sh {args}", epochs=12, budget=8, pruner="median", strategy="random",
        tiers=({"kind": Choice("good", "bad", default="good")},),
    )  # fmt: skip
    record = open_study(engine, study)
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    states = {json.dumps(t.parameters["kind"]): t.state for t in trials}
    assert "pruned" in {t.state for t in trials}, states
    assert not any(map(is_alive, pids(here)))
