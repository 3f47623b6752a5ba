"""How the command line speaks: results on stdout, everything else on stderr, an expected error in one line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from rich.status import Status
    from sqlalchemy import Engine

    from caviar.storage.settings import Settings

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        show_default=False,
        help="PostgreSQL to use instead of CAVIAR_DATABASE_URL; without either, a built-in server. "
        "A password in it can be seen by other users of this machine: better set the variable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

_FILE_WIDTH = 200  # columns of a table that goes to a file or a pipe
_verbose = False


def set_verbose(verbose: bool) -> None:
    """Show tracebacks of expected errors too."""
    global _verbose
    _verbose = verbose


@cache
def out() -> Console:
    """Return the console of results."""
    return console_of(sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH)


@cache
def err() -> Console:
    """Return the console of everything else."""
    return console_of(sys.stderr, stderr=True)


def console_of(stream: TextIO, **options: Any) -> Console:
    """Return a console that writes to a stream what the stream can show; `options` are rich's."""
    if _shows_unicode(stream.encoding):
        return Console(highlight=False, emoji=False, **options)
    from caviar.studies.cli.plain import PlainConsole

    return PlainConsole(highlight=False, emoji=False, **options)


def unicode() -> bool:
    """Say whether results may have more than ASCII."""
    return _shows_unicode(out().encoding)


def _shows_unicode(encoding: str | None) -> bool:
    """Say whether a stream of that encoding may have more than ASCII.

    A locale that is named C is taken at its word: Python would write UTF-8 there (PEP 538 and 540), and the terminal
    need not show it. Where no locale is named, as in containers, there is no such word.
    """
    named = os.environ.get("LC_ALL") or os.environ.get("LANG")
    if not os.environ.get("LC_ALL") and os.environ.get("LC_CTYPE") not in (None, "", "C", "POSIX", "C.UTF-8"):
        named = None
    return (encoding or "utf-8").lower().startswith("utf") and named not in ("C", "POSIX")


def working(at: str) -> Status:
    """Return a context that says on stderr, while it lasts, what is being done; only a terminal has that."""
    return err().status(at, spinner="dots" if _shows_unicode(sys.stderr.encoding) else "line")


def say(line: str) -> None:
    """Print a remark on stderr."""
    err().print(line, style="dim", markup=False, soft_wrap=True)


def tell(line: str, style: str | None = None, *, markup: bool = True) -> None:
    """Print a sentence on stdout: wrapped between words on a terminal, in one line elsewhere."""
    out().print(line, style=style, markup=markup, soft_wrap=not out().is_terminal)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def settings_line(values: Mapping[str, Any]) -> str:
    """Return hyperparameters in one line."""
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())


def settings_of(url: str | None) -> Settings:
    """Return the settings of this process, with the database that the option names, if it does."""
    from caviar.storage.settings import read_settings

    if url and (":" in url.partition("://")[2].rpartition("@")[0] or "password=" in url):
        say("a password in --database-url can be seen by other users of this machine; better set CAVIAR_DATABASE_URL")
    return read_settings(url)


@contextmanager
def database(url: str | None, *, create: bool = True, hurry: Callable[[], bool] | None = None) -> Iterator[Engine]:
    """Open the database that the option or the environment names; `hurry` shortens the wait for one that is busy."""
    from caviar.storage.engine import open_database

    with open_database(settings_of(url), say, create=create, hurry=hurry) as engine:
        yield engine


def fail(error: Exception) -> int:
    """Print an expected error in one line on stderr, and return its exit code; raise any other."""
    from caviar.errors import CaviarError

    if isinstance(error, typer.Abort):
        err().print("caviar: stopped", markup=False)
        return 130
    if isinstance(error, typer.TyperException):  # a wrong word on the command line
        message = " ".join(error.format_message().split())
        err().print(f"caviar: {message} (see: caviar --help)", style="red", markup=False, soft_wrap=True)
        return 2
    if not isinstance(error, CaviarError):
        raise error
    if _verbose:
        err().print_exception()
    else:
        err().print(f"caviar: {error}", style="red", markup=False, soft_wrap=True)
    return error.exit_code
