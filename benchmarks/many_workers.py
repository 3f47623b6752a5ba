"""What many real workers do to one database, through PgBouncer in transaction mode with few server connections.

    python benchmarks/many_workers.py [--workers 150] [--trials 3000] [--seconds 4] [--servers 20] [--short]

A PostgreSQL is started, with PgBouncer in front of it, and several `caviar join` at the same moment, each with its
share of the workers: processes of their own, whose objective only sleeps, five epochs for each trial. Measured are:

- of each call, how long it takes in the worker, with its wait for a server connection (benchmarks/timed): the lease of
  a slot, the writes of a trial's begin, of an epoch and of its end, the look at the other trials, a renewal, and a
  command's snapshot of the study;
- the connections: of workers to PgBouncer and of PgBouncer to the server, at most, by PgBouncer's own console;
- the statements and transactions of each trial, by the same console, and the processor seconds of server and pooler;
- and at the end every row: trials lost, doubled or too many, and epochs.

benchmarks/scale.py simulates the same, and takes from this result by how much its transactions cost more than where one
process measured them. Writes benchmarks/results/many_workers.json, the short form many_workers-short.json; the exit
code is 1 if a trial was lost or doubled, or there were more than two
clients of PgBouncer for each process, which counts those that gave up until their turn comes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
from machine import write
from sqlalchemy import text
from sqlalchemy.engine import URL

from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine
from caviar.storage.migrate import ensure_schema
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of

HERE = Path(__file__).parent
EPOCHS = 5
JOINS = 3  # commands, as machines have one each
STUDY = """
import time

from caviar import Log, Study


def objective(trial):
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    for epoch in range({epochs}):
        time.sleep({seconds})
        trial.report(rate / (epoch + 1), epoch)
    return rate


STUDY = Study(name="many", objective="many:objective", direction="minimize", budget={trials}, tiers=[["rate"]],
              strategy="random", pruner="none")
"""
POOLER = """
[databases]
{database} = host={host} port={port} dbname={database} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
admin_users = postgres
pool_mode = transaction
default_pool_size = {servers}
max_client_conn = 2000
stats_period = 1
"""


class Pooler:
    """A PgBouncer, from `with` to its end."""

    def __init__(self, behind: URL, servers: int, folder: Path) -> None:
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            sys.exit("there is no pgbouncer here (Debian's package is called that)")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = int(listener.getsockname()[1])
        file = folder / "pgbouncer.ini"
        settings = POOLER.format(
            database=behind.database, host=behind.query["host"], port=behind.port or 5432, listen=self._port,
            servers=servers,
        )  # fmt: skip
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = version.split()[1]
        file.write_text(settings)
        owner = os.stat(str(behind.query["host"])).st_uid if os.geteuid() == 0 else None
        user: dict[str, Any] = {} if owner is None else {"user": owner, "group": owner, "extra_groups": []}
        self.process = subprocess.Popen([program, str(file)], stderr=subprocess.DEVNULL, cwd="/", **user)
        self.url = URL.create(
            "postgresql+psycopg2", "postgres", host="127.0.0.1", port=self._port, database=behind.database
        )

    def console(self, command: str) -> list[dict[str, Any]]:
        """Return what PgBouncer says of itself."""
        connection = psycopg2.connect(host="127.0.0.1", port=self._port, user="postgres", dbname="pgbouncer")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(command)
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        connection.close()
        return rows

    def of(self, command: str, database: str) -> dict[str, int]:
        """Return the numbers that the console has of a database, together."""
        total: dict[str, int] = defaultdict(int)
        for row in self.console(command):
            if row["database"] == database:
                for name, value in row.items():
                    if isinstance(value, int | Decimal):
                        total[name] += int(value)
        return total


def processor_seconds(root: int) -> float:
    """Return the processor's time of a process and of all that it has started, those that ended too."""
    ticks, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
        ticks += sum(int(fields[place]) for place in ((11, 12, 13, 14) if pid == root else (11, 12)))
    return ticks / os.sysconf("SC_CLK_TCK")


