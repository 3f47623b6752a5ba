"""What the pages say of studies, what they cost the database, and what they say when it has nothing to say."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine

import caviar
from caviar.storage.definitions import delete_study, load_study
from caviar.storage.engine import make_engine
from caviar.storage.events import record_event
from caviar.storage.fingerprints import read_fingerprints
from caviar.storage.states import EventKind
from caviar.storage.test_results import write_test
from caviar.storage.who import current_user
from caviar.studies.lifecycle.manager import extend_study, open_study
from caviar.studies.live import end, shared
from caviar.studies.live.site import Site
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.formatting import number
from tests.helpers.live import Answer, add_epoch, ask, execute, finish, let_run, statements
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

EVIL = "<script>alert(1)</script>"


def optunas(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"optuna at " + environ["PATH_INFO"].encode()]


@pytest.fixture
def site(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The pages, which look at the database for each request."""
    monkeypatch.setattr(shared, "_SECONDS", 0.0)
    return Site(engine, optunas)


def renewed(site: Site, path: str, version: str = "") -> Answer:
    return ask(site, f"{path.rstrip('/')}/live", HTTP_IF_NONE_MATCH=version)


def test_the_list_has_each_study_with_its_state_its_best_value_its_cost_and_who_began_it(
    engine: Engine, site: Site
) -> None:
    assert "There are no studies yet" in ask(site, "/").text
    record = open_study(engine, small_study())
    open_study(engine, small_study(name="other"))
    let_run(engine, record, 0, 0.5, 0.75)
    finish(engine, record, 0, 0.75)
    let_run(engine, record, 1, 0.25)
    page = ask(site, "/")
    assert page.status == 200
    for said in ('href="/study/small"', "running", "1/8", "accuracy 0.75", "3 epochs, 4.5 s", current_user(), " ago<"):
        assert said in page.text, said
    assert page.text.index("/study/other") < page.text.index("/study/small")
    assert "waiting" in page.text


def test_only_a_study_that_has_changed_is_read_again_for_the_list(engine: Engine, site: Site) -> None:
    records = [open_study(engine, small_study(name=f"study{number}")) for number in range(4)]
    version = renewed(site, "/").document["version"]
    with statements(engine) as sent:
        assert renewed(site, "/", version).status == 304
    assert len(sent) == 1
    let_run(engine, records[2], 0, 0.5)
    with statements(engine) as sent:
        answer = renewed(site, "/", version)
    assert answer.status == 200
    assert "running" in answer.document["parts"]["studies"]
    assert sum("FROM caviar.study st" in statement for statement in sent) == 1
    assert len(sent) < 10


def test_a_study_has_its_tiers_running_trials_workers_and_events(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study(epochs=5))
    let_run(engine, record, 0, 0.5, 0.9)
    finish(engine, record, 0, 0.9)
    let_run(engine, record, 1, 0.3, 0.6, host="gpu-box")
    record_event(engine, record.study_id, EventKind.TAKEN_OVER, slot=1, epoch=1)
    parts = renewed(site, "/study/small").document["parts"]
    assert "running" in parts["state"]
    assert "mlp on digits: 8 trials of 5 epochs to maximize accuracy" in parts["state"]
    assert "1/8" in parts["progress"]
    assert "coarse" in parts["tiers"]
    assert "Best so far: trial 0, accuracy 0.9" in parts["best"]
    assert "gpu-box:4121" in parts["running"]
    assert "2 of 5" in parts["running"]
    assert 'aria-label="the curves of the running trials' in parts["running"]
    assert "cuda:0" in parts["workers"]
    assert "<strong>trial 1: taken over" in parts["events"]


