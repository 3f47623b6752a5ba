"""Timeouts reach the workers: those of the call before those of the study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

import caviar
from caviar.studies.api import running
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.supervisor import Outcome
from tests.helpers.studies import small_study


@pytest.fixture
def options_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerOptions]:
    """Runs or joins a study, and returns the options that its workers would have had."""
    given = list[WorkerOptions]()

    def work(_: Any, record: Any, options: WorkerOptions, *__: Any) -> Any:
        given.append(options)
        return Outcome(
            record,
            running.progress(engine, record),
            time_is_over=False,
            trials=0,
            restarts=0,
            is_freed=False,
            seconds=0.0,
        )

    monkeypatch.setattr(running, "_work", work)

    def call(function: Callable[..., Any], study: Any, **options: Any) -> WorkerOptions:
        function(study, database=engine, **options)
        return given.pop()

    return call


def test_the_timeout_of_an_epoch(options_of: Callable[..., WorkerOptions]) -> None:
    study = small_study(epoch_timeout="30min")
    assert options_of(caviar.run, study).epoch_timeout == 1800
    assert options_of(caviar.run, study, epoch_timeout="90s").epoch_timeout == 90
    assert options_of(caviar.join, "small", workers=1).epoch_timeout == 1800
    assert options_of(caviar.join, "small", workers=1, epoch_timeout=7).epoch_timeout == 7
    assert options_of(caviar.run, small_study(name="other")).epoch_timeout is None
    with pytest.raises(caviar.OptionError, match=r"--epoch-timeout: give a duration, .*; given '2 hours'$"):
        caviar.run(study, epoch_timeout="2 hours")