def read_times(folder: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each call, by its name."""
    times: dict[str, list[float]] = defaultdict(list)
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            name, _, seconds = line.rsplit(" ", 2)
            times[name].append(1000 * float(seconds))
    return times


def percentiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return {
        "calls": len(times),
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 1),
        "most_ms": round(max(times), 1),
    }


def audit(url: URL, trials: int) -> dict[str, int]:
    """Count every row."""
    engine = make_engine(url)
    with engine.connect() as connection:

        def count(query: str) -> int:
            return int(connection.scalar(text(query)) or 0)

        done = count("SELECT count(*) FROM caviar.slot WHERE state = 'done'")
        found = {
            "trials": count("SELECT count(*) FROM public.trials"),
            "lost": trials - count("SELECT count(*) FROM public.trials t JOIN caviar.slot s USING (trial_id) "
                                   "WHERE t.state = 'COMPLETE' AND s.state = 'done'"),
            "doubled": count("SELECT count(*) - count(DISTINCT number) FROM public.trials"),
            "overshoot": done - trials,
            "epochs": count("SELECT count(*) FROM caviar.epoch"),
            "leases_lost": count("SELECT count(*) FROM caviar.event WHERE kind IN ('lease expired', 'worker died')"),
            "begun_again": count("SELECT count(*) FROM caviar.slot WHERE attempts > 1"),
            "workers": count("SELECT count(*) FROM caviar.worker"),
        }  # fmt: skip
    engine.dispose()
    return found


def measure(options: argparse.Namespace, folder: Path, url: URL) -> dict[str, Any]:
    """Run the study to its end."""
    for name in ("pooler", "timed", "project"):
        (folder / name).mkdir(mode=0o755)
    pooler = Pooler(url, options.servers, folder / "pooler")
    database = str(url.database)
    project = folder / "project"
    (project / "many.py").write_text(STUDY.format(epochs=EPOCHS, seconds=options.seconds, trials=options.trials))
    os.chdir(project)
    study = select_study("many.py")
    direct = make_engine(url)
    ensure_schema(direct)
    open_study(direct, study, provenance_of(study, folder))
    with direct.connect() as connection:
        postmaster = int(
            Path(str(connection.scalar(text("SHOW data_directory"))), "postmaster.pid").read_text().split()[0]
        )
    direct.dispose()
    environ = {
        **os.environ, "PYTHONPATH": f"{HERE / 'timed'}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1",
        "TIMED_FOLDER": str(folder / "timed"), "CAVIAR_HOME": str(folder / "home"),
        "CAVIAR_DATABASE_URL": pooler.url.render_as_string(hide_password=False),
    }  # fmt: skip
    shares = [options.workers // JOINS + (number < options.workers % JOINS) for number in range(JOINS)]
    before, load = pooler.of("SHOW STATS", database), [os.getloadavg()[0]]
    server, balancer, started = processor_seconds(postmaster), processor_seconds(pooler.process.pid), time.monotonic()
    joins = [
        subprocess.Popen(
            [str(Path(sys.executable).parent / "caviar"), "join", "many", "--gpus", "none", "--workers", str(share)],
            env=environ, stdout=(folder / f"join-{number}.log").open("w"), stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        for number, share in enumerate(shares)
    ]  # fmt: skip
    most: dict[str, int] = defaultdict(int)
    while any(join.poll() is None for join in joins):
        pools = pooler.of("SHOW POOLS", database)
        pools["clients"] = pools["cl_active"] + pools["cl_waiting"]
        pools["servers"] = sum(pools[name] for name in ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"))
        for name in ("clients", "cl_waiting", "servers", "sv_active"):
            most[name] = max(most[name], pools[name])
        load.append(os.getloadavg()[0])
        time.sleep(0.5)
    seconds = time.monotonic() - started
    if any(join.returncode for join in joins):
        sys.exit("\n".join((folder / f"join-{number}.log").read_text()[-2000:] for number in range(JOINS)))
    time.sleep(2)  # the console's totals are of the last second
    stats = pooler.of("SHOW STATS", database)
    spent = {
        "server": processor_seconds(postmaster) - server,
        "pgbouncer": processor_seconds(pooler.process.pid) - balancer,
    }
    times, rows = read_times(folder / "timed"), audit(url, options.trials)
    pooler.process.terminate()
    queries, transactions = (stats[name] - before[name] for name in ("total_query_count", "total_xact_count"))
    return {
        "rows": rows,
        "calls": {name: percentiles(times[name]) for name in sorted(times)},
        "connections": {
            "clients_most": most["clients"], "clients_waiting_most": most["cl_waiting"],
            "servers_most": most["servers"],
            "for_each_process_most": round(most["clients"] / (options.workers + JOINS), 2),
        },
        "statements": {
            "of_a_trial": round(queries / options.trials, 1),
            "transactions_of_a_trial": round(transactions / options.trials, 1),
            "transactions_a_second": round(transactions / seconds, 1),
        },
        "processor_ms_of_a_trial": {name: round(1000 * each / options.trials, 2) for name, each in spent.items()},
        "processor_ms_of_a_transaction": round(1000 * spent["server"] / transactions, 3),
        "seconds": round(seconds, 1), "pgbouncer": pooler.version,
        "load": {"before": round(load[0], 1), "median": round(statistics.median(load), 1), "most": round(max(load), 1)},
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=150)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=4.0, help="of an epoch")
    parser.add_argument("--servers", type=int, default=20, help="connections from PgBouncer to the server")
    parser.add_argument("--short", action="store_true", help="12 workers, 60 trials, epochs of 0.5 s")
    options = parser.parse_args()
    if options.short:
        options.workers, options.trials, options.seconds, options.servers = 12, 60, 0.5, 4
    # Not a folder that only its owner may enter: root's server and pooler run as another user.
    with tempfile.TemporaryDirectory(prefix="caviar-many-") as name, serve(Path(name, "server"), print) as url:
        Path(name).chmod(0o755)
        found = measure(options, Path(name), url)
        os.chdir(HERE)
    for part, values in found.items():
        print(part, values, flush=True)
    write("many_workers", options, **found)
    rows = found["rows"]
    exact = rows["lost"] == rows["doubled"] == rows["overshoot"] == 0 and rows["epochs"] == EPOCHS * options.trials
    return 0 if exact and found["connections"]["for_each_process_most"] <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
