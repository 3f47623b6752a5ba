"""No command prints a control character or takes a word for markup that somebody with a worker's password wrote."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from caviar.storage.grants import RIGHTS, grant_worker
from caviar.studies.cli import run
from caviar.studies.cli.output import print_crash
from tests.helpers.pandas import born, days
from tests.helpers.roles import engine_as, execute, new_role
from tests.helpers.workers import register, worker

BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Sets a title, fills the clipboard, clears the screen by 8-bit CSI, writes backwards; opens a link, closes no markup.
EVIL = "evil\x1b]0;title\x07\x1b]52;c;eA==\x07\x9b2J\r\x7f\u202e[link=http://evil][/nothing]"
WRITTEN = f"'{EVIL}'"
IN_JSON = "'" + json.dumps({EVIL: EVIL}) + "'"

# What a worker's role writes, of which each text is evil: on the study `small`, and the panda `baby`.
STATEMENTS = [
    f"INSERT INTO caviar.worker (worker_id, study_id, host, machine, pid, device, packages, job) "
    f"SELECT gen_random_uuid(), study_id, {WRITTEN}, {WRITTEN}, 1, {WRITTEN}, {IN_JSON}, {WRITTEN} FROM caviar.study",
    *(
        f"INSERT INTO caviar.event (study_id, kind, slot, worker_id, detail) "
        f"SELECT s.study_id, '{kind}', 1, w.worker_id, '{json.dumps(detail)}' "
        f"FROM caviar.study s JOIN caviar.worker w ON w.study_id = s.study_id AND host LIKE 'evil%'"
        for kind, detail in (
            (EVIL, {EVIL: EVIL}),
            ("note", {"text": EVIL, "by": EVIL, "note": EVIL}),
            ("stopped", {"why": EVIL, "by": EVIL}),
            ("checkpoint refused", {"trial": 1, "reason": EVIL}),
            ("trial failed", {"error": EVIL, "traceback": EVIL}),
        )
    ),
    f"INSERT INTO caviar.nudge (study_id, settings, why, by) "
    f"SELECT study_id, '{json.dumps({'learning_rate': EVIL})}', {WRITTEN}, {WRITTEN} FROM caviar.panda",
    f"INSERT INTO caviar.checkpoint (study_id, slot, epoch, digest, address) "
    f"SELECT study_id, 1, 1, {WRITTEN}, {WRITTEN} FROM caviar.study ON CONFLICT (study_id, slot) DO UPDATE "
    f"SET digest = excluded.digest, state = NULL, address = excluded.address",
    f"UPDATE caviar.epoch SET metrics = metrics || {IN_JSON}",
    f"INSERT INTO caviar.test_result (study_id, slot, metrics) SELECT study_id, number, {IN_JSON} FROM caviar.slot",
    *(
        f"INSERT INTO public.{table} (trial_id, key, value_json) SELECT trial_id, key, '{json.dumps(EVIL)}' "
        f"FROM public.trials, unnest(ARRAY[{WRITTEN}, 'why it stopped', 'worker']) key "
        f"ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
        for table in ("trial_user_attributes", "trial_system_attributes")
    ),
    f"INSERT INTO public.trial_params (trial_id, param_name, distribution_json) "
    f"SELECT trial_id, {WRITTEN}, {IN_JSON} FROM public.trials",
    f"INSERT INTO public.study_system_attributes (study_id, key, value_json) "
    f"SELECT study_id, {WRITTEN}, {IN_JSON} FROM public.studies",
]
# These may make a command fail, and its error is printed.
BROKEN = [
    f"INSERT INTO caviar.slot (study_id, number, tier, phase, free, state) "
    f"SELECT study_id, 99, 1, {WRITTEN}, ARRAY[{WRITTEN}], 'open' FROM caviar.study",
    f"INSERT INTO caviar.day (study_id, number, begins_at, settings, decay_from, is_look) "
    f"SELECT study_id, 99, 0, {IN_JSON}, 0, false FROM caviar.panda",
]
LIMITED = {"caviar.slot.state", "caviar.nudge.state", "caviar.study.control"}  # whose texts a constraint lists

COMMANDS = [
    ["ls"], ["status"], ["status", "small"], ["best", "small"], ["trials", "small"], ["trials", "small", "--csv"],
    ["importance", "small"], ["curves", "small"], ["curves", "small", "--metric", "x"],
    ["report", "small"], ["report", "small", "-o", "small.html"],
    ["export", "small", "--to", "small.csv"], ["export", "small", "--to", "epochs.csv", "--epochs"],
    ["workers"], ["workers", "small", "--all"], ["history", "small"],
    ["workers", "--stop", "nowhere"], ["workers", "--stop", EVIL],
    ["doctor"], ["doctor", "--fix"], ["best", "small", "--save", "saved"], ["kill", "small", "1"],
    ["panda", "log", "baby"], ["report", "baby"], ["report", "baby", "-o", "baby.html"], ["history", "baby"],
    ["panda", "nudge", "baby", "learning_rate=0.1"], ["panda", "back", "baby", "--to", "0"],
    ["-v", "panda", "train", "baby"], ["-v", "join", "small", "--workers", "1"],
]  # fmt: skip
AS_JSON = ["status", "trials", "best", "workers", "history", "report", "curves", "doctor", "ls"]


@pytest.fixture
def enemy(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    record, study = register(engine, budget=4)
    worker(engine, record, study).run()
    days(engine, born(engine))
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.chdir(tmp_path)
    with new_role(engine) as name:
        grant_worker(engine, name)
        with engine_as(engine, name) as made:
            yield made


def give(command: list[str]) -> None:
    """Give a command as `main` does, an error that nobody expected included."""
    try:
        run(command)
    except Exception as error:  # noqa: BLE001 - it is printed, as by Python
        print_crash(type(error), error, error.__traceback__)


def each_column(engine: Engine) -> list[str]:
    """Return the columns of text that a worker's role may write."""
    query = text("SELECT column_name FROM information_schema.columns WHERE table_schema || '.' || table_name = :name "
                 "AND data_type IN ('text', 'json', 'jsonb', 'character varying', 'ARRAY')")  # fmt: skip
    found = []
    with engine.connect() as connection:
        for table, rights in RIGHTS.items():
            updated = {c for right in rights if right.startswith("UPDATE") for c in re.findall(r"\w+", right)}
            columns = connection.scalars(query, {"name": table}).all()
            found += [f"{table}.{c}" for c in columns if "INSERT" in rights or c in updated]
    return found


