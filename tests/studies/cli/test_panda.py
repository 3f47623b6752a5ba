"""`caviar panda` as a user runs it: real processes, killed in the middle of a day."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest
from sqlalchemy import Engine, text

from caviar.studies.cli import run

STUDY = ("--study", "digits", "--set", "batch_size=32")


class Panda:
    """Runs the command against one database: in this process, which has imported torch already, or in its own."""

    def __init__(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self._command = [*command, "panda"]
        self._capsys = capsys

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def in_its_own(self, *arguments: str) -> None:
        process = self.start(*arguments)
        _, told = process.communicate(timeout=600)
        assert process.returncode == 0, told

    def run(self, *arguments: str, code: int = 0) -> str:
        found = run(["panda", *arguments])
        said, told = self._capsys.readouterr()
        assert found == code, told
        return told if code else said

    def facts(self, name: str) -> Any:
        return json.loads(self.run("log", name, "--json"))


@pytest.fixture
def panda(
    caviar: list[str], engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Panda:
    address = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    return Panda(caviar, capsys)


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
def test_three_days_at_once_are_three_commands_with_a_kill_in_one_of_them(panda: Panda, engine: Engine) -> None:
    panda.in_its_own("start", "separate", *STUDY, "--day", "100epochs")
    for day in range(3):
        if day == 1:
            process = panda.start("train", "separate")
            until_epoch(engine, 110)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert panda.facts("separate")["days"][2]["state"] != "done"
        panda.in_its_own("train", "separate")
    panda.run("start", "whole", *STUDY, "--day", "100epochs")
    panda.run("train", "whole", "--days", "3")
    separate, whole = panda.facts("separate"), panda.facts("whole")
    assert [d["state"] for d in separate["days"]] == ["done"] * 4
    assert life(separate) == life(whole)
    assert [e[0] for e in life(whole)] == list(range(301))


@pytest.mark.slow
def test_a_nudge_from_another_process_and_a_second_trainer(panda: Panda, engine: Engine) -> None:
    said = panda.run("start", "baby", *STUDY, "--day", "20000epochs")
    assert "next: caviar panda train baby" in said
    process = panda.start("train", "baby")
    until_epoch(engine, 3)
    told = panda.run("train", "baby", code=2)
    assert f"'baby' is one model, and {os.uname().nodename}:{process.pid} (cpu) trains it: day 1" in told
    assert "caviar panda log baby --watch" in told
    with engine.connect() as connection:
        before = connection.scalar(text("SELECT max(epoch) FROM caviar.epoch"))
    both = [panda.start("nudge", "baby", "learning_rate=0.01", "--why", why) for why in ("this", "that")]
    assert [p.wait() for p in both] == [0, 0]
    with engine.connect() as connection:
        given = connection.scalar(text("SELECT max(epoch) FROM caviar.epoch"))
    until_epoch(engine, given + 5)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "go on with: caviar panda train baby" in said
    day = panda.facts("baby")["days"][1]
    assert sorted(n["why"] for n in day["nudges"]) == ["that", "this"]
    assert [n["at"] for n in day["nudges"]] == sorted(n["at"] for n in day["nudges"])
    assert all(before <= n["epoch"] <= given + 1 for n in day["nudges"])
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT epoch, CAST(metrics ->> 'learning_rate' AS float8) AS rate FROM caviar.epoch")
        )
        rates = {row.epoch: row.rate for row in rows}
    last = max(n["epoch"] for n in day["nudges"])
    assert rates[last + 1] == 0.01
    assert rates[min(n["epoch"] for n in day["nudges"])] == 0.1


def test_a_life_as_a_user_leads_it(panda: Panda) -> None:
    panda.run("start", "baby", *STUDY, "--set", "learning_rate=0.01", "--day", "2epochs")
    panda.run("train", "baby", "--days", "2")
    assert "learning_rate 0.1, when it goes on: caviar panda train baby" in panda.run(
        "nudge", "baby", "learning_rate=0.1", "--why", "slow"
    )
    panda.run("train", "baby")
    assert "the next day of baby builds on day 2" in panda.run("back", "baby")
    said = panda.run("try", "baby", "learning_rate=0.1", "dropout=0.1", "momentum=0.95", "--epochs", "2", "--pick")
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
    refused = {"layers=4": "cannot be changed", "learning_rate=9": "out of its range", "epsilon=1e-7": "has no effect"}
    for word, why in refused.items():
        told = panda.run("nudge", "baby", word, code=2)
        assert why in told
        assert told.count("\n") == 1
    assert "give either --study STUDY" in panda.run("start", "other", code=2)
    for words in (("train", "other"), ("log", "other"), ("nudge", "other", "learning_rate=1")):
        refused = panda.run(*words, code=2)
        assert "no study 'other' in the database" in refused
        assert "begin a panda of that name with: caviar panda start other --study STUDY" in " ".join(refused.split())
