"""Print results on stdout and everything else on stderr; an expected error is one line.

Everything is printed by a function or a console from here, which leave out control characters.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from caviar.errors import CaviarError
from caviar.studies.cli.consoles import CleanConsole, PlainConsole
from caviar.studies.cli.lines import Pieces, hanging
from caviar.studies.results.formatting import json_text
from caviar.text import one_line, printable

if TYPE_CHECKING:
    from rich.status import Status
    from rich.text import Text

_FILE_WIDTH = 200  # columns of a table that goes to a file or a pipe
_verbose = False
_drawing = False


def set_verbose(verbose: bool) -> None:
    """Show tracebacks of expected errors too."""
    global _verbose
    _verbose = verbose


@cache
def out() -> CleanConsole:
    """Return the console of results, stdout."""
    return console_of(sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH)


@cache
def err() -> CleanConsole:
    """Return the console of everything else, stderr."""
    return console_of(sys.stderr, stderr=True)


def console_of(stream: TextIO, **options: Any) -> CleanConsole:
    """Return a console that writes only characters that a stream can show; `options` are rich's."""
    return (CleanConsole if _shows_unicode(stream.encoding) else PlainConsole)(**options)


def unicode() -> bool:
    """Return whether results may contain more than ASCII."""
    return _shows_unicode(out().encoding)


def _shows_unicode(encoding: str | None) -> bool:
    """Return whether a stream of that encoding may get more than ASCII.

    In a locale named C or POSIX it may not, although Python would write UTF-8 there (PEP 538 and 540): the terminal
    need not show it. Where the environment names no locale, as in containers, the encoding alone decides.
    """
    named = os.environ.get("LC_ALL") or os.environ.get("LANG")
    if not os.environ.get("LC_ALL") and os.environ.get("LC_CTYPE") not in (None, "", "C", "POSIX", "C.UTF-8"):
        named = None
    return (encoding or "utf-8").lower().startswith("utf") and named not in ("C", "POSIX")


def spinner(activity: str) -> Status:
    """Return a context that shows on stderr, if that is a terminal, what is being done while it lasts."""
    return err().status(activity, spinner="dots" if _shows_unicode(sys.stderr.encoding) else "line")


def print_remark(line: str) -> None:
    """Print a line on stderr that is no result: dim, and above the view that is drawn on the same terminal."""
    console = out() if _drawing and err().is_terminal else err()
    console.print(line, style="dim", soft_wrap=not console.is_terminal)


def set_drawing(drawing: bool) -> None:
    """Say whether stdout's console redraws a view, which a line of another console would be written into."""
    global _drawing
    _drawing = drawing


def print_line(line: str | Text, style: str | None = None) -> None:
    """Print a line on stdout: on a terminal wrapped between words and below its first one, in one piece elsewhere."""
    if not out().is_terminal:
        out().print(line, style=style, soft_wrap=True)
    elif isinstance(line, str):
        for each in line.split("\n"):
            out().print(hanging(out().render_str(each)), style=style)
    else:
        out().print(line, style=style)


def print_pieces(pieces: Sequence[str]) -> None:
    """Print a line on stdout: on a terminal broken between pieces, such as settings, in one piece elsewhere."""
    out().print(Pieces(pieces), soft_wrap=not out().is_terminal)


def print_json(record: object) -> None:
    """Print a record as one JSON document on stdout."""
    sys.stdout.write(json_text(record) + "\n")


def print_text(text: str) -> None:
    """Print a text of any number of lines on stdout as it is, such as CSV, without control characters."""
    sys.stdout.write(printable(text))


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_remark(record.getMessage())


_REMARKS = _Remarks()


def print_log() -> None:
    """Print what is logged as remarks from now on: by Caviar, such as the start of the built-in server, and warnings
    of other libraries."""
    logging.getLogger().addHandler(_REMARKS)
    logging.getLogger("caviar").setLevel(logging.INFO)


def print_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error that nobody expected, as Python does, without control characters."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))


def fail(error: Exception) -> int:
    """Print an expected error as one line on stderr and return its exit code; raise any other error again."""
    if isinstance(error, typer.Abort):
        err().print("caviar: stopped")
        return 130
    if isinstance(error, typer.TyperException):  # a wrong word on the command line
        context = getattr(error, "ctx", None)  # that of the command whose words they are
        page = f"{context.command_path if context else 'caviar'} --help"
        if message := error.format_message():  # none where the help was printed, for want of any word
            _print_error(f"{message} (see: {page})")
        return 2
    if not isinstance(error, CaviarError):
        raise error
    if _verbose:
        err().print_exception()
    else:
        _print_error(str(error))
    return error.exit_code


def _print_error(message: str) -> None:
    from rich.text import Text

    line = Text.assemble(("caviar:", "bold red"), f" {one_line(message)}")
    err().print(line, soft_wrap=not err().is_terminal)
