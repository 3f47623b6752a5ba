"""Whatever a training does ends its trial with a reason, and never its study: with real worker processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.status import TrialRecord, read_trials
from caviar.storage.trial_logs import KEPT
from caviar.studies.definition import Study
from caviar.studies.space.scales import Choice

HOWS = ("none", "exit", "hard exit", "base", "interrupt", "fork", "print", "crash", "leave a child")


@pytest.mark.slow
def test_no_training_harms_more_than_its_trial(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = Study(
        name="own", train="tests.helpers.trainings:misbehaving", metric="rmse", direction="minimize", epochs=3,
        budget=len(HOWS) + 1, strategy="grid", pruner="none", tiers=({"how": Choice(*HOWS, default="none")},),
    )  # fmt: skip
    result = caviar.run(study, database=engine)
    assert result.status.done == len(HOWS) + 1  # the default, too, which is in the grid
    record = load_study(engine, "own")
    trials = {how_of(study, trial): trial for trial in read_trials(engine, record.study_id)}
    reasons = {how: trial.attributes["why it stopped"] for how, trial in trials.items()}
    states = {how: trial.state for how, trial in trials.items()}

    complete = ("none", "fork", "print")
    assert [how for how, state in states.items() if state == "complete"] == sorted(complete, key=list(trials).index)
    assert all([e.epoch for e in read_curve(engine, record.study_id, trials[how].slot.number)] == [1, 2, 3]
               for how in complete)  # fmt: skip
    assert reasons["exit"] == "it calls sys.exit(3), which would end Caviar"
    assert reasons["hard exit"] == "it calls os._exit(0), which would end Caviar"
    assert reasons["base"] == "it raises BaseException, which is no Exception"
    assert reasons["interrupt"] == "it raises KeyboardInterrupt, which is no Exception"
    assert {states[how] for how in ("exit", "hard exit", "base", "interrupt")} == {"fail"}
    assert {states[how] for how in ("crash", "leave a child")} == {"abandoned"}
    assert "last: it was killed by signal 11 in string_at" in reasons["crash"]
    assert reasons["leave a child"].endswith("last: its training left the process with exit code 7")
    assert subprocess.run(["pgrep", "-f", "sleep 86399"], check=False, capture_output=True).stdout == b""

    number = trials["crash"].slot.number
    died = [event for event in read_events(engine, record.study_id, "worker died") if event.slot == number]
    assert died[0].detail["output"].splitlines()[-3:] == [
        f"epoch 1 of trial {number}", f"epoch 2 of trial {number}", "about to crash",
    ]  # fmt: skip
    failed = read_events(engine, record.study_id, "trial failed")
    assert all(event.detail["output"].endswith(f"epoch 2 of trial {event.slot}") for event in failed)

    assert caviar.logs("own", trials["none"].slot.number, database=engine).splitlines() == [
        f"epoch {epoch} of trial {trials['none'].slot.number}" for epoch in (1, 2, 3)
    ]  # fmt: skip
    logs = list((tmp_path / "caviar-home" / "logs").iterdir())
    assert len(logs) == len(HOWS) + 2  # and the workers' own
    assert max(log.stat().st_size for log in logs) <= 2 * KEPT
    assert caviar.logs("own", trials["print"].slot.number, database=engine).endswith(
        f"epoch 3 of trial {trials['print'].slot.number}\n"
    )
    assert capfd.readouterr() == ("", "")
    caviar.delete("own", database=engine)
    assert not list((tmp_path / "caviar-home" / "logs").iterdir())


def how_of(study: Study, trial: TrialRecord) -> str:
    return str(study.values(trial.parameters)["how"])
