"""What many pages ask for is looked at once a second, and made once for each change."""

from __future__ import annotations

import threading

import pytest

from caviar.studies.live import shared as module
from caviar.studies.live.shared import Shared


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_it_is_made_when_its_mark_changes_and_looked_at_once_a_second(clock: list[float]) -> None:
    marks, made = ["a"], []
    looks = []

    def look() -> str:
        looks.append(clock[0])
        return marks[-1]

    shared = Shared(look, lambda mark: made.append(mark) or f"made of {mark}")  # type: ignore[func-returns-value]
    assert [shared.get() for _ in range(20)] == ["made of a"] * 20
    clock[0] += 1
    assert shared.get() == "made of a"
    assert (len(looks), made) == (2, ["a"])
    marks.append("b")
    assert shared.get() == "made of a"
    clock[0] += 1
    assert shared.get() == "made of b"
    marks.append("c")
    shared.expire()
    assert shared.get() == "made of c"
    assert (len(looks), made) == (4, ["a", "b", "c"])


def test_an_error_is_raised_to_all_who_ask_within_a_second_and_then_it_is_tried_again(clock: list[float]) -> None:
    tries = []

    def look() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("away")
        return 1

    shared = Shared(look, lambda mark: mark)
    for _ in range(20):
        with pytest.raises(OSError, match="away"):
            shared.get()
    assert len(tries) == 1
    clock[0] += 1
    assert shared.get() == 1


def test_who_comes_while_it_is_made_waits_for_it() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make(mark: int) -> int:
        made.append(mark)
        begun.set()
        assert go_on.wait(60)
        return mark

    shared = Shared(lambda: 1, make)
    threads = [threading.Thread(target=shared.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert made == [1]
