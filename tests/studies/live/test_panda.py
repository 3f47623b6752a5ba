"""A panda's live page: the tree of its days, its journal, and what can be changed there."""

from __future__ import annotations

import re

from sqlalchemy import Engine

from caviar.studies.api.dashboard import changes_of
from caviar.studies.live.site import Site
from caviar.studies.panda.journal import read_journal
from tests.helpers.live import ask
from tests.helpers.pandas import born, days
from tests.studies.live.test_pages import optunas


def test_a_panda_is_shown_as_one_and_can_be_nudged_remarked_on_and_taken_back(engine: Engine) -> None:
    record, site = born(engine), Site(engine, optunas, changes_of(engine))
    days(engine, record, 2)
    page = ask(site, "/study/baby").text
    for said in ("a panda: mlp on digits", "a day is 2 epochs", "The tree of its days", "2 (here)", 'class="line w"'):
        assert said in page, said
    assert "Values to try next" not in page
    assert page.count('<circle class="point w"') >= 3  # a day each
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token

    def send(action: str, **fields: str) -> str:
        form = {"token": token[1], **fields}
        return str(ask(site, f"/study/baby/{action}", form, HTTP_ACCEPT="application/json").document)

    assert "takes it when it goes on" in send("nudge", settings="learning_rate=0.05", why="<noisy>")
    assert "noted on day 2 of baby" in send("note", text="dropout next")
    assert "reason" in send("nudge", settings="learning_rate=5000")
    assert "waits for the next epoch: learning_rate 0.05 (&lt;noisy&gt;), by " in ask(site, "/study/baby").text
    assert "the next day of baby builds on day 1" in send("back", to="1")
    page = ask(site, "/study/baby").text
    for said in ("the current branch", "day 2, left", '<th scope="col">changed, and why</th>'):
        assert said in page, said
    journal = read_journal(engine, record)
    assert journal.head == 1
    assert journal.dropped[0].by.endswith(", in the dashboard")
    assert "1 (here)" in ask(site, "/study/baby/live").text
    row = ask(site, "/").text
    assert '<span class="badge panda">panda</span>' in row
    assert "day 2" in row
