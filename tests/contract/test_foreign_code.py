"""Code of the user's own cannot end Caviar, whichever way it leaves; nor does a process that it forks go on as one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from caviar.foreign_code import LeftPython, end_process, no_exit


def leave(how: Callable[[], object]) -> None:
    with no_exit(next_step="; next"):
        how()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (lambda: sys.exit(), "it calls sys.exit(), which would end Caviar; next"),
        (lambda: sys.exit("no\nmore"), "it calls sys.exit('no\\nmore'), which would end Caviar; next"),
        (lambda: os._exit(0), "it calls os._exit(0), which would end Caviar; next"),
        (lambda: os._exit(3), "it calls os._exit(3), which would end Caviar; next"),
    ],
)
def test_a_call_that_leaves_python_is_an_error(how: Callable[[], object], told: str) -> None:
    with pytest.raises(LeftPython) as left:
        leave(how)
    assert str(left.value) == told


def test_a_nested_guard_leaves_the_outer_one_on() -> None:
    def leave_twice() -> None:
        with pytest.raises(LeftPython):
            leave(lambda: os._exit(0))
        os._exit(0)

    with pytest.raises(LeftPython):
        leave(leave_twice)


def exit_code_of(child: Callable[[], object]) -> int:
    """Return with which code a process ends that guarded code forks; 99 where it would go on as if it were this one."""
    ours = os.getpid()
    try:
        with no_exit():
            process = os.fork()
            if not process:
                child()
    finally:
        if os.getpid() != ours:
            end_process(99)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def raise_error() -> None:
    raise ValueError


@pytest.mark.parametrize(
    ("child", "code"),
    [
        (lambda: None, 0), (lambda: sys.exit(3), 3), (lambda: sys.exit("text"), 1), (lambda: os._exit(4), 4),
        (raise_error, 1),
    ],
)  # fmt: skip
def test_a_process_that_the_code_forks_ends_where_it_would_come_back(child: Callable[[], object], code: int) -> None:
    assert exit_code_of(child) == code


def test_other_threads_and_code_outside_leave_as_ever() -> None:
    process = os.fork()
    if not process:
        with no_exit():
            thread = threading.Thread(target=os._exit, args=(5,))
            thread.start()
            thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 5
    process = os.fork()
    if not process:
        os._exit(6)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 6
