"""`caviar panda` as a user runs it: real processes, killed in the middle of a day."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from storage.engine import make_engine

STUDY = ("--study", "digits", "--set", "batch_size=32")


class Panda:
    """Runs the command against one database."""

    def __init__(self, command: list[str], url: URL, home: Path) -> None:
        self.url = url
        address = url.render_as_string(hide_password=False).replace("+psycopg2", "")
        self._command = [*command, "panda"]
        self._environ = {**os.environ, "CAVIAR_HOME": str(home), "CAVIAR_DATABASE_URL": address}
        self._home = home

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, *arguments], env=self._environ, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        said, told = process.communicate(timeout=120)
        assert process.returncode == code, told
        return told if code else said

    def facts(self, name: str) -> Any:
        return json.loads(self.run("log", name, "--json"))


@pytest.fixture
def panda(caviar: list[str], new_database: Callable[..., URL], tmp_path: Path) -> Panda:
    return Panda(caviar, new_database(), tmp_path / "home")


@pytest.fixture
def engine_of(panda: Panda) -> Iterator[Engine]:
    engine = make_engine(panda.url)
    yield engine
    engine.dispose()


def life(facts: Any) -> list[tuple[int, float, float, float]]:
    return [
        epoch
        for day in facts["days"]
        for epoch in zip(day["epochs"], day["training_loss"], day["validation_loss"], day["curve"], strict=True)
    ]


def until_epoch(engine: Engine, least: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if (connection.scalar(text("SELECT max(epoch) FROM caviar.epoch")) or 0) >= least:
                return
        time.sleep(0.01)
    raise AssertionError(f"no epoch {least} within a minute")


@pytest.mark.slow
def test_six_days_at_once_are_six_commands_with_a_kill_in_one_of_them(panda: Panda, engine_of: Engine) -> None:
    panda.run("start", "separate", *STUDY, "--day", "40epochs")
    for day in range(6):
        if day == 3:
            process = panda.start("train", "separate")
            until_epoch(engine_of, 125)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert panda.facts("separate")["days"][4]["state"] != "done"
        panda.run("train", "separate")
    panda.run("start", "whole", *STUDY, "--day", "40epochs")
    panda.run("train", "whole", "--days", "6")
    separate, whole = panda.facts("separate"), panda.facts("whole")
    assert [d["state"] for d in separate["days"]] == ["done"] * 7
    assert life(separate) == life(whole)
    assert [e[0] for e in life(whole)] == list(range(241))


@pytest.mark.slow
def test_a_nudge_from_another_process_and_a_second_trainer(panda: Panda, engine_of: Engine) -> None:
    said = panda.run("start", "baby", *STUDY, "--day", "4000epochs")
    assert "next: caviar panda train baby" in said
    process = panda.start("train", "baby")
    until_epoch(engine_of, 3)
    told = panda.run("train", "baby", code=2)
    assert f"'baby' is one model, and {os.uname().nodename}:{process.pid} (cpu) trains it: day 1" in told
    assert "caviar panda log baby --watch" in told
    with engine_of.connect() as connection:
        before = connection.scalar(text("SELECT max(epoch) FROM caviar.epoch"))
    both = [panda.start("nudge", "baby", "learning_rate=0.01", "--why", why) for why in ("this", "that")]
    assert [p.wait() for p in both] == [0, 0]
    with engine_of.connect() as connection:
        given = connection.scalar(text("SELECT max(epoch) FROM caviar.epoch"))
    until_epoch(engine_of, given + 5)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "go on with: caviar panda train baby" in said
    day = panda.facts("baby")["days"][1]
    assert sorted(n["why"] for n in day["nudges"]) == ["that", "this"]
    assert [n["at"] for n in day["nudges"]] == sorted(n["at"] for n in day["nudges"])
    assert all(before <= n["epoch"] <= given + 1 for n in day["nudges"])
    with engine_of.connect() as connection:
        rates = dict(connection.execute(text("SELECT epoch, learning_rate FROM caviar.epoch")).tuples().all())
    last = max(n["epoch"] for n in day["nudges"])
    assert rates[last + 1] == 0.01
    assert rates[min(n["epoch"] for n in day["nudges"])] == 0.1


@pytest.mark.slow
def test_a_life_as_a_user_leads_it(panda: Panda) -> None:
    panda.run("start", "baby", *STUDY, "--set", "learning_rate=0.01", "--day", "2epochs")
    panda.run("train", "baby", "--days", "2")
    assert "learning_rate 0.1, when it goes on: caviar panda train baby" in panda.run(
        "nudge", "baby", "learning_rate=0.1", "--why", "slow"
    )
    panda.run("train", "baby")
    assert "the next day of baby builds on day 2" in panda.run("back", "baby")
    said = panda.run("try", "baby", "learning_rate=0.1,0.5", "momentum=0.95", "--epochs", "2", "--pick")
    assert "as it was" in said
    assert "the next day builds on day" in said
    panda.run("train", "baby")
    panda.run("note", "baby", "no more of [/] this")
    said = panda.run("log", "baby")
    assert "x day 3" in said
    assert "learning_rate 0.1  (slow)" in said
    assert "went back here from day 3" in said
    assert "no more of [/] this" in said
    facts = panda.facts("baby")
    assert facts["days"][8]["parent"] == facts["branch"][-2]
    assert facts["head"] == 8
    refused = {"layers=4": "cannot be changed", "learning_rate=9": "not of its range", "epsilon=1e-7": "has no effect"}
    for word, why in refused.items():
        told = panda.run("nudge", "baby", word, code=2)
        assert why in told
        assert told.count("\n") == 1
    assert "give either --study STUDY" in panda.run("start", "other", code=2)
    assert "no study 'other' in the database" in panda.run("train", "other", code=2)
