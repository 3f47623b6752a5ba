"""`caviar status --watch` on a real terminal: what is written there, byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest
from sqlalchemy import Engine

from caviar.studies.space.scales import Log
from tests.helpers.studies import TIERS
from tests.helpers.workers import register, worker

_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(columns: int, words: list[str], **environ: str) -> str:
    """Run a command on a terminal of so many columns; return all that it wrote there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], words, {**os.environ, "TERM": "xterm-256color", **environ})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written = b""
    try:
        while chunk := os.read(terminal, 65536):
            written += chunk
    except OSError:  # what Linux says when nobody holds the other end any more
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, written.decode()
    return written.decode()


@pytest.fixture
def watch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name in ("NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    record, study = register(engine, budget=4)
    worker(engine, record, study).run()
    return [sys.executable, "-m", "caviar", "status", "small", "--watch"]


def test_a_terminal_has_colours_and_bars(watch: list[str]) -> None:
    written = on_terminal(80, watch)
    assert "━" in written
    assert re.search(r"\x1b\[[0-9;]*3\d", written)
    assert "next: caviar join small" in _CODES.sub("", written)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_without_colour_and_unicode_it_can_be_read_all_the_same(watch: list[str], columns: int) -> None:
    written = on_terminal(columns, watch, NO_COLOR="1", LANG="C")
    assert written.isascii()
    assert not re.search(r"\x1b\[[0-9;]*[34]\d[0-9;]*m", written)
    lines = re.split(r"[\r\n]+", _CODES.sub("", written))  # a frame begins where the cursor went back
    assert max(map(len, lines)) <= columns
    assert any("4/4 trials" in line for line in lines)


LOOKS = ("ls", "status small", "best small", "trials small", "curves small", "report small", "importance small",
         "compare small other",
         "workers", "workers small --all", "history small", "plan digits", "doctor", "data ls",
         "db current")  # fmt: skip


@pytest.fixture
def trained(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    register(engine, name="other", tiers=({"learning_rate": Log(1e-5, 1, default=0.1)}, *TIERS[1:]))
    record, study = register(engine, budget=12, epochs=30, pruner="none")
    worker(engine, record, study).run()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80])
def test_whatever_looks_can_be_read_on_a_narrow_terminal_without_unicode(trained: None, columns: int) -> None:
    for words in LOOKS:
        written = on_terminal(columns, [sys.executable, "-m", "caviar", *words.split()], LANG="C")
        assert written.isascii(), words
        lines = re.split(r"[\r\n]+", _CODES.sub("", written))
        assert max(map(len, lines)) <= columns, words
        told = " ".join(line.rstrip() for line in lines)
        assert not re.search(r"(?<!\w)\?", told), words  # which stands for what was not ASCII, and after a question
        if words in ("trials small", "curves small"):
            assert len(re.findall(r"learning_rate\s+\S", told)) >= 10, told
            assert len(re.findall(r"decay\s+\d", told)) >= 10, told
        if words == "curves small":
            curves = [found for line in lines if (found := re.search(r" ([_.~=+*#-]{10,})$", line.rstrip()))]
            assert {len(curve[1]) for curve in curves} == {30 if columns == 80 else 16}, told
            assert len(curves) == 10


@pytest.mark.parametrize("unicode", [True, False])
def test_a_wide_terminal_has_hyperparameters_beside(unicode: bool, trained: None) -> None:
    words = [sys.executable, "-m", "caviar", "trials", "small"]
    written = on_terminal(160, words, **({} if unicode else {"LANG": "C"}))
    assert len(_CODES.sub("", written).splitlines()) == 13


def test_a_terminal_that_cannot_go_back_has_plain_lines(watch: list[str]) -> None:
    written = on_terminal(80, watch, TERM="dumb")
    assert "\x1b" not in written
    assert written.startswith("4/4 trials  best ")
