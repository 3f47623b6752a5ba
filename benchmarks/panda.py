"""Does the advice of `caviar panda log` lead out of bad settings? A script follows it blindly, day by day.

    python benchmarks/panda.py [--days 10] [--data-dir DIR] [--short]

DIR is where Caviar keeps its data sets, with MNIST in it. Each panda begins with a bad setting, has days of one epoch,
and does what the advice says and nothing else. Its accuracy is that of the validation set where it stands at the end.
Prints the journals, writes benchmarks/results/panda.json, and exits with 1 where one ends below 0.97. The short form is
two of them on `digits`, of 4 days, without that limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import write

from caviar.studies.api.session import data_folder

CAVIAR = str(Path(sys.executable).parent / "caviar")
STARTS = {
    "too high": ["learning_rate=1.0", "momentum=0.99"],
    "too low": ["learning_rate=0.0001", "momentum=0.9"],
    "small batches": ["learning_rate=1.0", "batch_size=32"],
    # The rules of the advice were chosen with those three; with these they were not.
    "far too high": ["learning_rate=1.0", "momentum=0.999"],
    "slow": ["learning_rate=0.001", "momentum=0.99"],
}
LEAST = 0.97  # of the accuracy on MNIST


def follow(name: str, days: int, environ: dict[str, str]) -> dict[str, Any]:
    """Train day by day, doing what the advice says; return the journal."""
    facts: dict[str, Any] = {}
    for number in range(days):
        _caviar(["panda", "train", name], environ)
        facts = json.loads(_caviar(["panda", "log", name, "--json"], environ))
        if facts["advice"] and number < days - 1:
            for command in facts["advice"]["commands"][:-1]:  # the last one trains
                _caviar(shlex.split(command)[1:], environ)
    return facts


def _caviar(arguments: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run([CAVIAR, *arguments], env=environ, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"caviar {shlex.join(arguments)}: {done.stderr}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--data-dir", type=Path, default=data_folder(None))
    parser.add_argument("--short", action="store_true", help="two of them on digits, 4 days")
    options = parser.parse_args()
    study, days = ("digits", 4) if options.short else ("mnist", options.days)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "CAVIAR_HOME": home, "CAVIAR_DATA_DIR": str(options.data_dir)}
        for start, settings in list(STARTS.items())[: 2 if options.short else None]:
            name = start.replace(" ", "-")
            words = [word for setting in settings for word in ("--set", setting)]
            _caviar(["panda", "start", name, "--study", study, *words], environ)
            facts = follow(name, days, environ)
            print(_caviar(["panda", "log", name], environ), flush=True)
            head = facts["days"][facts["head"]]
            rows.append({"start": start, "settings": settings, "accuracy": head["curve"][-1], "best": facts["best"],
                         "days": facts["days"]})  # fmt: skip
            print(f"{start}: {head['curve'][-1]:.4f} after {days} days\n")
    write("panda", options, rows=rows)
    if not options.short and min(row["accuracy"] for row in rows) < LEAST:
        sys.exit(f"less than {LEAST} from one of them")


if __name__ == "__main__":
    main()
