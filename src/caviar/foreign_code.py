"""Code of the user's own, such as a study's file or a model, which may end Python instead of raising an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from caviar.errors import CaviarError
from caviar.text import quoted

IN_A_MODULE = '; put a program\'s lines under: if __name__ == "__main__":'  # the next step where a module is imported

end_process = os._exit  # Python's own, for Caviar to call
_guarded = threading.local()  # `process` is the id of the process in which a thread runs code of the user's own


class LeftPython(Exception):
    """Code of the user's own called `sys.exit` or `os._exit`, or raised a class that is no `Exception`."""


def reason_of(error: BaseException) -> str:
    """Return the class and the message of an error in one line, whatever its class does; of Caviar's own the message,
    which says it all."""
    try:
        with no_exit():
            message = str(error)
    except Exception:  # noqa: BLE001 - a class of the user's own
        message = "its message cannot be read"
    reason = message if isinstance(error, LeftPython | CaviarError) else f"{type(error).__name__}: {message}"
    return reason.splitlines()[0] if reason else ""


class _HardExit(SystemExit):
    """What `os._exit` raises in code of the user's own."""


@contextmanager
def no_exit(next_step: str = "") -> Iterator[None]:
    """Turn what would end this process into an error with the same traceback; Ctrl-C stays what it is.

    A process that the code forks, and that comes out of it here, ends: it is none of Caviar's, and must not go on as if
    it were, with this one's lease and connections.

    Args:
        next_step: ends the message of a call of `sys.exit`.

    Raises:
        LeftPython: the code called `sys.exit` or `os._exit`, or raised another class that is no `Exception`.
    """
    before = getattr(_guarded, "process", None)
    _guarded.process = process = os.getpid()
    os._exit = _exit_unless_guarded
    try:
        yield
    except (Exception, KeyboardInterrupt):
        _end_if_forked(process, 1)
        raise
    except SystemExit as error:
        _end_if_forked(process, error.code)
        call = "os._exit" if isinstance(error, _HardExit) else "sys.exit"
        raise LeftPython(
            f"it calls {call}({'' if error.code is None else quoted(error.code)}), which would end Caviar{next_step}"
        ).with_traceback(error.__traceback__) from None
    except BaseException as error:
        _end_if_forked(process, 1)
        raise LeftPython(f"it raises {type(error).__name__}, which is no Exception").with_traceback(
            error.__traceback__
        ) from error
    finally:
        _end_if_forked(process, 0)
        _guarded.process = before


def _exit_unless_guarded(status: int) -> NoReturn:
    """Take the place of `os._exit`: raise an error in code of the user's own, and else do what that does.

    It stays once it is there: threads that took turns at putting it back could leave the wrong one. Another thread, and
    a process that the code has forked, such as one that loads data, end as they always do.
    """
    if getattr(_guarded, "process", None) == os.getpid():
        raise _HardExit(status)
    end_process(status)


def _end_if_forked(process: int, code: object) -> None:
    if os.getpid() != process:
        end_process(code if isinstance(code, int) else int(code is not None))
