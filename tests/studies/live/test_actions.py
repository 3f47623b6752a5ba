"""What a page may change, for whom, and that only its own forms can."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.storage.states import Control
from caviar.storage.who import current_user
from caviar.studies.api.dashboard import changes_of
from caviar.studies.dashboard.access import AccessControl
from caviar.studies.lifecycle.manager import open_study, progress
from caviar.studies.live.actions import ACTIONS
from caviar.studies.live.site import Site
from tests.helpers.live import Answer, ask, let_run
from tests.helpers.studies import small_study
from tests.studies.live.test_pages import optunas

Send = Callable[..., Answer]


@pytest.fixture
def site(engine: Engine) -> Site:
    return Site(engine, optunas, changes_of(engine))


@pytest.fixture
def send(site: Site) -> Send:
    """Sends a form as the script of a page does, with the token that the page has."""

    def send(action: str, study: str = "small", application: Any = site, **fields: str) -> Answer:
        found = re.search(r'name="token" value="([^"]+)"', ask(site, f"/study/{study}").text)
        assert found
        form = {"token": found[1], **fields}
        return ask(application, f"/study/{study}/{action}", form, HTTP_ACCEPT="application/json")

    return send


def test_each_action_calls_its_function_and_is_an_event_with_who_did_it(engine: Engine, send: Send) -> None:
    record = open_study(engine, small_study())
    let_run(engine, record, 0, 0.5)
    said = [
        send("pause").document["done"], send("pause").document["done"], send("resume").document["done"],
        send("stop").document["done"], send("kill", trial="0").document["done"],
        send("enqueue", values="learning_rate=0.03 layers=3").document["done"],
        send("extend", budget="12").document["done"],
    ]  # fmt: skip
    assert said == [
        "small is paused; 1 trial(s) are given back after their epoch", "small is paused already", "small is active",
        "small is stopped; 1 trial(s) are given back after their epoch", "the trial of small ends after its epoch",
        "the next trial of small that begins has learning_rate 0.03, layers 3",
        "small has 12 trials now, of which 0 are done",
    ]  # fmt: skip
    events = read_events(engine, record.study_id)[1:]
    kinds = ["paused", "resumed", "stopped", "kill asked", "enqueued", "definition changed"]
    assert [event.kind for event in events] == kinds
    assert {event.detail["by"] for event in events} == {f"{current_user()}, in the dashboard"}
    assert progress(engine, load_study(engine, "small")).budget == 12


def test_with_a_password_it_is_the_name_given_with_it_and_the_address(engine: Engine, site: Site, send: Send) -> None:
    record = open_study(engine, small_study())
    access = AccessControl(site, "open sesame", changes=True)
    given = "Basic " + base64.b64encode(b"ann\x1b[2J:open sesame").decode()
    found = re.search(r'name="token" value="([^"]+)"', ask(site, "/study/small").text)
    assert found
    more = {"HTTP_AUTHORIZATION": given, "REMOTE_ADDR": "10.0.0.7", "HTTP_ACCEPT": "application/json"}
    assert ask(access, "/study/small/pause", {"token": found[1]}, **more).status == 200
    assert ask(access, "/study/small/pause", {"token": found[1]}, REMOTE_USER="root").status == 401
    (event,) = read_events(engine, record.study_id)[1:]
    assert event.detail["by"] == "ann\\x1b[2J@10.0.0.7, in the dashboard"


@pytest.mark.parametrize("token", ["", "x", "\xe4"])
def test_without_the_token_of_a_page_nothing_is_changed(engine: Engine, site: Site, token: str) -> None:
    open_study(engine, small_study())
    for action in ACTIONS:
        answer = ask(site, f"/study/small/{action}", {"token": token, "trial": "0", "budget": "9"})
        assert answer.status == 403
        assert "load it again" in answer.document["reason"]
    assert load_study(engine, "small").control == Control.RUN


def test_what_cannot_be_done_is_said_in_one_sentence(engine: Engine, send: Send) -> None:
    open_study(engine, small_study())
    for action, fields, why in (
        ("extend", {"budget": "4"}, "'small' has a budget of 8 trials already"),
        ("extend", {"budget": "many"}, "budget 'many': give a whole number"),
        ("extend", {}, "Trials in all: nothing is given"),
        ("enqueue", {"values": "learning_rate"}, "'learning_rate' is no setting; give name=value"),
        ("enqueue", {"values": "learning_rate=7"}, "learning_rate"),
        ("kill", {"trial": "99"}, "'small' has no trial 99"),
        ("nudge", {"settings": "learning_rate=0.1"}, "small"),
        ("delete", {}, "there is no action 'delete'"),
    ):
        answer = send(action, **fields)
        assert answer.status in (400, 404), (action, answer)
        assert why in answer.document["reason"]


def test_where_nothing_may_be_changed_there_are_no_forms_and_no_way(engine: Engine) -> None:
    open_study(engine, small_study())
    site = Site(engine, optunas)
    assert "<form" not in ask(site, "/study/small").text
    assert "--allow-changes" in ask(site, "/study/small").text
    assert ask(site, "/study/small/pause", {"token": ""}).status in (404, 405)
    assert load_study(engine, "small").control == Control.RUN


def test_without_a_script_a_page_says_what_came_of_it(engine: Engine, site: Site) -> None:
    open_study(engine, small_study())
    found = re.search(r'name="token" value="([^"]+)"', ask(site, "/study/small").text)
    assert found
    answer = ask(site, "/study/small/pause", {"token": found[1]})
    assert answer.status == 200
    assert "small is paused" in answer.text
    assert 'data-live=""' in answer.text  # it is not loaded again, which would send the form again
