"""A database that goes away or only reads, between the steps of a run and under somebody who watches it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

import caviar
from caviar.studies.cli import run as run_command
from caviar.studies.results.retraining import FreshTrainings
from caviar.studies.workers.local.events import (
    CheckEnded,
    DatabaseLost,
    RunEvent,
    WorkersEnded,
    WorkersStarted,
)
from tests.helpers.outages import Away, ReadOnly
from tests.helpers.pandas import born
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

STEPS = (CheckEnded, WorkersStarted, WorkersEnded)  # after each of which this process asks the database next


@pytest.mark.slow
def test_a_run_bears_an_outage_between_any_two_of_its_steps(engine: Engine) -> None:
    away, heard = Away(engine.url), list[type[RunEvent]]()

    def cut(event: RunEvent) -> None:
        if isinstance(event, STEPS) and type(event) not in heard:  # a step may be done again
            heard.append(type(event))
            away.begin()
        if isinstance(event, DatabaseLost):
            heard.append(DatabaseLost)
            away.end()

    try:
        address = engine.url.render_as_string(hide_password=False)
        result = caviar.run(small_study(budget=3, epochs=1), cohort=1, on_event=cut, patience=60, database=address)
    finally:
        away.end()
    assert result.is_done
    assert result.winner is not None
    assert heard == [step for kind in STEPS for step in (kind, DatabaseLost)]


def test_a_panda_bears_an_outage_before_it_is_written(engine: Engine) -> None:
    away, heard = Away(engine.url), list[type[RunEvent]]()

    def cut(event: RunEvent) -> None:
        heard.append(type(event))
        if isinstance(event, CheckEnded):
            away.begin()
        if isinstance(event, DatabaseLost):
            away.end()

    try:
        address = engine.url.render_as_string(hide_password=False)
        born = caviar.panda.start("baby", study=small_study(), on_event=cut, patience=60, database=address)
    finally:
        away.end()
    assert born.is_done
    assert DatabaseLost in heard


@pytest.fixture
def mended(engine: Engine) -> Iterator[Away]:
    """A database that is away from `begin` until this process says that it waits for it."""
    away = Away(engine.url)

    class Mend(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            away.end()

    handler, logger = Mend(), logging.getLogger("caviar")
    logger.addHandler(handler)
    yield away
    logger.removeHandler(handler)
    away.end()


def test_a_confirmation_bears_an_outage_after_its_trainings(
    engine: Engine, mended: Away, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record, study = register(engine, epochs=1, budget=3, pruner="none")
    worker(engine, record, study).run()

    def run(trainings: FreshTrainings, progressed: Callable[[float], None]) -> bool:
        is_whole = trained(trainings, progressed)
        mended.begin()
        return is_whole

    trained = FreshTrainings.run
    monkeypatch.setattr(FreshTrainings, "run", run)
    with caplog.at_level(logging.INFO, "caviar"):
        winner = caviar.confirm("small", 2, database=engine)
    assert winner is not None
    assert winner.confirmation is not None
    assert caplog.messages == ["the database is away; waiting for it, for up to 15 min"]


def test_who_watches_a_study_bears_an_outage(engine: Engine, mended: Away, caplog: pytest.LogCaptureFixture) -> None:
    register(engine)
    views = caviar.watch("small", database=engine)
    next(views)
    mended.begin()
    with caplog.at_level(logging.INFO, "caviar"):
        assert next(views).snapshot.progress.open == 8
    assert caplog.messages == ["the database is away; waiting for it, for up to 15 min"]


@pytest.fixture
def standby(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> ReadOnly:
    register(engine)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    return ReadOnly(engine.url)


@pytest.mark.parametrize("command", ["ls", "status small", "workers", "history small", "trials small"])
def test_what_only_reads_works_on_a_standby(
    standby: ReadOnly, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with standby:
        assert run_command(command.split()) == 0
    assert capsys.readouterr().out


def test_a_panda_is_read_on_a_standby(engine: Engine, standby: ReadOnly) -> None:
    born(engine)
    with standby:
        for command in ("panda log baby", "status baby", "report baby", "history baby"):
            assert run_command(command.split()) == 0, command


@pytest.mark.parametrize(
    "command",
    [
        "run digits", "join small", "pause small", "stop small", "resume small", "kill small 0", "delete small --yes",
        "extend small --budget 9", "panda start baby --study digits", "panda train small",
    ],
)  # fmt: skip
def test_what_writes_says_in_one_line_that_a_standby_does_not(
    standby: ReadOnly, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with standby:
        assert run_command(command.split()) == os.EX_TEMPFAIL
    said = capsys.readouterr()
    assert said.out == ""
    assert "takes no writes now, as a standby does; give the address of the primary" in said.err
    assert len(said.err.splitlines()) == 1
