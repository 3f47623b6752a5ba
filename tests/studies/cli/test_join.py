"""`caviar join` and control from elsewhere: what is compared, refused, noted, obeyed and told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.records import Provenance
from caviar.storage.timing import RENEW
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import package_versions, provenance_of
from tests.helpers.command import Caviar, until
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

Said = Callable[..., tuple[str, str]]


@pytest.fixture
def said(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def say(*words: str, code: int = 0) -> tuple[str, str]:
        assert run(list(words)) == code, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return say


def begun_elsewhere(engine: Engine, **other: Any) -> None:
    """Register a study as a machine with other code, data or packages did."""
    here = provenance_of(small_study(), Path("nowhere"))
    packages = {**package_versions(), **other.pop("packages", {})}
    own = {"code": here.code, "files": here.files, "data": here.data}
    open_study(engine, small_study(), Provenance(packages, **{**own, **other}))


def test_a_machine_joins_works_and_sums_up(engine: Engine, said: Said) -> None:
    begun_elsewhere(engine)
    out, _ = said("join", "small", "--workers", "1")
    assert "joining small: 8 trials of mlp on digits, tiered; workers: 1 on cpu" in out
    assert "this machine finished 8 trial(s) with 1 worker(s)" in out
    assert "small is complete" in out
    assert "  test              accuracy " in out
    assert [e.kind for e in read_events(engine, load_study(engine, "small").study_id)] == ["created"]
    assert "nothing is left to do" in said("join", "small")[0]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"code": "abc" * 9}, "code (Caviar)"),
        ({"code": "abc" * 9, "files": None}, "code"),  # begun by an older Caviar
        ({"data": "abc" * 9}, "data"),
        ({"code": "x", "data": "y"}, "code (Caviar), data"),
        ({"files": {"net.py": "abc" * 9}}, "code (net.py)"),
    ],
)
def test_another_machine_is_refused_with_both_sides_or_noted(
    engine: Engine, said: Said, other: dict[str, Any], what: str
) -> None:
    begun_elsewhere(engine, **other)
    _, err = said("join", "small", code=2)
    assert f"not the same here as where 'small' was begun: {what}; " in err
    assert "--allow-mismatch" in err
    assert "abcabcabcabc" in err or " x " in err  # the table of both sides
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.worker")) == 0
    out, _ = said("join", "small", "--workers", "1", "--allow-mismatch")
    assert "small is complete" in out
    (noted,) = read_events(engine, load_study(engine, "small").study_id, "mismatch allowed")
    assert len(noted.detail) == len(what.split(","))


def test_other_versions_are_only_noted(engine: Engine, said: Said) -> None:
    begun_elsewhere(engine, packages={"torch": "1.0", "python": "3.99"})
    _, err = said("join", "small", "--workers", "1")
    assert "1.0" in err
    (noted,) = read_events(engine, load_study(engine, "small").study_id, "other versions")
    assert noted.detail["torch"].startswith("1.0 there")


@pytest.mark.parametrize("options", [(), ("--allow-mismatch",)])
def test_another_major_version_of_optuna_is_never_allowed(engine: Engine, said: Said, options: tuple[str, ...]) -> None:
    begun_elsewhere(engine, packages={"optuna": "4.9.0"})
    assert "was begun with optuna 4.9.0" in said("join", "small", *options, code=2)[1]
    assert "was begun with optuna 4.9.0" in said("run", "small", code=2)[1]


def test_a_clock_that_is_wrong_is_told(engine: Engine, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    begun_elsewhere(engine)
    monkeypatch.setattr("caviar.studies.workers.local.preparation.clock_skew", lambda engine: 3600.0)
    _, err = said("join", "small", code=2)
    assert "begun: clock; " in err
    assert "+3600 s" in err


def test_a_stopped_study_is_left_alone(engine: Engine, said: Said) -> None:
    begun_elsewhere(engine)
    said("stop", "small")
    assert "go on with: caviar resume small" in said("join", "small")[0]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.worker")) == 0
    said("resume", "small")
    assert "small is complete" in said("join", "small", "--workers", "1")[0]
    kinds = [e.kind for e in read_events(engine, load_study(engine, "small").study_id)]
    assert kinds == ["created", "stopped", "resumed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("join", "nothing"), "no study 'nothing' in the database"),
        (("join", "small", "--gpus", "7"), "torch sees no GPU 7 here"),
        (("join", "small", "--lease", "10"), f"a lease of 10 s cannot be renewed every {RENEW:g} s"),
        (("join", "small", "--workers", "0"), "there is nothing to work on"),
        (("pause", "nothing"), "no study 'nothing'"),
        (("kill", "small", "3"), "trial 3 of 'small' has not begun"),
        (("kill", "small", "-1"), "No such option"),
        (("extend", "small", "--budget", "8"), "has a budget of 8 trials already"),
        (("extend", "small"), "Missing option '--budget'"),
    ],
)
def test_bad_input(engine: Engine, said: Said, words: tuple[str, ...], message: str) -> None:
    begun_elsewhere(engine)
    assert message in " ".join(said(*words, code=2)[1].split())


def test_workers_are_shown(engine: Engine, said: Said) -> None:
    record, study = register(engine)
    assert "start some with: caviar join" in said("workers")[0]
    worker(engine, record, study).run()
    told = said("workers", "small")[0]
    assert "(1 ended: --all shows them)" in told
    assert "'small' is done; next: caviar join small" in told  # which measures the winner
    (one,) = json.loads(said("workers", "--all", "--json")[0])
    assert (one["study"], one["host"], one["device"], one["state"]) == ("small", "test", "cpu", "ended")


@pytest.fixture
def joined(caviar: list[str], database_url: URL, tmp_path: Path) -> Caviar:
    return Caviar(caviar, database_url, tmp_path)


def leased(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM caviar.slot WHERE state = 'leased' AND epoch > 0")) or 0


@pytest.mark.slow
def test_a_paused_machine_waits_with_its_workers_gone_and_goes_on(engine: Engine, joined: Caviar) -> None:
    register(engine, epochs=300, pruner="none", strategy="random", budget=4)
    machine = joined.start("join", "small", "--workers", "2")
    until(lambda: leased(engine) == 2)
    joined.run("pause", "small")
    until(lambda: leased(engine) == 0)
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
    workers = {row[0] for row in _rows(engine, "SELECT pid FROM caviar.worker")}
    until(lambda: not any(Path(f"/proc/{pid}").exists() and _alive(pid) for pid in workers))
    assert children.exists()
    assert machine.poll() is None
    assert json.loads(joined.run("status", "small", "--json"))["state"] == "paused"
    joined.run("resume", "small")
    said, _ = machine.communicate(timeout=200)
    assert machine.returncode == 0, said
    assert "small is complete" in said
    assert _rows(engine, "SELECT max(attempts) FROM caviar.slot")[0][0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "options", "code"), [(signal.SIGTERM, ["--restartable"], os.EX_TEMPFAIL), (signal.SIGINT, [], 130)]
)
def test_a_machine_leaves_gracefully(
    engine: Engine, joined: Caviar, number: signal.Signals, options: list[str], code: int
) -> None:
    register(engine, epochs=3000, pruner="none", strategy="random", budget=4)
    machine = joined.start("join", "small", "--workers", "2", *options)
    until(lambda: leased(engine) == 2)
    os.kill(machine.pid, number)
    said, _ = machine.communicate(timeout=60)
    assert machine.returncode == code, said
    assert "come back with: caviar join small" in said
    assert leased(engine) == 0
    assert _rows(engine, "SELECT count(*) FROM caviar.checkpoint")[0][0] == 2
    assert _rows(engine, "SELECT count(*) FROM caviar.worker WHERE ended_at IS NULL")[0][0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_to_the_whole_group_is_as_graceful(
    engine: Engine, joined: Caviar, tmp_path: Path, number: signal.Signals
) -> None:
    """As systemd and Slurm send it: the command, its workers, and the fork server between them."""
    study = slow_study(tmp_path, epochs=40, batch_size=512)  # an epoch of one and a half seconds
    machine = joined.start("run", study, "--workers", "2")
    until(lambda: leased(engine) == 2)
    os.killpg(machine.pid, number)
    said, _ = machine.communicate(timeout=60)
    assert machine.returncode == 0, said
    assert _rows(engine, "SELECT count(*) FROM caviar.event WHERE kind = 'worker died'")[0][0] == 0
    assert _rows(engine, "SELECT count(*) FROM caviar.checkpoint")[0][0] == 2
    assert _rows(engine, "SELECT sum(losses) FROM caviar.slot")[0][0] == 0


@pytest.mark.slow
def test_a_stopped_study_lets_long_epochs_come_to_their_end(engine: Engine, joined: Caviar, tmp_path: Path) -> None:
    study = slow_study(tmp_path, epochs=40, batch_size=128)  # an epoch of four and a half seconds
    machine = joined.start("run", study, "--grace", "0")
    until(lambda: leased(engine) == 1)
    joined.run("stop", "mine")
    said, _ = machine.communicate(timeout=60)
    assert machine.returncode == 0, said
    assert "stopped by" in said
    ((checkpoint, epochs),) = _rows(engine, "SELECT c.epoch, s.epoch FROM caviar.checkpoint c, caviar.slot s "
                                            "WHERE s.number = c.slot")  # fmt: skip
    assert checkpoint == epochs


def slow_study(folder: Path, **fields: int) -> str:
    (folder / "slow.py").write_text(
        "import time\nfrom caviar.models.mlp import MLP\n\nclass Net(MLP):\n"
        "    def forward(self, x):\n        time.sleep(self.training / 2)\n        return super().forward(x)\n"
    )
    study = folder / "mine.py"
    study.write_text(
        "from caviar import Log, Study\n"
        f"STUDY = Study(name='mine', model='slow:Net', data='digits', epochs={fields['epochs']}, budget=4,\n"
        "              strategy='random', tiers=({'learning_rate': Log(1e-4, 1, default=0.1)},),\n"
        f"              fixed={{'batch_size': {fields['batch_size']}}})\n"
    )
    return str(study)


@pytest.mark.slow
def test_an_epoch_that_is_longer_than_the_grace_is_abandoned(engine: Engine, joined: Caviar, tmp_path: Path) -> None:
    study = slow_study(tmp_path, epochs=2, batch_size=8)
    machine = joined.start("run", study, "--grace", "1")
    until(lambda: _rows(engine, "SELECT 1 FROM caviar.slot WHERE trial_id IS NOT NULL"))
    machine.terminate()
    said, _ = machine.communicate(timeout=30)  # its epoch would take a minute
    assert machine.returncode == 0, said
    assert _rows(engine, "SELECT count(*) FROM caviar.slot WHERE state = 'open'")[0][0] == 4
    assert _rows(engine, "SELECT count(*) FROM caviar.epoch")[0][0] == 0


def _rows(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query)).all()


def _alive(pid: int) -> bool:
    from caviar.storage.processes import is_alive

    return is_alive(pid)