def test_the_evil_words_are_in_every_column_that_a_worker_may_write(engine: Engine, enemy: Engine) -> None:
    """So that a column that is added is thought of."""
    execute(enemy, *STATEMENTS, *BROKEN)
    without = []
    with engine.connect() as connection:
        for column in set(each_column(engine)) - LIMITED:
            table, _, name = column.rpartition(".")
            found = connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {name}::text LIKE '%evil%'"))
            if not found:
                without.append(column)
    assert without == []


@pytest.mark.parametrize("statements", [STATEMENTS, STATEMENTS + BROKEN], ids=["readable", "unreadable"])
def test_no_command_prints_a_control_character(
    enemy: Engine, statements: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    execute(enemy, *statements)
    shown = ""
    for command in [*COMMANDS, *([name, *(["small"] if name not in ("doctor", "ls") else []), "--json"]
                                 for name in AS_JSON)]:  # fmt: skip
        give(command)
        said = capfd.readouterr()
        assert not BAD.search(said.out + said.err), (command, said)
        assert "MarkupError" not in said.err, (command, said)
        shown += said.out + said.err
    assert "evil" in shown
    for page in tmp_path.glob("*.html"):
        body, _, after = page.read_text().partition('<script type="application/json"')
        rows = after.partition("</script>\n<script>")[0]
        assert not BAD.search(body + rows)
        assert "\\u001b" not in rows


def test_json_has_the_whole_text(enemy: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    execute(enemy, *STATEMENTS)
    assert run(["workers", "small", "--all", "--json"]) == 0
    assert EVIL in [found["host"] for found in json.loads(capsys.readouterr().out)]


def test_an_error_that_nobody_expected_is_printed_without_control_characters() -> None:
    code = (
        "import sys; from caviar import __main__; from caviar.studies import cli\n"
        "def broken(): raise RuntimeError('evil\\x1b]0;title\\x07\\x9b2J')\n"
        "cli.run = broken\n"
        "__main__.main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "RuntimeError: evil]0;title2J\n" in found.stderr
    assert not BAD.search(found.stderr)
