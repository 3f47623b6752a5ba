"""The live pages in a real browser: they follow what happens, can be used by keyboard, and fit a phone."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from caviar.storage.definitions import delete_study, load_study
from caviar.storage.events import record_event
from caviar.storage.states import Control, EventKind
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.panda.journal import read_journal
from tests.helpers.browser import Browser, needs_chromedriver
from tests.helpers.live import add_epoch, execute, finish, let_run
from tests.helpers.pandas import born
from tests.helpers.studies import small_study

pytestmark = needs_chromedriver

ENTER = "\ue007"
SAYS = "return document.body.innerText.includes(arguments[0])"
SAID = "return document.getElementById('said').innerText"
# The texts whose contrast with what is behind them is below 4.5, by WCAG 2's formula.
FAINT = """
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                       return .2126 * r + .7152 * g + .0722 * b; };
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
                        if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const faint = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (!e.getClientRects().length || e.closest("title")) continue;
    const style = getComputedStyle(e), ink = parse(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(ink.slice(0, 3)), light(behind(e).slice(0, 3))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push(`${e.tagName} ${e.textContent} ${style.color}`);
  }
  return faint;
"""
DARK = "return matchMedia('(prefers-color-scheme: dark)').matches"


def test_an_open_page_follows_the_study_and_keeps_what_is_being_typed(
    engine: Engine, address: str, page: Browser
) -> None:
    record = open_study(engine, small_study(epochs=5))
    let_run(engine, record, 0, 0.25)
    page.go(f"{address}/study/small")
    assert page.ask("return document.title") == "small: running 0/8"
    page.ask("document.getElementById('of-values').focus(); document.getElementById('of-values').value = 'layers'")
    add_epoch(engine, record, 0, 0.625)
    page.wait(SAYS, "0.625")
    finish(engine, record, 0, 0.75)
    page.wait("return document.title === 'small: waiting 1/8'")
    assert page.ask(SAYS, "Best so far: trial 0, accuracy 0.75")
    assert page.ask("return document.activeElement.id + ' ' + document.activeElement.value") == "of-values layers"
    assert page.errors() == []


def test_it_is_paused_and_resumed_by_keyboard_and_says_what_came_of_it(
    engine: Engine, address: str, page: Browser
) -> None:
    record = open_study(engine, small_study())
    page.go(f"{address}/study/small")
    page.wait("document.getElementById('pause').focus(); return document.activeElement.id === 'pause'")
    page.press(ENTER)
    page.wait("return document.getElementById('said').innerText === 'small is paused'")
    page.wait("return document.getElementById('resume') !== null")
    assert load_study(engine, "small").control == Control.PAUSE
    execute(engine, "UPDATE caviar.study SET control = 'run' WHERE study_id = :study", study=record.study_id)
    page.wait("return document.getElementById('pause') !== null")  # somebody else resumed it
    page.ask("document.getElementById('of-budget').focus()")
    page.press(f"4{ENTER}")
    page.wait("return document.getElementById('said').className === 'bad'")
    assert "has a budget of 8 trials already" in page.ask(SAID)


def test_by_tab_and_enter_a_study_is_stopped_once_that_is_confirmed_and_a_trial_enqueued(
    engine: Engine, address: str, page: Browser
) -> None:
    open_study(engine, small_study())
    page.go(f"{address}/study/small")
    page.tab_to("stop")
    page.press(ENTER)
    assert page.answer(yes=False) == "Stop? The workers of all machines exit after their epoch."
    page.tab_to("of-values")
    page.press(f"learning_rate=0.03{ENTER}")
    page.wait(f"{SAID} === 'the next trial of small that begins has learning_rate 0.03'")
    assert load_study(engine, "small").control == Control.RUN
    page.wait(SAYS, "1 enqueued trial, which the next slots take")
    page.go(f"{address}/study/small")
    page.tab_to("stop")
    page.press(ENTER)
    page.answer(yes=True)
    page.wait(f"{SAID} === 'small is stopped'")
    page.wait("return document.title === 'small: stopped 0/8'")
    assert load_study(engine, "small").control == Control.STOP
    assert page.errors() == []


def test_a_panda_is_nudged_by_tab_and_enter(engine: Engine, address: str, page: Browser) -> None:
    record = born(engine)
    page.go(f"{address}/study/baby")
    page.tab_to("of-settings")
    page.press("learning_rate=0.05")
    page.tab_to("of-why")
    page.press("noisy")
    page.tab_to("nudge")
    page.press(ENTER)
    page.wait(f"{SAID} === 'baby takes it when it goes on'")
    page.wait(SAYS, "waits for the next epoch: learning_rate 0.05 (noisy)")
    assert [nudge.settings for nudge in read_journal(engine, record).waiting] == [{"learning_rate": 0.05}]
    assert page.ask("return document.getElementById('of-settings').value") == ""


def test_optunas_page_of_a_study_is_opened_once_the_study_is_there(engine: Engine, address: str, page: Browser) -> None:
    page.go(f"{address}/optuna/small")
    assert page.ask(SAYS, "This page cannot be shown now")
    record = open_study(engine, small_study())
    page.wait("return location.pathname === arguments[0]", f"/dashboard/studies/{record.optuna_study_id}")


def test_a_study_that_is_paused_stopped_and_resumed_elsewhere_says_so(
    engine: Engine, address: str, page: Browser
) -> None:
    record = open_study(engine, small_study())
    let_run(engine, record, 0, 0.25)
    page.go(f"{address}/study/small")
    for control, title, said in (
        ("pause", "small: paused 0/8", "Its workers wait."), ("stop", "small: stopped 0/8", "Its workers have left."),
        ("run", "small: running 0/8", "Running trials"),
    ):  # fmt: skip
        execute(engine, f"UPDATE caviar.study SET control = '{control}' WHERE study_id = :study", study=record.study_id)
        page.wait("return document.title === arguments[0]", title)
        assert page.ask(SAYS, said)
    assert not page.ask(SAYS, "Its workers")


def test_a_study_that_is_deleted_and_a_database_that_is_away_are_said_and_the_page_comes_back(
    engine: Engine, address: str, page: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = open_study(engine, small_study())
    page.go(f"{address}/study/small")
    delete_study(engine, record)
    page.wait("return document.getElementById('said').innerText.includes(\"no study 'small'\")")
    assert page.ask("return document.querySelector('main').className") == "stale"
    open_study(engine, small_study(budget=9))
    page.wait("return document.title === 'small: waiting 0/9'")
    page.wait("return document.getElementById('said').innerText === ''")
    port, engine.pool._creator = engine.pool._creator, _refused  # type: ignore[attr-defined]
    engine.dispose()
    page.wait("return document.getElementById('said').innerText.includes('the database does not answer')")
    page.go(f"{address}/study/small")  # a page that cannot be shown now, either
    page.wait(SAYS, "This page cannot be shown now")
    engine.pool._creator = port  # type: ignore[attr-defined]
    page.wait("return document.title === 'small: waiting 0/9'")


def test_a_report_that_cannot_be_shown_while_the_study_can_is_asked_for_less_and_less_often(
    engine: Engine, address: str, page: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(engine, small_study())
    asked, is_broken = list[object](), [True]

    def report_of(*given: object) -> str:
        asked.append(given)
        if is_broken:
            raise DatabaseError("", {}, Exception("statement timeout"))
        return "<h1>The report</h1>"

    monkeypatch.setattr("caviar.studies.live.site.report_page", report_of)
    page.go(f"{address}/study/small/report")
    page.wait("return document.querySelector('main').dataset.pause >= 8000", seconds=300)
    assert len(asked) <= 6  # and not every two seconds
    is_broken.clear()
    page.wait(SAYS, "The report", seconds=300)


def _refused(*_: object) -> None:
    from psycopg2 import OperationalError

    raise OperationalError("connection refused")


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read_and_nothing_is_out_of_reach_at_any_width(
    engine: Engine, address: str, page: Browser, dark: bool
) -> None:
    record = open_study(engine, small_study(name="a" * 100, epochs=5))
    for slot in range(3):
        let_run(engine, record, slot, 0.5, 0.6, host=f"a-host-with-a-long-name-{slot}.example.org")
    finish(engine, record, 0, 0.75)
    execute(engine, "UPDATE caviar.slot SET kill = true WHERE number = 1")
    record_event(engine, record.study_id, EventKind.NOTE, text="long" * 60)
    done = open_study(engine, small_study(name="b" * 100, budget=4))
    for slot in range(4):
        let_run(engine, done, slot, 0.5)
        finish(engine, done, slot, 0.5 + slot / 100)
    born(engine, "c" * 100)
    page.prefer("dark" if dark else "light")
    for path in ("/", *(f"/study/{name}" for name in (record.name, done.name, "c" * 100, "nothing"))):
        page.go(address + path)
        assert page.ask(DARK) is dark
        for width in (1440, 768, 390):
            page.emulate(width)
            page.wait("return innerWidth === arguments[0]", width)
            assert page.ask("return document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert page.ask(FAINT) == [], (path, width)
