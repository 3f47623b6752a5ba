"""`caviar run` as a user runs it: real processes, signals and databases; then every row counted."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.definitions import load_study
from caviar.storage.engine import make_engine
from caviar.storage.events import read_events
from caviar.storage.status import read_trials
from caviar.studies.cli import run as run_here
from caviar.studies.lifecycle.provenance import code_of
from caviar.studies.workers.trial.build import THREADS
from tests.helpers.command import INDEPENDENT, Caviar, count_everything, rows, until
from tests.helpers.studies import TIERS, skip_without_package, small_study, write_study
from tests.helpers.workers import register, worker


@pytest.fixture
def empty_caviar(caviar: list[str], new_database: Callable[..., URL], tmp_path: Path) -> Caviar:
    return Caviar(caviar, new_database(empty=True), tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a built-in server: not pytest's, which another session may close to the account that it runs as."""
    with tempfile.TemporaryDirectory(prefix="caviar-tests-") as made:
        yield Path(made)


@pytest.fixture
def engine_of(empty_caviar: Caviar) -> Iterator[Engine]:
    assert empty_caviar.url is not None
    engine = make_engine(empty_caviar.url)
    yield engine
    engine.dispose()


ALONE = ("--workers", "2", "--cohort", "1")  # bit for bit; tests/chaos does the same to cohorts


