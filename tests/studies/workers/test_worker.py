"""A worker in this process, on a real database: what it writes, what it costs, and what it makes of failures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError

from caviar.models.errors import BadCheckpoint
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.curves import read_curve
from caviar.storage.events import read_events
from caviar.storage.status import read_trials
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.conclusion import conclude
from caviar.studies.workers.trainer import Trainer
from caviar.studies.workers.worker import Worker
from tests.helpers.epochs import figures
from tests.helpers.faulty_net import StopAfter, with_fault
from tests.helpers.roles import execute
from tests.helpers.workers import register, worker


def loaded(engine: Engine, name: str = "small") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=engine.url.render_as_string(hide_password=False))


def test_optunas_own_tools_read_what_a_worker_writes(engine: Engine) -> None:
    record, study = register(engine, epochs=3)
    worker(engine, record, study).run()
    theirs = loaded(engine)
    assert theirs.direction is optuna.study.StudyDirection.MAXIMIZE
    trials = theirs.trials
    assert [t.number for t in trials] == list(range(8))
    assert {t.state for t in trials} <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    assert all(t.duration is not None and t.duration.total_seconds() > 0 for t in trials)
    for t in trials:
        assert set(t.params) == {
            "learning_rate", "one_minus_momentum", "hidden_units", "log2_batch_size", "layers", "decay_or_floor",
        }  # fmt: skip
        assert t.user_attrs["momentum"] == pytest.approx(1 - t.params["one_minus_momentum"])
        assert t.user_attrs["batch_size"] == 2 ** t.params["log2_batch_size"]
        assert {"tier", "phase", "worker", "epochs", "why it stopped"} <= set(t.user_attrs)
        curve = read_curve(engine, record.study_id, t.number)
        assert t.intermediate_values == {e.epoch: e.metrics["accuracy"] for e in curve}
        assert t.value == curve[-1].metrics["accuracy"]
    best = progress(engine, record).best
    assert best is not None
    assert (best.slot.number, best.value) == (theirs.best_trial.number, theirs.best_value)
    frame = theirs.trials_dataframe()
    assert len(frame) == 8
    command = [str(Path(sys.executable).parent / "optuna"), "studies", "--storage", str(engine.url), "-f", "json"]
    (listed,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (listed["name"], listed["n_trials"], listed["direction"]) == ("small", 8, ["MAXIMIZE"])


def test_a_trial_costs_at_most_12_statements_and_an_epoch_3(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_REFRESH_SECONDS", "_REFRESH_SECONDS_EACH"):  # as where epochs are long
        monkeypatch.setattr(f"caviar.studies.workers.trainer.{pause}", 0)
    # On a slow machine, too, each epoch is one transaction, and nothing that the clock asks for is counted.
    monkeypatch.setattr("caviar.studies.workers.outbox._MOMENT", 600.0)
    monkeypatch.setattr("caviar.studies.workers.trial.checkpoints._CHECKPOINT_SECONDS", math.inf)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    def cost(epochs: int, name: str) -> list[int]:
        record, study = register(engine, epochs=epochs, name=name, budget=20, pruner="none")
        who = worker(engine, record, study, lease_seconds=7200, renew_seconds=3600)
        costs = []
        for _ in range(study.budget):
            statements.clear()
            lease = who.context.ledger.lease()
            assert lease is not None
            Trainer(who.context).work_on(lease)
            costs.append(len(statements))
        return costs

    short, long = cost(2, "short"), cost(12, "long")
    per_epoch = (sum(long) - sum(short)) / 20 / 10
    assert per_epoch <= 3
    assert max(s - 2 * per_epoch for s in short) <= 12
    assert max(s - 12 * per_epoch for s in long) <= 12


def test_a_study_is_the_same_again_with_the_same_seed_and_one_worker(engine: Engine) -> None:
    runs = []
    for name in ("one", "two"):
        record, study = register(engine, name=name, budget=16, epochs=4)
        worker(engine, record, study).run()
        runs.append([(t.parameters, t.value, t.state, t.epoch) for t in read_trials(engine, record.study_id)])
    assert runs[0] == runs[1]


def test_a_diverged_trial_is_information(engine: Engine) -> None:
    record, study = with_fault(engine, "nan", 1, budget=4)
    worker(engine, record, study).run()
    diverged = read_trials(engine, record.study_id)[1]
    others = [t.value for t in read_trials(engine, record.study_id) if t is not diverged and t.slot.number != 1]
    assert (diverged.state, diverged.violated, diverged.epoch) == ("complete", "diverged", 1)
    assert diverged.attributes["why it stopped"] == "diverged at epoch 1: training_loss is not finite"
    assert diverged.value is not None
    assert diverged.value <= min(v for v in others if v is not None)
    assert loaded(engine).trials[1].constraints == {"diverged": 1.0}
    assert loaded(engine).best_trial.number != 1
    now = progress(engine, record)
    assert (now.complete, now.diverged, now.failed) == (4, 1, 0)


def test_the_weights_of_the_best_few_are_kept_and_of_no_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("caviar.storage.history", "caviar.studies.workers.trial.ending"):
        monkeypatch.setattr(f"{module}.BEST", 3)
    record, study = register(engine, budget=12, epochs=2, pruner="none")
    worker(engine, record, study).run()
    values = sorted((-(t.value or 0.0), t.slot.number) for t in read_trials(engine, record.study_id))
    with engine.connect() as connection:
        kept = set(connection.scalars(text("SELECT slot FROM caviar.checkpoint")))
    assert kept >= {number for _, number in values[:3]}
    assert len(kept) <= 4  # the last one that fell is removed with the next that rises


def test_where_everything_diverges_there_is_no_winner(engine: Engine) -> None:
    record, study = with_fault(engine, "nan", budget=4)
    worker(engine, record, study).run()
    assert progress(engine, record).best is None
    conclude(engine, record, data_dir=None)  # type: ignore[arg-type]


def test_training_code_that_raises_ends_its_trial_and_keeps_the_traceback(engine: Engine) -> None:
    record, study = with_fault(engine, "raise", 1, 3, budget=5)
    worker(engine, record, study).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == [
        "complete",
        "fail",
        "complete",
        "fail",
        "complete",
    ]
    (first, _) = read_events(engine, record.study_id, "trial failed")
    assert first.detail["error"] == "ValueError: wrong shape (64, 1, 8, 8) of model 1"
    assert "faulty_net.py" in first.detail["traceback"]
    assert progress(engine, record).control == "run"


def test_three_failures_in_a_row_of_the_same_kind_stop_the_study(engine: Engine) -> None:
    record, study = with_fault(engine, "raise", 1, 2, 3, 4, 5, budget=8)
    worker(engine, record, study).run()
    now = progress(engine, record)
    assert (now.control, now.failed, now.open) == ("stop", 3, 4)
    (stopped,) = read_events(engine, record.study_id, "stopped")
    assert stopped.detail["why"].startswith("3 trials in a row raised the same: ValueError: wrong shape (")


def test_a_message_that_postgresql_cannot_keep_ends_its_trial_too(engine: Engine) -> None:
    record, study = with_fault(engine, "nul", 1, budget=3)
    worker(engine, record, study).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete", "fail", "complete"]
    (failed,) = read_events(engine, record.study_id, "trial failed")
    assert failed.detail["error"] == "ValueError: a \\0 and a \\udc80"


def test_out_of_memory_is_tried_once_more_and_then_spent(engine: Engine) -> None:
    record, study = with_fault(engine, "memory", 1, 4, budget=4)  # the second try comes after all others
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["complete"] * 4
    assert (trials[1].attempts, trials[1].violated) == (2, "out_of_memory")
    assert loaded(engine).trials[1].constraints == {"out_of_memory": 1.0}


def curves(engine: Engine, study_id: int, budget: int) -> list[list[tuple[float, ...]]]:
    return [figures(read_curve(engine, study_id, number)) for number in range(budget)]


def test_a_stopped_study_goes_on_with_the_same_curves_bit_for_bit(engine: Engine) -> None:
    record, study = register(engine, name="whole", epochs=5, budget=4)
    worker(engine, record, study).run()
    expected = curves(engine, record.study_id, 4)
    record, study = register(engine, name="pieces", epochs=5, budget=4)
    pieces = 0
    while progress(engine, record).open:
        worker(engine, record, study, StopAfter(3)).run()
        pieces += 1
        assert progress(engine, record).leased == 0
    assert pieces > 4
    assert curves(engine, record.study_id, 4) == expected
    assert all(t.attempts > 1 for t in read_trials(engine, record.study_id))


def test_a_damaged_checkpoint_is_told_and_the_trial_begins_again(engine: Engine) -> None:
    record, study = register(engine, epochs=3, budget=4)
    worker(engine, record, study, StopAfter(2)).run()
    with engine.begin() as connection:
        assert connection.execute(text("UPDATE caviar.checkpoint SET state = 'x'")).rowcount == 1
    worker(engine, record, study).run()
    assert progress(engine, record).complete == 4
    (told,) = read_events(engine, record.study_id, "checkpoint refused")
    assert "digest" in told.detail["reason"]
    assert [len(c) for c in curves(engine, record.study_id, 4)] == [3] * 4


def test_an_interrupted_trial_has_its_second_try_at_memory_too(engine: Engine) -> None:
    record, study = with_fault(engine, "memory", 0, budget=2)
    who = worker(engine, record, study)
    lease = who.context.ledger.lease()
    assert lease is not None
    who.context.ledger.release(lease)  # an attempt that was not one at memory
    who.run()
    assert [t.violated for t in read_trials(engine, record.study_id)] == [None, None]
    assert len(read_events(engine, record.study_id, "out of memory")) == 1


def test_the_winners_weights_are_kept_for_the_test_which_is_measured_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import caviar.models.data
    from caviar.storage.test_results import read_test

    record, study = register(engine, epochs=8)
    worker(engine, record, study).run()
    loads = []
    real = caviar.models.data.load_all
    monkeypatch.setattr(caviar.models.data, "load_all", lambda *a: loads.append(a) or real(*a))
    for _ in range(2):
        conclude(engine, record, Path("nowhere"))
    assert len(loads) == 1
    best = progress(engine, record).best
    assert best is not None
    result = read_test(engine, record.study_id, best.slot.number)
    assert result is not None
    assert 0.5 < result["accuracy"] <= 1
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT slot FROM caviar.checkpoint")).all() == [best.slot.number]
        connection.execute(text("DELETE FROM caviar.checkpoint"))
        connection.execute(text("DELETE FROM caviar.test_result"))
        connection.commit()
    conclude(engine, record, Path("nowhere"))  # without the weights it is trained again, to the same model
    assert read_test(engine, record.study_id, best.slot.number) == result


def test_a_winner_with_damaged_weights_is_trained_again(engine: Engine) -> None:
    from caviar.storage.test_results import read_test

    record, study = register(engine, epochs=2, budget=4)
    worker(engine, record, study).run()
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.checkpoint SET state = 'x'"))
    conclude(engine, record, Path("nowhere"))
    best = progress(engine, record).best
    assert best is not None
    assert read_test(engine, record.study_id, best.slot.number) is not None


def test_an_error_of_the_database_is_not_taken_for_one_of_the_training(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import ProgrammingError

    def broken(*args: Any) -> None:
        raise ProgrammingError("UPDATE", {}, Exception("a mistake of ours"))

    record, study = register(engine)
    who: Worker = worker(engine, record, study)
    monkeypatch.setattr(who.context.log, "record", broken)
    with pytest.raises(ProgrammingError):
        who.run()
    assert progress(engine, record).failed == 0


def test_a_checkpoint_of_another_network_is_refused(engine: Engine) -> None:
    record, study = register(engine, epochs=3, budget=4)
    worker(engine, record, study, StopAfter(2)).run()
    kept = CheckpointStore(engine, record).load(0)
    assert kept is not None
    from caviar.models.checkpoint import from_bytes
    from caviar.studies.workers.trial.build import assemble
    from tests.helpers.workers import digits

    values = {**{n: s.default for n, s in study.scales().items()}, "hidden_units": 99}
    with pytest.raises(BadCheckpoint):
        assemble(study, 0, values, digits(), from_bytes(kept, torch.device("cpu")))


def test_of_a_trial_that_diverged_no_state_is_kept_while_the_database_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from caviar.storage.errors import DatabaseAway

    def away(*arguments: Any, **options: Any) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone"))

    for fault, kept in (("nan", False), ("", True)):
        record, study = with_fault(engine, fault, 0, budget=2, name=f"away{fault}")
        who = worker(engine, record, study, patience=0)
        monkeypatch.setattr(who.context.log, "finish", away)
        with pytest.raises(DatabaseAway) as told:
            who.run()
        assert (who.context.unsent.find(0) is not None) == kept
        assert ("is kept on this machine" in str(told.value)) == kept


def test_a_place_of_files_that_is_out_of_reach_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import caviar.studies.workers.trial.run
    from caviar.storage.errors import CheckpointUnreachable

    record, study = register(engine, epochs=3, budget=4)
    worker(engine, record, study, StopAfter(2)).run()
    real, tries = caviar.studies.workers.trial.run.load_checkpoint, []

    def load(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) < 3:
            raise CheckpointUnreachable("the share is not mounted")
        return real(*arguments)

    def unreachable(*arguments: Any) -> Any:
        raise CheckpointUnreachable("no such share")

    monkeypatch.setattr(caviar.studies.workers.trial.run, "load_checkpoint", load)
    monkeypatch.setattr(caviar.studies.workers.trial.run, "_RETRY_SECONDS", 0.01)
    worker(engine, record, study).run()
    assert progress(engine, record).complete == 4
    assert [e.detail["reason"] for e in read_events(engine, record.study_id, "checkpoint out of reach")] == [
        "the share is not mounted"
    ]
    record, study = register(engine, epochs=3, budget=4, name="never")
    worker(engine, record, study, StopAfter(2)).run()
    monkeypatch.setattr(caviar.studies.workers.trial.run, "load_checkpoint", unreachable)
    with pytest.raises(CheckpointUnreachable):
        worker(engine, record, study, patience=0).run()
    assert progress(engine, record).leased == 0


def test_a_worker_that_the_database_has_forgotten_registers_anew(engine: Engine) -> None:
    """As after a failover to an older copy, in which younger workers have no row."""
    record, study = register(engine, budget=3, epochs=1)
    who = worker(engine, record, study)
    real, forgotten = who.context.log.finish, list[int]()

    def finish(*arguments: Any, **more: Any) -> None:
        real(*arguments, **more)
        with engine.begin() as connection:
            forgotten.append(connection.execute(text("DELETE FROM caviar.worker")).rowcount)

    who.context.log.finish = finish  # type: ignore[method-assign]
    who.run()
    assert forgotten == [1, 1, 1]
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 3


def test_threads_that_register_a_worker_anew_at_once_all_go_on(engine: Engine) -> None:
    record, study = register(engine)
    context = worker(engine, record, study).context
    execute(engine, "DELETE FROM caviar.worker")
    with pytest.raises(IntegrityError) as refused:
        execute(engine, f"UPDATE caviar.slot SET worker_id = '{context.process.worker_id}'")
    for _ in range(2):  # the second is the thread that comes later
        context.outage.failed(refused.value)


def test_a_training_that_calls_exit_fails_and_the_worker_goes_on(engine: Engine) -> None:
    record, study = with_fault(engine, "exit", 1, budget=3, strategy="random", pruner="none")
    worker(engine, record, study).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete", "fail", "complete"]
    (failed,) = read_events(engine, record.study_id, "trial failed")
    assert failed.detail["error"] == "it calls sys.exit(0), which would end Caviar"
    assert "faulty_net.py" in failed.detail["place"]
