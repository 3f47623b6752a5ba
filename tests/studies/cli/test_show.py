"""The commands that look: their JSON is one document with the promised fields, their tables can be read."""

from __future__ import annotations

import csv
import json
import logging.handlers
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import optuna
import pytest
import torch
from sqlalchemy import Engine, inspect, text

from caviar.models.data import load_all
from caviar.models.measures import Measures, classification_loss
from caviar.models.mlp import ACTIVATIONS
from caviar.models.registry import model_class
from caviar.models.training import evaluate
from caviar.storage.events import record_event
from caviar.storage.migrate import newest_revision
from caviar.storage.records import Provenance
from caviar.storage.states import EventKind
from caviar.studies.api.session import data_folder
from caviar.studies.cli import run
from caviar.studies.cli.sparkline import ASCII, BLOCKS, ends, sparkline
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.results.conclusion import conclude
from caviar.studies.space.scales import Choice, Log
from tests.helpers.pandas import born, days
from tests.helpers.studies import small_study, write_study
from tests.helpers.workers import register, worker


@pytest.fixture
def said(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def say(*arguments: str, code: int = 0) -> str:
        assert run(list(arguments)) == code
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return say


WITHOUT_CAVIAR = """
import runpy, sys
sys.modules["caviar"] = None  # an import of it fails
sys.path[0] = str(__import__("pathlib").Path(sys.argv[1]).resolve().parent)  # as Python does for a script
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture
def finished(engine: Engine) -> None:
    record, study = register(engine, epochs=6, budget=12)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))


def test_status_of_a_finished_study(finished: None, said: Callable[..., str]) -> None:
    status = json.loads(said("status", "small", "--json"))
    assert (status["name"], status["state"], status["budget"]) == ("small", "done", 12)
    assert (status["open"], status["leased"], status["workers"]) == (0, 0, 0)
    assert status["complete"] + status["pruned"] + status["failed"] == 12
    assert set(status["best"]) == {"value", "trial", "hyperparameters"}
    assert set(status["best"]["hyperparameters"]) == {
        "learning_rate", "momentum", "hidden_units", "batch_size", "layers", "decay",
    }  # fmt: skip
    assert sum(t["slots"] for t in status["tiers"]) == sum(t["done"] for t in status["tiers"]) == 12
    assert all(set(t) == {"tier", "phase", "slots", "done", "best"} for t in status["tiers"])
    assert status["epochs"]["planned"] == 72
    assert 0 < status["epochs"]["trained"] <= 72
    assert "12/12" in said("status", "small")


def test_status_before_anybody_works(engine: Engine, said: Callable[..., str]) -> None:
    register(engine)
    status = json.loads(said("status", "small", "--json"))
    assert (status["state"], status["open"], status["best"]) == ("waiting", 8, None)
    assert "0/8" in said("status", "small")
    assert "no trial of 'small' is complete yet" in said("best", "small")
    assert json.loads(said("best", "small", "--json")) is None


def test_best_has_validation_and_the_test_that_was_measured(finished: None, said: Callable[..., str]) -> None:
    best = json.loads(said("best", "small", "--json"))
    assert {"trial", "hyperparameters", "metric", "metrics", "test"} <= set(best)
    assert best["value"] == best["metrics"][best["metric"]]
    assert best["metrics"].keys() == {"training_loss", "validation_loss", "accuracy", "learning_rate"}
    assert 0 < best["test"]["accuracy"] <= 1
    assert [e["epoch"] for e in best["curve"]] == list(range(1, best["epochs"] + 1))
    assert best["expected"]["low"] <= best["expected"]["value"] <= best["expected"]["high"]
    told = said("best", "small")
    assert "measured once" in told
    assert "if trained again" in told


def test_best_says_what_is_expected_and_the_one_that_was_tested_stays_the_winner(
    engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, study = register(engine, epochs=3, budget=24, pruner="none")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    best = json.loads(said("best", "small", "--json"))
    assert 0 <= best["expected"]["low"] <= best["expected"]["value"] <= best["expected"]["high"] <= 1
    assert abs(best["expected"]["value"] - best["value"]) < 0.2
    assert "if trained again" in said("best", "small")
    # a later version of the model would have named another one
    monkeypatch.setattr("caviar.studies.search.expectation.FEW", 1000)
    monkeypatch.setattr("caviar.studies.search.expectation.is_sound", lambda trial: trial.value is not None)
    others = [t for t in json.loads(said("trials", "small", "--json")) if t["state"] == "complete"]
    with engine.begin() as connection:
        connection.execute(text("UPDATE public.trial_values SET value = 1.0 WHERE trial_id = (SELECT trial_id "
                                "FROM caviar.slot WHERE number = :number)"),
                           {"number": next(t["trial"] for t in others if t["trial"] != best["trial"])})  # fmt: skip
    assert json.loads(said("best", "small", "--json"))["trial"] == best["trial"]
    assert conclude(engine, record, Path("nowhere"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.test_result")) == 1


def test_trials_as_json_csv_and_table(finished: None, said: Callable[..., str]) -> None:
    trials: list[dict[str, Any]] = json.loads(said("trials", "small", "--json"))
    assert [t["trial"] for t in trials] == list(range(12))
    rows = list(csv.DictReader(StringIO(said("trials", "small", "--csv"))))
    assert [float(r["momentum"]) for r in rows] == [t["hyperparameters"]["momentum"] for t in trials]
    assert len(said("trials", "small").splitlines()) == 13


def test_a_study_without_a_trial_has_a_table_too(engine: Engine, said: Callable[..., str]) -> None:
    register(engine)
    assert len(json.loads(said("trials", "small", "--json"))) == 8
    assert len(said("trials", "small", "--csv").splitlines()) == 9


def test_ls_names_catalog_and_studies(finished: None, said: Callable[..., str]) -> None:
    listed = json.loads(said("ls", "--json"))
    assert listed["catalog"] == ["cifar10", "digits", "fashion_mnist", "mnist"]
    assert [s["name"] for s in listed["studies"]] == ["small"]
    assert "12/12" in said("ls")


def test_a_panda_is_no_search_that_is_done(engine: Engine, said: Callable[..., str]) -> None:
    days(engine, born(engine))
    assert said("ls").splitlines()[-1].split() == ["baby", "resting", "1", "day", ANY, "1", "panda"]
    assert "test              not measured for a panda" in said("best", "baby")


def test_history_has_numbers_as_people_write_them(engine: Engine, said: Callable[..., str]) -> None:
    record, _ = register(engine)
    record_event(engine, record.study_id, EventKind.TRAINED_AGAIN, slot=3, training=0, value=0.9722222222222222)
    record_event(engine, record.study_id, EventKind.COHORT_SIZE, size=5, times_as_fast=6.4)
    shown = said("history", "small")
    assert "value 0.9722, training 0" in shown
    assert "each worker trains up to 5 trials as one program, 6.4 times as fast as one by one" in shown


def test_history_and_status_show_the_commit_of_the_users_code(engine: Engine, said: Callable[..., str]) -> None:
    register(engine, name="plain")
    assert "commit" not in said("history", "plain")
    assert "your code" not in said("status", "plain")
    here = Provenance(files={"net.py": "a" * 64}, commit="c" * 40 + "-dirty", remote="https://host/shop")
    open_study(engine, small_study(), here)
    assert "cccccccccccc-dirty" in said("history", "small")
    (version,) = json.loads(said("history", "small", "--json"))["versions"]
    assert (version["files"], version["commit"], version["remote"]) == (here.files, here.commit, here.remote)
    line = "1 file at commit cccccccccccc of https://host/shop, with changes that are in no commit"
    assert f"trained with your code: {line}" in " ".join(said("status", "small").split())
    assert json.loads(said("status", "small", "--json"))["code"] == line


def test_ls_of_an_empty_database_says_how_to_begin(said: Callable[..., str]) -> None:
    assert "caviar run digits" in said("ls")


def test_plan_shows_slots_and_scales(said: Callable[..., str]) -> None:
    plan = json.loads(said("plan", "digits", "--json"))
    assert [s["slot"] for s in plan["slots"]] == list(range(40))
    assert plan["slots"][1] == {"slot": 1, "tier": 1, "phase": "coarse", "free": ["learning_rate"]}
    shown = said("plan", "digits")
    assert "0.9 … 0.999, log of 1-β" in shown
    assert "6-39" in shown


def test_plan_knows_a_study_that_only_the_database_has(
    finished: None, engine: Engine, said: Callable[..., str]
) -> None:
    said("retune", "small", "--name", "small-wider", "--widen", "learning_rate")
    plan = said("plan", "small-wider")
    assert "1e-05 … 10, log" in plan
    assert "none: the earlier winner" in plan
    assert "run it with: caviar run small-wider" in plan
    assert json.loads(said("plan", "small-wider", "--budget", "20", "--json"))["budget"] == 20
    born(engine, "baby")
    assert run(["plan", "baby"]) == 2  # a panda has none


def test_plan_makes_no_database_and_says_why_one_was_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("CAVIAR_DATABASE_URL", raising=False)
    assert run(["plan", "mine"]) == 2
    assert "no study 'mine'" in capsys.readouterr().err
    assert not (tmp_path / "caviar-home" / "postgres").exists()
    assert run(["plan", "mine", "--database-url", "postgresql://nobody@127.0.0.1:1/none"]) == 2
    assert "no study 'mine'" in (said := capsys.readouterr().err)
    assert "nor could that be asked" in said


def test_delete_asks_and_takes_optunas_rows_too(
    finished: None, engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said("delete", "small", "--yes")
    with engine.connect() as connection:
        for schema in ("public", "caviar"):
            names = inspect(engine).get_table_names(schema=schema)
            kept = [n for n in names if n not in ("alembic_version", "version_info", "schema_version")]
            assert [n for n in kept if connection.scalar(text(f"SELECT count(*) FROM {schema}.{n}"))] == []


def test_delete_without_anybody_to_ask_is_bad_input(
    finished: None, said: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no Ctrl-C, whose exit code a supervisor would take for a person's wish."""
    monkeypatch.setattr("sys.stdin", StringIO())
    assert run(["delete", "small"]) == 2
    assert "give --yes" in capsys.readouterr().err


def test_delete_leaves_other_studies_alone(finished: None, engine: Engine, said: Callable[..., str]) -> None:
    register(engine, name="other")
    said("delete", "other", "-y")
    assert [s["name"] for s in json.loads(said("ls", "--json"))["studies"]] == ["small"]


def test_delete_refuses_while_somebody_trains(
    engine: Engine, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.helpers.workers import ledger

    record, _ = register(engine)
    ledger(engine, record).lease()
    assert run(["delete", "small", "--yes"]) == 2
    assert "stop the workers (Ctrl-C) first" in capsys.readouterr().err


def test_db_commands(said: Callable[..., str]) -> None:
    newest = newest_revision()
    assert newest in said("db", "upgrade")
    assert f"database: {newest}" in said("db", "current")
    assert "current" in said("db", "check")


def test_data_ls(said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("CAVIAR_DATA_DIR", str(tmp_path))
    lines = said("data", "ls").splitlines()
    assert lines[0].split() == ["digits", "here"]
    assert "caviar data fetch mnist" in lines[1]


def test_importance_says_what_mattered_and_whether_the_order_held(
    finished: None, engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(said("importance", "small", "--json"))["importances"]
    assert told["trials"] == 12
    assert {one["name"] for one in told["hyperparameters"]} == {
        "learning_rate", "momentum", "hidden_units", "batch_size", "layers", "decay",
    }  # fmt: skip
    assert {order["verdict"] for order in told["orders"]} <= {"held", "reversed", "open"}
    assert [(order["tier"], order["after"]) for order in told["orders"]] == [(1, 2), (2, 3)]
    heard = logging.handlers.BufferingHandler(100)
    logging.getLogger("optuna").addHandler(heard)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as it is in a command; other tests set it
    table = said("importance", "small")
    optuna.logging.set_verbosity(before)
    logging.getLogger("optuna").removeHandler(heard)
    assert heard.buffer == []
    assert "how much of small's result each hyperparameter decides alone, by 12 trials" in table
    assert table.count("the documented order") + table.count("These trials cannot tell") == 2
    monkeypatch.setattr("caviar.studies.results.importance.MOST", 11)
    assert "decides alone, by the newest 11 of 12 trials" in said("importance", "small")
    register(engine, name="new")
    assert "10 finished trials of different values are needed" in said("importance", "new")
    assert "look again later" in said("importance", "new")
    record, study = register(engine, name="short", budget=4, epochs=1)
    worker(engine, record, study).run()
    assert "get more with: caviar extend short --budget 10" in said("importance", "short")  # none comes by itself
    assert json.loads(said("importance", "new", "--json")) == {"study": "new", "importances": None}


def test_the_folder_of_data_sets_is_the_options_or_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_DATA_DIR", str(tmp_path / "named"))
    assert data_folder(None) == tmp_path / "named"  # for benchmarks too, which have no such option
    assert data_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.setenv("CAVIAR_DATA_DIR", "")
    assert data_folder(None).name == "data"


def test_the_winner_is_saved_with_an_example_that_works(
    finished: None, engine: Engine, said: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    assert run(["best", "small", "--save", str(folder)]) == 0
    assert "load.py" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "load.py", "model.pt", "network"]
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_CAVIAR, "load.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"class \d\n", told.stdout)
    config = json.loads((folder / "config.json").read_text())
    own = shutil.copytree(folder, tmp_path / "own")  # a model of one's own, from the folder of its code
    shutil.move(own / "network", tmp_path / "mine")
    (own / "config.json").write_text(json.dumps({**config, "class": "mine.mlp:MLP"}))
    words = [sys.executable, "-c", WITHOUT_CAVIAR, "own/load.py"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.startswith("class ")
    model = model_class(config["model"])(tuple(config["sample"]), config["outputs"], **config["hyperparameters"])
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    _, test = load_all(config["data"], Path("nowhere"), torch.device("cpu"))
    assert test is not None
    accuracy = evaluate(model, test, Measures(classification_loss))["accuracy"]
    assert accuracy == config["test"]["accuracy"] == json.loads(said("best", "small", "--json"))["test"]["accuracy"]
    assert run(["best", "small", "--save", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_panda_is_saved_though_it_is_never_done(engine: Engine, said: Callable[..., str], tmp_path: Path) -> None:
    days(engine, born(engine, "baby"))
    shown = said("best", "baby")
    assert shown.startswith("best so far: day 1 of baby\n")
    assert run(["best", "baby", "--save", str(tmp_path / "model")]) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["study"], config["trial"]) == ("baby", 1)
    assert torch.load(tmp_path / "model" / "model.pt", weights_only=True)


def test_what_cannot_be_saved_is_one_line(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    record, study = register(engine, epochs=2)
    assert run(["best", "small", "--save", str(tmp_path / "model")]) == 2
    assert "no trial of 'small' is complete yet" in capsys.readouterr().err
    worker(engine, record, study).run()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.checkpoint"))
    assert run(["best", "small", "--save", str(tmp_path / "model")]) == 2
    assert "the place that CAVIAR_CHECKPOINTS names" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_curves_are_drawn_the_best_one_first(finished: None, said: Callable[..., str]) -> None:
    drawn = json.loads(said("curves", "small", "--top", "4", "--json"))
    trials = {t["trial"]: t for t in json.loads(said("trials", "small", "--json"))}
    assert [len(d["curve"]) for d in drawn] == [trials[d["trial"]]["epochs"] for d in drawn]
    values = [trials[d["trial"]]["value"] for d in drawn if trials[d["trial"]]["state"] == "complete"]
    assert values == sorted(values, reverse=True)
    told = said("curves", "small", "--top", "4")
    assert len(re.findall(r"^\d+ ", told, re.MULTILINE)) == 4
    assert "caviar report small --open" in told


def test_curves_of_another_metric_are_drawn_by_its_name(
    finished: None, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    own = json.loads(said("curves", "small", "--top", "2", "--json"))
    drawn = json.loads(said("curves", "small", "--top", "2", "--metric", "validation_loss", "--json"))
    assert [d["trial"] for d in drawn] == [d["trial"] for d in own]  # as the study ranks them
    assert {d["metric"] for d in drawn} == {"validation_loss"}
    assert all(a["curve"] != b["curve"] for a, b in zip(own, drawn, strict=True))
    assert "validation_loss by epoch, from " in said("curves", "small", "--metric", "validation_loss")
    assert run(["curves", "small", "--metric", "val_loss"]) == 2
    assert capsys.readouterr().err.startswith(
        "caviar: no trial of 'small' measured 'val_loss'; did you mean validation_loss? measured were: training_loss,"
    )


def test_a_choice_in_brackets_is_shown_as_it_is(
    engine: Engine, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    activations = Choice("[/relu]", "[bold]", default="[/relu]")
    tiers = ({"learning_rate": Log(1e-4, 1, default=0.1)}, {"activation": activations})
    record, study = register(engine, epochs=2, budget=4, tiers=tiers)
    for name in ("[/relu]", "[bold]"):
        monkeypatch.setitem(ACTIVATIONS, name, ACTIVATIONS["relu"])
    worker(engine, record, study).run()
    best = json.loads(said("best", "small", "--json"))["hyperparameters"]["activation"]
    for command in ("best", "trials", "curves", "status", "report"):
        assert best in said(command, "small"), command
    assert "one of [/relu], [bold]" in said("plan", write_study(tmp_path / "mine.py", study))


def test_the_scale_of_curves_is_that_of_what_is_to_be_compared() -> None:
    rising = [[0.1, 0.5, 0.9, 0.94, 0.95, 0.96], [0.2, 0.6, 0.91, 0.95, 0.96, 0.98]]
    low, high = ends(rising, maximize=True)
    assert (low, high) == (0.94, 0.98)
    drawn = [sparkline(curve, low, high, BLOCKS) for curve in rising]
    assert drawn == ["▁▁▁▁▃▅", "▁▁▁▃▅█"]
    falling = [[1 - value for value in curve] for curve in rising]
    assert ends(falling, maximize=False) == pytest.approx((0.02, 0.06))


@pytest.mark.parametrize("blocks", [BLOCKS, ASCII])
def test_a_sparkline_rises_with_its_values_and_stays_short(blocks: str) -> None:
    line = sparkline([0.0, 0.25, 0.5, 0.75, 1.0], 0.0, 1.0, blocks)
    assert len(line) == 5
    assert sorted(map(blocks.index, line)) == list(map(blocks.index, line))
    assert (line[0], line[-1]) == (blocks[0], blocks[-1])
    assert len(sparkline([i / 1000 for i in range(1000)], 0.5, 1.0, blocks)) <= 40
    assert all(len(sparkline([0.5] * n, 0.0, 1.0, blocks)) <= 40 for n in range(1, 200))
    assert len(set(sparkline([0.3] * 5, 0.3, 0.3, blocks))) == 1