@pytest.fixture
def undisturbed(engine: Engine) -> list[list[tuple[float, ...]]]:
    """The curves of `INDEPENDENT`, trained in this process by one worker that nothing happens to."""
    torch.set_num_threads(THREADS)
    record, study = register(engine, name="mine", budget=40, **INDEPENDENT)
    worker(engine, record, study).run()
    return count_everything(engine, epochs=INDEPENDENT["epochs"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [8])
def test_any_number_of_workers_makes_exactly_the_budget(workers: int, empty_caviar: Caviar, engine_of: Engine) -> None:
    said = empty_caviar.run("run", empty_caviar.study(), "--workers", str(workers))
    assert "mine is complete: 40 trials" in said
    assert "measured once" in said
    count_everything(engine_of)


@pytest.mark.slow
def test_two_commands_at_once_share_the_budget(empty_caviar: Caviar, engine_of: Engine) -> None:
    study = empty_caviar.study(epochs=30)
    both = [empty_caviar.start("run", study, "--workers", "2") for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    count_everything(engine_of, epochs=30)
    assert rows(engine_of, "SELECT count(*) FROM caviar.worker") == 4


@pytest.mark.slow
def test_ctrl_c_and_again_goes_on_where_it_was(
    empty_caviar: Caviar, engine_of: Engine, undisturbed: list[list[tuple[float, ...]]]
) -> None:
    study = empty_caviar.study(**INDEPENDENT)
    process = empty_caviar.start("run", study, *ALONE, "--seed", "0")
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") >= 6)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the command and its workers
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"nothing is lost; go on with: caviar run {study} --seed 0" in said
    assert rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 0
    done = rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'")
    assert 6 <= done < 40
    before = rows(engine_of, "SELECT max(trial_value_id) FROM public.trial_values")
    assert "mine is complete: 40 trials" in empty_caviar.run("run", "mine", *ALONE)
    assert count_everything(engine_of, epochs=12) == undisturbed
    attempts = rows(engine_of, "SELECT sum(attempts) FROM caviar.slot")
    assert attempts <= 40 + 2  # only the two that were interrupted were leased twice
    assert rows(engine_of, f"SELECT count(*) FROM public.trial_values WHERE trial_value_id <= {before}") == done
    again = empty_caviar.run("run", "mine")
    assert "mine is complete: 40 trials" in again
    assert rows(engine_of, "SELECT sum(attempts) FROM caviar.slot") == attempts


def kill_a_worker(engine: Engine, killed: list[int]) -> bool:
    """Kill a worker that has a trial; one that is dead already has its own until somebody finds it so."""
    with engine.connect() as connection:
        found = connection.scalars(
            text(
                "SELECT pid FROM caviar.slot JOIN caviar.worker USING (worker_id)"
                " WHERE state = 'leased' AND pid <> ALL (:killed)"
            ),
            {"killed": killed},
        ).first()
    if found is None:
        return False
    try:
        os.kill(found, signal.SIGKILL)
    except ProcessLookupError:  # it ended meanwhile
        return False
    killed.append(found)
    return True


@pytest.mark.slow
def test_killed_workers_are_replaced_and_their_curves_are_as_if_nothing_happened(
    empty_caviar: Caviar, engine_of: Engine, undisturbed: list[list[tuple[float, ...]]]
) -> None:
    study = empty_caviar.study(**INDEPENDENT)
    process = empty_caviar.start("run", study, *ALONE)
    killed: list[int] = []
    for done in (4, 8, 12):
        until(lambda least=done: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") >= least)  # type: ignore[misc]
        until(lambda: kill_a_worker(engine_of, killed))
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert count_everything(engine_of, epochs=12) == undisturbed
    assert len(read_events(engine_of, load_study(engine_of, "mine").study_id, "worker died")) == len(killed) == 3
    assert rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE attempts > 1") >= 2


@pytest.mark.slow
def test_when_everything_is_killed_the_next_run_goes_on_at_once(
    empty_caviar: Caviar, engine_of: Engine, undisturbed: list[list[tuple[float, ...]]]
) -> None:
    study = empty_caviar.study(**INDEPENDENT)
    process = empty_caviar.start("run", study, *ALONE)
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") >= 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") >= 1
    said = empty_caviar.run("run", "mine", *ALONE)
    assert "unfinished trial(s) of workers that died on this machine go on" in said
    told = read_events(engine_of, load_study(engine_of, "mine").study_id, "lease expired")
    assert told == []  # nobody waited for a lease to expire
    assert count_everything(engine_of, epochs=12) == undisturbed


@pytest.mark.slow
def test_a_search_by_optunas_classes_goes_on_when_everything_was_killed(
    empty_caviar: Caviar, engine_of: Engine
) -> None:
    strategy = "optuna:CmaEsSampler(popsize=5)"
    skip_without_package(strategy)
    study = empty_caviar.study(epochs=9, strategy=strategy, pruner="optuna:HyperbandPruner")
    process = empty_caviar.start("run", study, "--workers", "2")
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") >= 12)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "mine is complete: 40 trials" in empty_caviar.run("run", study, "--workers", "2")
    count_everything(engine_of, epochs=9)
    trials = read_trials(engine_of, load_study(engine_of, "mine").study_id)
    assert len({tuple(t.parameters.items()) for t in trials}) == 40
    assert {t.state for t in trials} == {"complete", "pruned"}


@pytest.mark.slow
def test_workers_stop_when_the_command_is_killed(empty_caviar: Caviar, engine_of: Engine) -> None:
    process = empty_caviar.start("run", empty_caviar.study(epochs=200), *ALONE)
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 2)
    process.kill()
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 0, 30)
    assert rows(engine_of, "SELECT count(*) FROM caviar.checkpoint") == 2


@pytest.mark.slow
def test_the_embedded_server_needs_no_configuration(caviar: list[str], folder: Path) -> None:
    own = Caviar(caviar, None, folder)
    said = own.run("run", "digits", "--budget", "4", "--strategy", "random", "--workers", "2")
    assert "digits is complete: 4 trials" in said
    now = json.loads(own.run("status", "digits", "--json"))
    assert now["complete"] + now["pruned"] == 4
    assert not (folder / "home" / "postgres" / "data" / "postmaster.pid").exists()  # the last one out stopped it
    assert len(list((folder / "home" / "checkpoints").rglob("*.checkpoint"))) == 1  # the winner's
    assert "digits is complete: 4 trials" in own.run("run", "digits", "--budget", "4", "--strategy", "random")


