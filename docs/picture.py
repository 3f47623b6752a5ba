"""Draws the README's pictures of a real run of `digits`: docs/run.svg, the terminal in the middle of it and at its end;
docs/live.png and docs/report.png, as a headless Chromium shows them.

python docs/picture.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

import caviar
from caviar.storage.definitions import find_study
from caviar.storage.engine import open_database
from caviar.storage.settings import read_settings
from caviar.storage.snapshot import Snapshot
from caviar.studies.cli.display import Rate
from caviar.studies.cli.view import Screen, view
from caviar.studies.lifecycle.manager import definition_of, progress, take_snapshot

CAVIAR = Path(sys.executable).parent / "caviar"
HERE = Path(__file__).parent
_COLUMNS = 104
_REPORT, _LIVE = (1200, 1600), (1200, 1300)  # pixels
_MOST = 2**20  # bytes of all pictures together


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium is here, which takes the pictures of the pages; install it: apt-get install chromium")
    for name in [n for n in os.environ if n.startswith(("CAVIAR_", "PG"))]:
        del os.environ[name]  # a person's own database is not for pictures
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "CAVIAR_HOME": home}
        run = subprocess.Popen([CAVIAR, "run", "digits", "--workers", "2"], env=environ, stdout=subprocess.DEVNULL)
        with open_database(read_settings(None, environ)) as engine, _dashboard(environ) as address:
            console = Console(record=True, width=_COLUMNS, force_terminal=True, file=StringIO())
            console.print("[dim]$[/] caviar run digits --workers 2", highlight=False)
            _wait_for_half(engine, run)
            _take(chromium, Path(home), f"{address}/study/digits", HERE / "live.png", _LIVE)
            _watch(engine, console, run)
            _refuse_ended(run.wait() or None)
            console.print("\n[dim]$[/] caviar best digits")
            console.print(_said(environ, "best", "digits").rstrip(), highlight=False)
            (HERE / "run.svg").write_text(console.export_svg(title="caviar"))
            report = Path(home) / "report.html"
            caviar.report("digits", file=report, database=engine)
            _take(chromium, Path(home), report.as_uri(), HERE / "report.png", _REPORT)
    size = sum((HERE / name).stat().st_size for name in ("run.svg", "report.png", "live.png"))
    if size > _MOST:
        sys.exit(f"the pictures have {size:,} bytes, and should have at most {_MOST:,}: make them smaller")
    print(f"docs/run.svg and the pages' two .png are drawn, {size // 1024} KB in all; look at them")


def _wait_for_half(engine: Engine, run: subprocess.Popen[bytes]) -> None:
    """Wait until half of the study's trials are done."""
    while (record := find_study(engine, "digits")) is None or 2 * progress(engine, record).done < progress(
        engine, record
    ).budget:
        _refuse_ended(run.poll())
        time.sleep(0.2)


def _watch(engine: Engine, console: Console, run: subprocess.Popen[bytes]) -> None:
    """Print the moment of a study at which there was most to see: in its second half, the longest running curves."""
    while (record := find_study(engine, "digits")) is None:
        _refuse_ended(run.poll())
        time.sleep(0.2)
    study, rate = definition_of(record), Rate()
    caught: tuple[int, Snapshot, str] | None = None
    while True:
        ended = run.poll()  # before the snapshot, which then has all that it has done
        seen = take_snapshot(engine, record)
        now, pace = seen.progress, rate.in_words(study, seen.progress)
        drawn = sum(map(len, seen.curves.values()))
        if caught is None or (2 * now.done >= now.budget and drawn > caught[0]):
            caught = drawn if 2 * now.done >= now.budget else 0, seen, pace
        if now.done == now.budget:
            break
        _refuse_ended(ended)
        time.sleep(0.1)
    console.print(view(study, _anonymous(caught[1]), caught[2], Screen(_COLUMNS)))


def _refuse_ended(code: int | None) -> None:
    """End where the run has an exit code already; what it said is on stderr."""
    if code is not None:
        sys.exit(f"`caviar run digits` ended with exit code {code} and no winner, so nothing is drawn; mend that first")


def _anonymous(seen: Snapshot) -> Snapshot:
    """Return a snapshot without the names of this machine and its user."""
    running = tuple(replace(r, worker=f"host:{r.worker.rpartition(':')[2]}") for r in seen.progress.running)
    messages = tuple(
        replace(event, detail={**event.detail, "by": "you@host"}) if "by" in event.detail else event
        for event in seen.messages
    )
    progress = replace(seen.progress, running=running)
    return replace(seen, progress=progress, messages=messages, hosts={"host": sum(seen.hosts.values())})


def _said(environ: dict[str, str], *words: str) -> str:
    return subprocess.run([CAVIAR, *words], env=environ, capture_output=True, text=True, check=True).stdout


def _take(chromium: str, home: Path, address: str, picture: Path, size: tuple[int, int]) -> None:
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={home / 'browser'}", f"--window-size={size[0]},{size[1]}",
               "--virtual-time-budget=20000", f"--screenshot={picture}", address]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=True)


@contextmanager
def _dashboard(environ: dict[str, str]) -> Iterator[str]:
    """Serve the pages of the database, and give their address."""
    with subprocess.Popen(
        [CAVIAR, "dashboard", "--port", "0"], env=environ, stdout=subprocess.PIPE, text=True
    ) as dashboard:
        assert dashboard.stdout is not None
        try:
            yield dashboard.stdout.readline().removeprefix("the dashboard is at ").partition(";")[0]
        finally:  # else an error would wait for it forever
            dashboard.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
