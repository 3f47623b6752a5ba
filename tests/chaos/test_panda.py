"""A panda whose training is killed again and again, with a nudge in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from caviar.epoch import Epoch
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.nudges import add_nudge
from caviar.storage.pandas import DayRecord
from caviar.storage.records import StudyRecord
from tests.chaos.scene import Row, Scene, chaos_study
from tests.helpers.pandas import days
from tests.helpers.studies import write_study

DAYS, EPOCHS = 3, 40
NUDGE = {"learning_rate": 0.05}


def curves(engine: Engine, record: StudyRecord) -> list[Any]:
    """Return the epochs of all days, apart from how long they took."""
    return [replace(e, seconds=0) for day in range(DAYS + 1) for e in read_curve(engine, record.study_id, day)]


@pytest.mark.slow
@pytest.mark.chaos
def test_a_panda_that_is_killed_and_nudged(
    database_url: URL, new_scene: Callable[..., Scene], report: Callable[[Row], None], tmp_path: Path
) -> None:
    kills = 20 if "CHAOS_ROUNDS" in os.environ else 5
    seed = int(os.environ.get("CHAOS_SEED", "0"))
    print(f"CHAOS_SEED={seed}")
    random = Random(seed)
    scene = new_scene(database_url)
    file = write_study(tmp_path / "base.py", chaos_study(3, EPOCHS))
    for name in ("disturbed", "calm"):
        start = scene.launch("panda", "start", name, "--study", file, "--day", f"{EPOCHS}epochs")
        assert start.wait(120) == 0, scene.said()
    disturbed, calm = (load_study(scene.engine, name) for name in ("disturbed", "calm"))

    def trained() -> int:
        (row,) = scene.rows("SELECT count(*) FROM caviar.epoch WHERE study_id = :study", study=disturbed.study_id)
        return int(row[0])

    whole, nudged = DAYS * EPOCHS, False
    for kill in range(kills):
        begun = trained()
        goal = min(begun + 1 + random.randrange(2 * whole // kills), whole * (kill + 1) // kills, whole - 2)
        if goal <= begun:
            continue
        training = scene.launch("panda", "train", "disturbed", "--study", file, "--days", str(DAYS))
        scene.wait_until(lambda goal=goal: trained() >= goal)
        if not nudged and goal > whole // 3:
            add_nudge(scene.engine, disturbed.study_id, NUDGE, None, "chaos")
            nudged = True
        os.killpg(training.pid, signal.SIGKILL)
        training.wait()
    while True:  # whole days count, those of killed commands too
        (left,) = scene.rows(
            "SELECT count(*) FROM caviar.slot WHERE study_id = :study AND state = 'done'", study=disturbed.study_id
        )
        if left[0] > DAYS:
            break
        training = scene.launch("panda", "train", "disturbed", "--study", file)
        assert training.wait(120) == 0, scene.said()

    taken = scene.rows("SELECT day, epoch FROM caviar.nudge WHERE study_id = :study", study=disturbed.study_id)

    def hear(day: DayRecord, result: Epoch) -> None:
        if [(day.number, result.epoch)] == [tuple(row) for row in taken]:
            add_nudge(scene.engine, calm.study_id, NUDGE, None, "chaos")

    days(scene.engine, calm, DAYS, on_epoch=hear)
    assert len(taken) == 1
    assert curves(scene.engine, disturbed) == curves(scene.engine, calm)
    report(Row("a panda killed, with a nudge in between", kills, 0, 0, 0, scene.slowest, DAYS))