@pytest.mark.slow
def test_a_built_in_server_that_dies_in_the_middle_is_started_again(caviar: list[str], folder: Path) -> None:
    own = Caviar(caviar, None, folder)
    study = own.study(**INDEPENDENT)
    server = make_engine(URL.create("postgresql+psycopg2", "postgres", port=5432, database="postgres",
                                    query={"host": str(folder / "home" / "postgres" / "socket")}))  # fmt: skip
    process = own.start("run", study, "--workers", "2")
    until(lambda: rows(server, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") >= 3)
    server.dispose()
    os.kill(int((folder / "home" / "postgres" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "mine is complete: 40 trials" in said


@pytest.mark.slow
def test_a_study_that_pauses_says_why_and_goes_on_when_it_is_mended(empty_caviar: Caviar, engine_of: Engine) -> None:
    model = empty_caviar.folder / "my_model.py"
    body = "from torch import nn\n\nclass Net(nn.Module):\n"
    body += "    def __init__(self, sample, classes):\n        super().__init__()\n"
    body += "        self.out = nn.Linear(64, classes)\n    def forward(self, x):\n"
    model.write_text(body + "        raise ValueError('not yet')\n")
    definition = small_study(name="mine", model="my_model:Net", tiers=TIERS[:1], strategy="classic", pruner="median")
    study = write_study(empty_caviar.folder / "mine.py", definition)
    said = empty_caviar.run("run", study, code=1)
    assert "stopped: 3 trials in a row raised the same: ValueError: not yet" in said
    model.write_text(body + "        return self.out(x.flatten(1))\n")
    assert "mine is complete: 8 trials (5 complete, 0 pruned, 3 failed)" in empty_caviar.run("run", study)


@pytest.mark.slow
def test_a_model_that_is_not_found_again_spends_no_trial(empty_caviar: Caviar, engine_of: Engine) -> None:
    (empty_caviar.folder / "own").mkdir()
    (empty_caviar.folder / "own" / "net.py").write_text("from caviar.models.mlp import MLP as Net\n")
    definition = small_study(name="mine", model="net:Net", epochs=200, budget=40, strategy="random", pruner="none")
    study = write_study(empty_caviar.folder / "own" / "mine.py", definition)
    process = empty_caviar.start("run", study)
    until(lambda: rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'leased'") == 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    done = rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'")
    said = empty_caviar.run("run", "mine", code=2)  # from the database: the file's folder is not known there
    assert "there is no module net; give the command in the folder that has net" in said
    assert rows(engine_of, "SELECT count(*) FROM caviar.slot WHERE state = 'done'") == done


def test_an_error_in_a_worker_is_one_line(
    database_url: URL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setenv("CAVIAR_DATA_DIR", "/nowhere")
    monkeypatch.setattr("caviar.models.data.fetch", lambda name, folder: False)
    monkeypatch.setattr("caviar.studies.workers.local.preparation.provenance_of", lambda study, folder: code_of(study))
    assert run_here(["run", "mnist"]) == 1
    assert (
        "caviar: a worker failed: DataUnavailable: the data set 'mnist' is not in /nowhere" in capsys.readouterr().err
    )


def test_a_search_ends_when_more_trials_promise_too_little_and_says_so(empty_caviar: Caviar) -> None:
    study = empty_caviar.study(strategy="tiered", pruner="none")
    said = empty_caviar.run("run", study, "--workers", "2", "--until", "gain < 5")  # of an accuracy: always
    assert "mine is complete: 2" in said
    assert "the study ends after 2" in said
    assert "of 40 trials: 40 more trials are expected to improve the winner by" in said
    assert "go on without that rule: caviar extend mine --budget N" in said
    done = json.loads(empty_caviar.run("status", "mine", "--json"))
    assert done["state"] == "done"
    assert 20 <= done["budget"] < 40
    # The rule is spent with its end: all look at the same, and the same command does no more.
    assert "40 more trials are expected" in empty_caviar.run("status", "mine")
    best = json.loads(empty_caviar.run("best", "mine", "--json"))
    assert best["prospect"]["trials"] == 40
    assert best["prospect"]["low"] <= best["prospect"]["gain"] <= best["prospect"]["high"]
    assert "the study ends after" in empty_caviar.run("run", study, "--until", "gain < 5")
    assert "Were enough points sampled?" in empty_caviar.run("report", "mine")
    assert "until must be" in empty_caviar.run("run", study, "--until", "gain > 1", code=2)
