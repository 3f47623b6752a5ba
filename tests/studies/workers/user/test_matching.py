"""An expression that would hold its process for ever gives up, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from caviar.studies.errors import CommandFailed
from caviar.studies.workers.user import matching
from caviar.studies.workers.user.matching import TooSlow, search
from caviar.studies.workers.user.reports import from_output


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("(a+)+b", "a" * 60),
        ("(?P<rmse>.*.*.*.*=)y", "a" * 2**18),
        (r"(.*)(.*)(.*)z", "ab" * 2**17),
        (r"\s+$", " " * 2**18 + "x"),
    ],
)
def test_a_match_without_an_end_is_given_up_and_other_threads_go_on(
    monkeypatch: pytest.MonkeyPatch, expression: str, line: str
) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.2)
    looks, is_over = list[float](), threading.Event()

    def look() -> None:
        while not is_over.wait(0.01):
            looks.append(time.process_time())

    other = threading.Thread(target=look)
    other.start()
    with pytest.raises(TooSlow):
        search(re.compile(expression), line)
    given_up = time.process_time()
    while not looks or looks[-1] < given_up:
        time.sleep(0.01)
    is_over.set()
    other.join()
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


def test_what_matches_is_found_in_any_thread() -> None:
    expression, found = re.compile(r"rmse (?P<rmse>\S+)"), list[re.Match[str] | None]()
    found.append(search(expression, "epoch 1 rmse 2.5"))
    other = threading.Thread(target=lambda: found.append(search(expression, "epoch 1 rmse 3.5")))
    other.start()
    other.join()
    assert [match and match["rmse"] for match in found] == ["2.5", "3.5"]
    assert search(expression, "epoch 1") is None


def test_the_reason_shows_the_line_and_is_the_same_for_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SECONDS", 0.2)
    causes = set()
    for letters in (50, 60):
        with pytest.raises(CommandFailed, match=r"takes more than 1 s .* the line: aaaa") as raised:
            from_output(re.compile(r"(a+)+(?P<rmse>b)"), "a" * letters)
        assert "\n" not in str(raised.value)
        causes.add(raised.value.cause)
    assert len(causes) == 1
