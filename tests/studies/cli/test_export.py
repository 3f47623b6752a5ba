"""`caviar export`: every value is the database's, files are whole or not there, and no run is doubled.

Of Parquet, TensorBoard and MLflow, what is installed is tested.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from caviar.epoch import BUILT_IN
from caviar.storage.definitions import load_study
from caviar.studies.cli import run
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.export.rows import ExportedTrial, epoch_table, read_exported, trial_table
from caviar.studies.results.export.to_file import write_table
from caviar.studies.results.formatting import without_password
from caviar.studies.space.scales import Choice, Log
from tests.helpers.workers import register, worker

Say = Callable[..., tuple[str, str]]
EXTRAS = {"parquet": "pyarrow", "tensorboard": "tensorboard", "mlflow": "mlflow"}
TARGETS = {"parquet": "trials.parquet", "tensorboard": "tensorboard:runs", "mlflow": "mlflow:sqlite:///mlflow.db"}


def needs(extra: str) -> pytest.MarkDecorator:
    reason = f"{EXTRAS[extra]} is not installed: pip install -e '.[{extra}]'"
    return pytest.mark.skipif(find_spec(EXTRAS[extra]) is None, reason=reason)


@pytest.fixture
def say(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def said(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert run(list(arguments)) == code
        return capsys.readouterr()

    return said


@pytest.fixture
def finished(engine: Engine) -> int:
    """A study that is done, and open again; its winner."""
    record, study = register(engine, epochs=4, budget=8, fixed={"dropout": 0.1})
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    with engine.connect() as connection:
        winner = connection.scalar(text("SELECT slot FROM caviar.test_result"))
    assert run(["extend", "small", "--budget", "9", "--database-url",
                engine.url.render_as_string(hide_password=False)]) == 0  # fmt: skip
    assert winner is not None
    return int(winner)


def stored(engine: Engine) -> list[Any]:
    query = """
        SELECT s.number, s.tier, s.phase, lower(t.state::text) AS state, v.value, s.epoch, t.datetime_start AS began,
               t.datetime_complete AS ended, CAST(r.metrics ->> 'accuracy' AS float8) AS test_accuracy,
               (SELECT json_object_agg(a.key, a.value_json::json) FROM public.trial_user_attributes a
                 WHERE a.trial_id = t.trial_id) AS attributes
        FROM caviar.slot s LEFT JOIN public.trials t USING (trial_id) LEFT JOIN public.trial_values v USING (trial_id)
        LEFT JOIN caviar.test_result r ON r.slot = s.number ORDER BY s.number
    """
    with engine.connect() as connection:
        return list(connection.execute(text(query)).all())


def epochs_of(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM caviar.epoch ORDER BY slot, epoch")).all())


def same_trials(rows: list[dict[str, Any]], engine: Engine, winner: int) -> None:
    """Compare rows as JSON has them with the database."""
    trials = stored(engine)
    assert len(rows) == len(trials) == 9
    for row, trial in zip(rows, trials, strict=True):
        names = ("tier", "phase", "value", "test_accuracy")
        assert {name: row[name] for name in names} == {name: getattr(trial, name) for name in names}
        assert (row["trial"], row["epochs"], row["state"]) == (trial.number, trial.epoch, trial.state or "open")
        assert (row["test_accuracy"] is not None) == (trial.number == winner)
        for name in ("began", "ended"):
            at = row[name] and datetime.fromisoformat(row[name])
            assert at is None or at.utcoffset().total_seconds() == 0
            assert (at and at.replace(tzinfo=None)) == getattr(trial, name)
        if trial.number < 8:
            # as they were trained: not 1 - momentum, nor an exponent
            told = {name: trial.attributes[name] for name in ("momentum", "batch_size") if name in trial.attributes}
            assert told
            assert {name: row[name] for name in told} == told
            assert (row["dropout"], row["why_it_stopped"]) == (0.1, trial.attributes["why it stopped"])
            assert (row["worker"], row["host"]) == (trial.attributes["worker"], "test")
        else:
            assert row["learning_rate"] is row["dropout"] is row["began"] is row["worker"] is None


def test_json_has_every_value_of_the_database(engine: Engine, finished: int, say: Say) -> None:
    told, _ = say("export", "small", "--to", "trials.json")
    assert (
        told == "9 trials are in trials.json; every epoch of them with: caviar export small --to epochs.csv --epochs\n"
    )
    same_trials(json.loads(Path("trials.json").read_text()), engine, finished)


def test_csv_is_the_same_and_loses_no_digit(engine: Engine, finished: int, say: Say) -> None:
    say("export", "small", "--to", "trials.json")
    say("export", "small", "--to", "trials.csv")
    with Path("trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, known in zip(rows, json.loads(Path("trials.json").read_text()), strict=True):
        assert list(row) == list(known)
        for name, value in row.items():
            assert value == "" if known[name] is None else type(known[name])(value) == known[name]


def test_a_row_for_each_epoch(engine: Engine, finished: int, say: Say) -> None:
    assert "epochs are in e.json" in say("export", "small", "--to", "e.json", "--epochs")[0]
    say("export", "small", "--to", "e.csv", "--epochs")
    rows, epochs = json.loads(Path("e.json").read_text()), epochs_of(engine)
    with Path("e.csv").open(newline="") as file:
        assert [float(row["accuracy"]) for row in csv.DictReader(file)] == [e.metrics["accuracy"] for e in epochs]
    assert list(rows[0])[:7] == ["trial", "epoch", *BUILT_IN, "seconds"]
    assert [[row[name] for name in list(row)[:7]] for row in rows] == [
        [e.slot, e.epoch, *(e.metrics[name] for name in BUILT_IN), e.seconds] for e in epochs
    ]
    # the rate that an epoch was trained with, and the hyperparameter, which decays
    assert all(row["learning_rate"] <= row["hyperparameter_learning_rate"] for row in rows)


def test_as_many_statements_whatever_the_number_of_trials(engine: Engine, finished: int) -> None:
    record, counts = load_study(engine, "small"), []
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    for epochs in (False, True):
        statements.clear()
        read_exported(engine, record, epochs=epochs)
        counts.append(len(statements))
    assert counts == [3, 4]


def test_what_comes_meanwhile_is_left_out(engine: Engine, finished: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import caviar.studies.results.export.rows as rows

    record, read = load_study(engine, "small"), rows.read_times

    def later(engine: Engine, study_id: int) -> Any:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO caviar.epoch SELECT study_id, slot, 99, metrics, 1 "
                                    "FROM caviar.epoch WHERE epoch = 1"))  # fmt: skip
        return read(engine, study_id)

    monkeypatch.setattr(rows, "read_times", later)
    found = read_exported(engine, record, epochs=True)
    assert [len(t.curve) for t in found] == [t.epochs for t in found]


STUDY = Study(
    name="mixed", model="mlp", data="digits", epochs=2, budget=8, fixed={"epochs": 3},
    tiers=({"rate": Log(1e-4, 1, default=0.1)}, {"kind": Choice("a", 2, default="a"), "decay": Log(1, 9, default=2)}),
)  # fmt: skip


def mixed() -> list[ExportedTrial]:
    def made(number: int, hyperparameters: dict[str, Any], value: float | None = None, why: str | None = None) -> Any:
        return ExportedTrial(number, 1, "all", "open", "accuracy", value, None, 0, 0.0, 0, None, why, hyperparameters,
                             number, None, None, None)  # fmt: skip

    first = {"rate": 0.1, "kind": "a", "decay": 0, "epochs": 3}
    second = {**first, "kind": 2, "decay": 0.5}
    return [made(0, first, math.nan, 'a "line",\nand another'), made(1, second, math.inf), made(2, {})]


def test_columns_of_one_name_and_values_of_several_types_and_no_numbers(tmp_path: Path) -> None:
    kinds = dict(trial_table(STUDY, mixed()).columns)
    assert (kinds["kind"], kinds["decay"], kinds["hyperparameter_epochs"]) == (str, float, int)
    for file in (tmp_path / "x.csv", tmp_path / "x.json"):
        write_table(trial_table(STUDY, mixed()), file)
    with (tmp_path / "x.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["value"] for row in rows] == ["nan", "inf", ""]
    assert [row["hyperparameter_epochs"] for row in rows] == ["3", "3", ""]
    assert rows[0]["why_it_stopped"] == 'a "line",\nand another'
    assert [row["value"] for row in json.loads((tmp_path / "x.json").read_text())] == [None, None, None]
    write_table(epoch_table(STUDY, []), tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_a_file_is_whole_or_as_it_was(finished: int, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("trials.json").write_text("before")

    def fail(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("caviar.studies.results.export.to_file.finite", fail)
        say("export", "small", "--to", "trials.json", code=130)
    assert Path("trials.json").read_text() == "before"
    assert [path.name for path in Path().iterdir()] == ["trials.json"]
    say("export", "small", "--to", "trials.json")
    assert [path.name for path in Path().iterdir()] == ["trials.json"]
    assert len(json.loads(Path("trials.json").read_text())) == 9


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("trials.txt", "give a file that ends in .csv, .parquet, .json, or mlflow:URI or tensorboard:FOLDER"),
        ("tensorboard:", "give a file"),
        ("missing/x.csv", "missing/x.csv cannot be written: No such file"),
        ("folder.csv", "folder.csv cannot be written: Is a directory"),
        ("file/x.csv", "file/x.csv cannot be written: Not a directory"),
    ],
)
def test_a_place_that_will_not_do_is_one_line_and_leaves_nothing(finished: int, say: Say, to: str, told: str) -> None:
    Path("folder.csv").mkdir()
    Path("file").touch()
    remark = say("export", "small", "--to", to, code=2)[1]
    assert told in remark
    assert len(remark.splitlines()) == 1
    assert {path.name for path in Path().iterdir()} == {"folder.csv", "file"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_one_line_that_says_what_to_install(
    finished: int, say: Say, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == EXTRAS[extra] or n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, EXTRAS[extra], None)
    remark = say("export", "small", "--to", TARGETS[extra], code=2)[1]
    assert f"in Caviar's folder, run: pip install '.[{extra}]'" in remark
    assert len(remark.splitlines()) == 1
    assert list(Path().iterdir()) == []


def test_what_has_not_begun_and_what_makes_no_sense_is_refused(engine: Engine, say: Say) -> None:
    register(engine, name="empty")
    for to in ("tensorboard:runs", "mlflow:sqlite:///mlflow.db"):
        assert "no trial of 'empty' has begun yet; go on with: caviar join empty" in say(
            "export", "empty", "--to", to, code=2)[1]  # fmt: skip
        assert "leave it out" in say("export", "empty", "--to", to, "--epochs", code=2)[1]
    say("export", "empty", "--to", "trials.json")
    assert {row["state"] for row in json.loads(Path("trials.json").read_text())} == {"open"}
    assert "no study 'other'" in say("export", "other", "--to", "x.csv", code=2)[1]


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(("epochs", "command"), [([], "trials small --csv"), (["--epochs"], "curves small --json")])
def test_stdout_has_no_format_and_the_command_that_prints_is_named(say: Say, epochs: list[str], command: str) -> None:
    for stream in ("-", "/dev/stdout"):
        told = say("export", "small", "--to", stream, *epochs, code=2)[1]
        assert told.endswith(f"what prints to stdout is: caviar {command}\n")
        assert say(*command.split())[0]


def test_no_password_is_told(say: Say) -> None:
    told = say("export", "small", "--to", "mlfow:http://user:secret@host:5000", code=2)[1]
    assert "secret" not in told
    assert without_password("at http://u:p@ss/w@h:1/x failed") == "at http://***@h:1/x failed"
    assert without_password("at http://h:1/x, by a@b") == "at http://h:1/x, by a@b"


@needs("parquet")
def test_parquet_is_the_same(engine: Engine, finished: int, say: Say, tmp_path: Path) -> None:
    from pyarrow import parquet

    say("export", "small", "--to", "trials.json")
    say("export", "small", "--to", "trials.parquet")
    read = parquet.read_table("trials.parquet")
    rows = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in read.to_pylist()
    ]
    assert rows == json.loads(Path("trials.json").read_text())
    assert str(read.schema.field("began").type) == "timestamp[us, tz=UTC]"
    say("export", "small", "--to", "epochs.parquet", "--epochs")
    assert parquet.read_table("epochs.parquet")["accuracy"].to_pylist() == [
        e.metrics["accuracy"] for e in epochs_of(engine)
    ]
    write_table(trial_table(STUDY, mixed()), tmp_path / "x.parquet")
    of_mixed = parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert (of_mixed["kind"], of_mixed["decay"]) == (["a", "2", None], [0.0, 0.5, None])
    assert math.isnan(of_mixed["value"][0])
    write_table(epoch_table(STUDY, []), tmp_path / "none.parquet")
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0


@needs("tensorboard")
def test_tensorboard_has_a_run_for_each_trial_with_its_curve(engine: Engine, finished: int, say: Say) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    assert say("export", "small", "--to", "tensorboard:runs")[0] == (
        "8 trials are in runs; look at them with: tensorboard --logdir runs\n"
    )
    folders = sorted(Path("runs").iterdir())
    assert [folder.name for folder in folders] == [f"trial-{number:05d}" for number in range(8)]
    rows, trials = epochs_of(engine), json.loads(say("trials", "small", "--json")[0])
    for number, folder in enumerate(folders):
        run_ = EventAccumulator(str(folder))
        run_.Reload()
        seen = [(e.step, e.value) for e in run_.Scalars("accuracy/validation")]
        assert seen == [(e.epoch, pytest.approx(e.metrics["accuracy"])) for e in rows if e.slot == number]
        assert ("test_accuracy" in run_.Tags()["scalars"]) == (number == finished)
        metadata = run_.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hparams = HParamsPluginData.FromString(metadata).session_start_info.hparams
        assert hparams["momentum"].number_value == trials[number]["hyperparameters"]["momentum"]
    assert "is there already" in say("export", "small", "--to", "tensorboard:runs", code=2)[1]
    assert [path.name for path in Path().iterdir()] == ["runs"]


@needs("mlflow")
@pytest.mark.slow
def test_mlflow_has_a_run_for_each_trial_and_another_export_adds_only_what_is_new(
    engine: Engine, finished: int, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def fail(self: Any, run_id: str, *arguments: Any, **more: Any) -> Any:
        calls.append(run_id)
        if len(calls) == 3:
            raise MlflowException("http://user:secret@host went away")
        return log(self, run_id, *arguments, **more)

    uri, calls, log = "mlflow:sqlite:///mlflow.db", list[str](), MlflowClient.log_batch
    monkeypatch.setattr("caviar.studies.results.export.to_mlflow._BATCH", 3)  # of a complete trial's four epochs
    with monkeypatch.context() as patched:  # in the middle of the second trial
        patched.setattr(MlflowClient, "log_batch", fail)
        told = say("export", "small", "--to", uri, code=2)[1]
        assert "MLflow refused it: http://***@host went away" in told
        assert "secret" not in told
    client = MlflowClient("sqlite:///mlflow.db")
    for _ in range(2):
        assert "8 trials are in the experiment 'small'" in say("export", "small", "--to", uri)[0]
        experiment = client.get_experiment_by_name("small").experiment_id
        runs = {int(r.data.tags["caviar.trial"]): r for r in client.search_runs([experiment])}
        assert len(client.search_runs([experiment])) == len(runs) == 8
        trials, rows = json.loads(say("trials", "small", "--json")[0]), epochs_of(engine)
        for number, run_ in runs.items():
            trial = trials[number]
            assert run_.data.metrics["value"] == trial["value"]
            assert ("test_accuracy" in run_.data.metrics) == (number == finished)
            assert run_.data.params == {n: str(v) for n, v in {**trial["hyperparameters"], "dropout": 0.1}.items()}
            assert run_.data.tags["caviar.phase"] == trial["phase"]
            assert run_.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[trial["state"]]
            curve = [(m.step, m.value) for m in client.get_metric_history(run_.info.run_id, "accuracy")]
            assert sorted(curve) == [(e.epoch, e.metrics["accuracy"]) for e in rows if e.slot == number]
            assert len(client.get_metric_history(run_.info.run_id, "value")) == 1
    # one that goes on meanwhile
    record = load_study(engine, "small")
    worker(engine, record, definition_of(record)).run()
    say("export", "small", "--to", uri)
    assert len(client.search_runs([experiment])) == 9