@pytest.mark.parametrize("is_large", [False, True])
def test_a_study_that_is_done_says_who_won_by_how_much_and_what_to_do_next(
    engine: Engine, site: Site, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, study = register(engine, epochs=4, budget=12)
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    monkeypatch.setattr(end, "_ALL", 11 if is_large else 12)
    parts, winner = renewed(site, "/study/small").document["parts"], caviar.best("small", database=engine)
    assert winner is not None
    assert f"The winner is trial {winner.trial}, accuracy {number(winner.value)}, test " in parts["best"]
    assert "Best value: trial" in parts["best"]
    steps = re.findall(r"<code>(.*?)</code>", parts["steps"])
    everywhere = [step.command for step in caviar.next_steps("small", database=engine)]
    assert ("over the default" in parts["best"]) is (not is_large)
    if is_large:
        assert steps == [step for step in everywhere if step in steps]
        assert "is in the full report" in parts["steps"]
        assert "caviar best small --confirm 5" not in steps
    else:
        assert steps == everywhere


def test_what_to_do_next_stands_on_the_page_of_a_study_that_is_not_done(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study(epochs=5))
    let_run(engine, record, 0, 0.5)
    finish(engine, record, 0, 0.5)
    let_run(engine, record, 1, 0.9)
    finish(engine, record, 1, 0.9)
    parts = renewed(site, "/study/small").document["parts"]
    assert "<code>caviar join small</code>" in parts["steps"]
    assert "<b>+0.400</b>" in parts["progress"]  # over the default so far


def test_whatever_is_shown_changes_the_fingerprint(engine: Engine, site: Site) -> None:
    record, seen = open_study(engine, small_study(epochs=5)), set()

    def changed() -> bool:
        before = len(seen)
        seen.add(read_fingerprints(engine, "small")["small"].text)
        return len(seen) > before

    assert changed()
    assert not changed()
    let_run(engine, record, 0, 0.5)
    assert changed()
    add_epoch(engine, record, 0, 0.6)
    assert changed()
    of_study = {"study": record.study_id}
    for statement in (
        "UPDATE caviar.slot SET kill = true WHERE study_id = :study AND number = 0",
        "UPDATE caviar.worker SET last_seen = now() WHERE study_id = :study",
        "UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE study_id = :study AND number = 0",
        "UPDATE caviar.worker SET ended_at = now() WHERE study_id = :study",
        "UPDATE caviar.study SET control = 'pause' WHERE study_id = :study",
    ):
        execute(engine, statement, **of_study)
        assert changed(), statement
    finish(engine, record, 0, 0.6)
    assert changed()
    record_event(engine, record.study_id, EventKind.NOTE, text="seen")
    assert changed()
    extend_study(engine, load_study(engine, "small"), 9)
    assert changed()
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))
    theirs.enqueue_trial({"learning_rate": 0.5})
    assert changed()
    open_study(engine, small_study(name="smaller"))
    assert not changed()
    sibling = open_study(engine, small_study(name="small-wider"))
    assert changed()
    assert not changed()
    execute(engine, "UPDATE caviar.slot SET state = 'abandoned' WHERE study_id = :study", study=sibling.study_id)
    assert changed()


def test_a_renewal_looks_at_what_only_the_page_of_a_study_shows_in_the_same_statement(
    engine: Engine, site: Site
) -> None:
    record = open_study(engine, small_study())
    version = renewed(site, "/study/small").document["version"]
    with statements(engine) as sent:
        assert renewed(site, "/study/small", version).status == 304
    assert len(sent) == 1
    execute(engine, "INSERT INTO public.trials (number, study_id, state) VALUES (90, :optuna, 'WAITING')",
            optuna=record.optuna_study_id)  # fmt: skip
    answer = renewed(site, "/study/small", version)
    assert "1 enqueued trial, which the next slots take" in answer.document["parts"]["progress"]


def test_the_list_sums_the_epochs_of_spent_trials_only_when_one_more_is_spent(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study(epochs=5))
    for slot in (0, 1):
        let_run(engine, record, slot, 0.5, 0.75)
    finish(engine, record, 0, 0.75)
    assert "4 epochs, 6 s" in ask(site, "/").text
    execute(engine, "UPDATE caviar.epoch SET seconds = 100 WHERE slot = 0")
    add_epoch(engine, record, 1, 0.8)
    assert "5 epochs, 7.5 s" in ask(site, "/").text  # as the spent one was before
    finish(engine, record, 1, 0.8)
    assert "5 epochs, 7.5 s" in ask(site, "/").text  # its own are known, too, and no spent one is read again


@pytest.mark.parametrize(("count", "said"), [(12, "of the running trials<"), (13, "the first 12 of 13 running trials")])
def test_a_picture_without_all_running_trials_says_so(engine: Engine, site: Site, count: int, said: str) -> None:
    record = open_study(engine, small_study(epochs=5, budget=20))
    for slot in range(count):
        let_run(engine, record, slot, 0.5)
    assert said in renewed(site, "/study/small").document["parts"]["running"]


def test_a_large_study_says_where_to_read_why_not_the_best_value_won(
    engine: Engine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end, "_ALL", 7)
    record = open_study(engine, small_study())
    for slot in range(8):
        let_run(engine, record, slot, 0.5)
        finish(engine, record, slot, 0.5 + slot / 100)
    write_test(engine, record.study_id, 7, {"accuracy": 0.5})
    assert "caviar best small" not in renewed(site, "/study/small").document["parts"]["best"]
    execute(engine, "UPDATE public.trial_values SET value = 0.9 WHERE value = 0.5")
    record_event(engine, record.study_id, EventKind.NOTE, text="changed")
    best = renewed(site, "/study/small").document["parts"]["best"]
    assert "The winner is trial 7" in best
    assert "Why trial 0 did not win, <code>caviar best small</code> says." in best
    assert "Best value: trial 0" in best


