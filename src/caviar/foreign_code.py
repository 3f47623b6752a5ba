"""Code of the user's own, such as a study's file or a model, which may end Python instead of raising an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caviar.text import quoted

IN_A_MODULE = '; put a program\'s lines under: if __name__ == "__main__":'  # the next step where a module is imported


class LeftPython(Exception):
    """Code of the user's own called `sys.exit`, or raised a class that is no `Exception`."""


def reason_of(error: BaseException) -> str:
    """Return the class and the message of an error in one line, whatever its class does."""
    try:
        with no_exit():
            message = str(error)
    except Exception:  # noqa: BLE001 - a class of the user's own
        message = "its message cannot be read"
    reason = message if isinstance(error, LeftPython) else f"{type(error).__name__}: {message}"
    return reason.splitlines()[0] if reason else ""


@contextmanager
def no_exit(next_step: str = "") -> Iterator[None]:
    """Turn what would end this process into an error with the same traceback; Ctrl-C stays what it is.

    Args:
        next_step: ends the message of a call of `sys.exit`.

    Raises:
        LeftPython: the code called `sys.exit`, or raised another class that is no `Exception`.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise LeftPython(
            f"it calls sys.exit({'' if error.code is None else quoted(error.code)}), which would end Caviar{next_step}"
        ).with_traceback(error.__traceback__) from None
    except BaseException as error:
        raise LeftPython(f"it raises {type(error).__name__}, which is no Exception").with_traceback(
            error.__traceback__
        ) from error
