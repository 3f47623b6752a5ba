"""Does a budget of 40 trials give exactly 40, however many workers begin on an empty database at once?

    python benchmarks/exactness.py [--repeats 10] [--workers 1,2,4,8] [--commands 2] [--short]

Each run has a new server and an empty database; the workers are started at the same instant. Then Optuna's own
client counts the trials. The last row starts several `caviar run` at the same instant on the same study.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CAVIAR = str(Path(sys.executable).parent / "caviar")
BUDGET = 40
COUNT = """
import json, sys
from caviar.storage.engine import open_database
from caviar.storage.settings import read_settings
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
with open_database(read_settings()) as engine:
    study = optuna.load_study(study_name="digits", storage=engine.url.render_as_string(hide_password=False))
    states = [t.state.name for t in study.trials]
    numbers = sorted(t.number for t in study.trials)
    print(len(states), sum(s in ("COMPLETE", "PRUNED", "FAIL") for s in states), numbers == list(range(40)))
"""


def run(workers: int, commands: int) -> tuple[str, float]:
    """Run the study and return what Optuna counts, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "CAVIAR_HOME": home}
        started = time.perf_counter()
        processes = [
            subprocess.Popen([CAVIAR, "run", "digits", "--budget", str(BUDGET), "--workers", str(workers)],
                             env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(commands)
        ]  # fmt: skip
        codes = [process.wait() for process in processes]
        seconds = time.perf_counter() - started
        said = subprocess.run([sys.executable, "-c", COUNT], env=environ, capture_output=True, text=True, check=True)
    return f"{said.stdout.strip()} exit {codes}", seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--commands", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="once each")
    options = parser.parse_args()
    if options.short:
        options.repeats = 1
    cases = [(int(workers), 1) for workers in options.workers.split(",")] + [(2, options.commands)]
    wrong = 0
    for workers, commands in cases:
        exact, seconds = 0, []
        for _ in range(options.repeats):
            said, took = run(workers, commands)
            good = said == f"{BUDGET} {BUDGET} True exit {[0] * commands}"
            exact += good
            seconds.append(took)
            if not good:
                print(f"  not exact: {said}")
        wrong += options.repeats - exact
        print(f"{commands} command(s) of {workers} worker(s): exactly {BUDGET} in {exact} of {options.repeats} runs, "
              f"{min(seconds):.0f} to {max(seconds):.0f} s", flush=True)  # fmt: skip
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