def test_twenty_pages_that_are_open_ask_the_database_no_more_than_one(engine: Engine) -> None:
    record, site = open_study(engine, small_study()), Site(engine, optunas)
    let_run(engine, record, 1, 0.3)
    with statements(engine) as sent:
        answers = {ask(site, "/study/small/live").text for _ in range(20)}
    assert len({json.loads(answer)["version"] for answer in answers}) == 1
    assert sum("FROM caviar.study st" in statement for statement in sent) <= 2  # a second may go by
    assert len(sent) < 30
    assert all(statement.lstrip().startswith("SELECT") for statement in sent), sent
    assert not [statement for statement in sent if re.search(r"FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE", statement)]


def test_what_the_database_holds_is_text_on_a_page(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study())
    let_run(engine, record, 0, 0.5, host=f"{EVIL}\x1b[2J")
    record_event(engine, record.study_id, EventKind.NOTE, text=EVIL, by=f"{EVIL}\u202e")
    execute(engine, "INSERT INTO caviar.event (study_id, kind, detail) VALUES (:study, :kind, '[1]')",
            study=record.study_id, kind=EVIL)  # fmt: skip
    for path in ("/", "/study/small"):
        page = ask(site, path)
        assert page.status == 200, page.text
        assert EVIL not in page.text
        assert not set("\x1b\u202e") & set(page.text)
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "style=" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def test_a_study_that_is_deleted_says_so_and_comes_back(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study())
    version = renewed(site, "/study/small").document["version"]
    delete_study(engine, record)
    gone = renewed(site, "/study/small", version)
    assert gone.status == 404
    assert "no study 'small' in the database" in gone.document["reason"]
    page = ask(site, "/study/small")
    assert page.status == 404
    assert 'data-live="/study/small/live" data-version=""' in page.text
    open_study(engine, small_study())
    back = renewed(site, "/study/small", version)
    assert back.status == 200
    assert back.document["version"] != version


def test_a_database_that_is_away_is_said_without_its_password(engine: Engine, site: Site) -> None:
    open_study(engine, small_study())
    away = make_engine(engine.url.set(host="127.0.0.1", port=1, password="s3cret", query={}))
    for path in ("/live", "/study/small/live", "/study/small/report"):
        answer = ask(Site(away, optunas), path)
        assert answer.status == 503
        assert "the database does not answer: " in answer.text
        assert "s3cret" not in answer.text


def test_a_report_without_its_package_is_not_loaded_again_and_again(
    engine: Engine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(engine, small_study())
    for loaded in [name for name in sys.modules if name.startswith("plotly.")]:  # by other tests of this process
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "plotly", None)
    answer = ask(site, "/study/small/report")
    assert answer.status == 400
    assert "pip install" in answer.text
    assert 'data-live=""' in answer.text
    assert "as soon as it can be" not in answer.text


@pytest.mark.parametrize("path", ["/study/nothing", "/study/nothing/report", "/optuna/nothing"])
def test_a_page_of_a_study_that_is_not_there_yet_waits_for_it(engine: Engine, site: Site, path: str) -> None:
    assert 'data-live="/study/nothing/live" data-version=""' in ask(site, path).text
    open_study(engine, small_study(name="nothing"))
    assert renewed(site, "/study/nothing").status == 200
    assert ask(site, path).status in (200, 302)


@pytest.mark.parametrize("name", ["nothing", "a%00b", "..", EVIL.replace("/", "%2F"), "\xff"])
def test_a_name_that_no_study_has_is_said_in_words(site: Site, name: str) -> None:
    for path in (f"/study/{name}", f"/study/{name}/live", f"/study/{name}/report", f"/optuna/{name}"):
        answer = ask(site, path)
        assert answer.status == 404
        assert EVIL not in answer.text


def test_optunas_dashboard_keeps_its_addresses_and_optuna_leads_there(engine: Engine, site: Site) -> None:
    record = open_study(engine, small_study())
    assert ask(site, "/api/studies").text == "optuna at /api/studies"
    assert ask(site, "/optuna").headers["Location"] == "/dashboard"
    assert ask(site, "/optuna/small").headers["Location"] == f"/dashboard/studies/{record.optuna_study_id}"
    for asset, kind in (("live.js", "javascript"), ("live.css", "css")):
        assert kind in ask(site, f"/assets/{asset}").headers["Content-Type"]
    assert ask(site, "/assets/../site.py").status == 404
