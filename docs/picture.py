"""Draws docs/run.svg, the README's picture: the display of a real run of `digits`, caught in the middle.

python docs/picture.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from rich.console import Console

from storage.definitions import find_study
from storage.engine import open_database
from storage.settings import read_settings
from studies.cli.display import Rate
from studies.cli.view import Screen, view
from studies.manager import definition_of, look

CAVIAR = Path(sys.executable).parent / "caviar"
_COLUMNS = 104


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "CAVIAR_HOME": home}
        run = subprocess.Popen([CAVIAR, "run", "digits", "--workers", "2"], env=environ, stdout=subprocess.DEVNULL)
        console, rate = Console(record=True, width=_COLUMNS, force_terminal=True, file=StringIO()), Rate()
        with open_database(read_settings(None, environ)) as engine:
            while (record := find_study(engine, "digits")) is None:
                time.sleep(0.2)
            study = definition_of(record)
            while True:
                seen = look(engine, record)
                now, told = seen.progress, rate.told(seen.progress)
                if now.done >= 24 and len(now.running) >= 2 and all(r.epoch > 3 for r in now.running):
                    break
                time.sleep(0.05)
            console.print("[dim]$[/] caviar run digits --workers 2")
            console.print(view(study, seen, told, Screen(_COLUMNS)))
        run.wait()
        said = subprocess.run([CAVIAR, "best", "digits"], env=environ, capture_output=True, text=True, check=True)
        console.print("\n[dim]$[/] caviar best digits")
        console.print(said.stdout.rstrip(), highlight=False)
    (Path(__file__).parent / "run.svg").write_text(console.export_svg(title="caviar"))


if __name__ == "__main__":
    main()
