"""What Caviar's own live pages cost: the first look at a study, each renewal, and what open pages cost its workers.

    python benchmarks/live.py [--sizes 1000,10000] [--short]

A renewal is what an open page gets for each epoch that a worker has written, or for a trial that has ended; one that
is current gets no answer but that. The list of all studies is renewed for an epoch, too. Each in seconds of the
processor, of this process and of the server's processes, whose clock ticks in hundredths of a second. Then a worker
writes an epoch every tenth of a second for some seconds, and its writes are timed without a page, with one, and with
20, each of which asks every two seconds as a browser's does: in turns, three times each. The statements that the pages
send are counted. At the end the study is finished, and looked at once more: then the page says what to do next, for
which all trials are read. The studies are those of benchmarks/filled.py, with 10 epochs a trial and 24 running ones.
Prints tables and writes benchmarks/results/live.json.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from filled import NAME, Databases, leave_open
from machine import write
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import URL

from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine
from caviar.studies.live.site import Site

_RUNNING, _LOOKS, _PAGES = 24, 12, 20
_EVERY, _ASKS_EVERY, _TURNS = 0.1, 2.0, 3  # seconds between two epochs, and between two questions of a page
_STUDY, _LIST = f"/study/{NAME}/live", "/live"  # renewals of these pages
_MOMENT = 1.1  # seconds, after which pages look at the database again
_RUN = """
    INSERT INTO caviar.worker (worker_id, study_id, host, machine, pid, device, packages, last_seen)
    SELECT gen_random_uuid(), study_id, 'node', 'elsewhere', 4121, 'cuda:0', '{}', now() + interval '1 day'
    FROM caviar.study;
    INSERT INTO public.trials (trial_id, number, study_id, state, datetime_start)
    SELECT nextval('public.trials_trial_id_seq'), s.number, st.optuna_study_id, 'RUNNING', timezone('UTC', now())
    FROM caviar.slot s JOIN caviar.study st USING (study_id) WHERE s.number BETWEEN :size AND :size + :running - 1;
    INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT t.trial_id, p.param_name, p.param_value, p.distribution_json FROM public.trials t
    JOIN public.trials o ON o.number = t.number - :size JOIN public.trial_params p ON p.trial_id = o.trial_id
    WHERE t.state = 'RUNNING';
    UPDATE caviar.slot s SET state = 'leased', token = gen_random_uuid(), expires_at = now() + interval '1 hour',
      attempts = 1, trial_id = t.trial_id, worker_id = (SELECT worker_id FROM caviar.worker LIMIT 1)
    FROM public.trials t WHERE t.number = s.number AND t.state = 'RUNNING'
"""
_EPOCH = """
    UPDATE caviar.slot SET epoch = epoch + 1 WHERE number = :slot;
    INSERT INTO public.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id, epoch, 0.5, 'FINITE' FROM caviar.slot WHERE number = :slot;
    INSERT INTO caviar.epoch (study_id, slot, epoch, metrics, seconds)
    SELECT study_id, number, epoch, '{"accuracy": 0.5}', 1 FROM caviar.slot WHERE number = :slot
"""
_END = """
    UPDATE public.trials SET state = 'COMPLETE', datetime_complete = timezone('UTC', now())
    WHERE trial_id = (SELECT trial_id FROM caviar.slot WHERE number = :slot);
    INSERT INTO public.trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, 0.5, 'FINITE' FROM caviar.slot WHERE number = :slot;
    UPDATE caviar.slot SET state = 'done', token = NULL, expires_at = NULL WHERE number = :slot
"""
_FINISH = "DELETE FROM caviar.slot WHERE state IN ('open', 'leased')"
_TICK = os.sysconf("SC_CLK_TCK")


def execute(engine: Engine, statements: str, **values: int) -> None:
    with engine.begin() as connection:
        for statement in statements.split(";"):
            connection.execute(text(statement), {n: v for n, v in values.items() if f":{n}" in statement})


def ask(site: Any, path: str, version: str = "") -> tuple[str, str]:
    """Return the status of an answer, and its version."""
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_IF_NONE_MATCH": version}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    answered: list[str] = []
    body = b"".join(site(environ, lambda status, *_: answered.append(status))).decode()
    return answered[0][:3], body.partition('"version": "')[2].partition('"')[0]


class Servers:
    """The processes of the server that work for an engine, and their seconds of the processor."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def seconds(self) -> float:
        with self._engine.connect() as connection:
            pids = connection.scalars(text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"))
            return sum(self._of(pid) for pid in list(pids))

    @staticmethod
    def _of(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


Cost = dict[str, float]


class Looker:
    """Looks at the page of a study, and says what that costs this process and the server's."""

    def __init__(self, engine: Engine, worker: Engine) -> None:
        self._site, self._servers = Site(engine, None), Servers(worker)  # type: ignore[arg-type]
        self._version = ""

    def look(self, status: str, path: str = _STUDY) -> tuple[float, float]:
        ours, theirs = time.process_time(), self._servers.seconds()
        found, version = ask(self._site, path, self._version)
        assert found == status, found
        self._version = version or self._version
        return time.process_time() - ours, self._servers.seconds() - theirs

    def several(self, status: str, before_each: Callable[[int], None], path: str = _STUDY) -> Cost:
        costs = []
        for number in range(_LOOKS):
            before_each(number)
            time.sleep(_MOMENT)
            costs.append(self.look(status, path))
        ours, theirs = zip(*costs, strict=True)
        return {"process": statistics.median(ours), "least": min(ours), "most": max(ours),
                "server": statistics.mean(theirs)}  # fmt: skip


def looked(engine: Engine, worker: Engine, size: int) -> dict[str, Cost]:
    """Return what looks cost: the first, one after an epoch, one after the end of a trial, and one at nothing new; and
    one at the list of all studies after an epoch."""
    looker, of_list = Looker(engine, worker), Looker(engine, worker)
    process, server = looker.look("200", f"/study/{NAME}")
    looker.look("200")
    of_list.look("200", _LIST)
    ends = iter(range(size, size + _RUNNING))

    def epoch(number: int) -> None:
        execute(worker, _EPOCH, slot=size + number % _RUNNING)

    return {
        "first": {"process": process, "server": server},
        "epoch": looker.several("200", epoch),
        "list": of_list.several("200", epoch, _LIST),
        "end": looker.several("200", lambda _: execute(worker, _END, slot=next(ends))),
        "nothing": looker.several("304", lambda _: None),
    }


def finished(engine: Engine, worker: Engine) -> Cost:
    """Return what the first look at the study costs once it is done."""
    execute(worker, _FINISH)
    Looker(engine, worker).look("200", f"/study/{NAME}")  # what is imported for it
    process, server = Looker(engine, worker).look("200", f"/study/{NAME}")
    return {"process": process, "server": server}


@contextmanager
def pages(engine: Engine, count: int) -> Iterator[list[str]]:
    """Open so many pages, and yield the statements that they send."""
    site, done, sent = Site(engine, None), threading.Event(), list[str]()  # type: ignore[arg-type]

    def keep(connection: Any, cursor: Any, statement: str, *_: Any) -> None:  # noqa: ARG001 - as SQLAlchemy calls it
        sent.append(statement)

    def follow(number: int) -> None:
        version = ""
        done.wait(_ASKS_EVERY * number / count)
        while not done.is_set():
            _, now = ask(site, _STUDY, version)
            version = now or version
            done.wait(_ASKS_EVERY)

    event.listen(engine, "before_cursor_execute", keep)
    threads = [threading.Thread(target=follow, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        done.set()
        for thread in threads:
            thread.join()
        event.remove(engine, "before_cursor_execute", keep)


def written(worker: Engine, size: int, seconds: float) -> list[float]:
    """Let a worker write an epoch every tenth of a second; return how long each of these transactions took."""
    took, until, place = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        before = time.perf_counter()
        execute(worker, _EPOCH, slot=size + _LOOKS + place % (_RUNNING - _LOOKS))
        took.append(time.perf_counter() - before)
        place += 1
        time.sleep(max(_EVERY - took[-1], 0))
    return took


def beside(engine: Engine, worker: Engine, size: int, seconds: float) -> dict[str, Any]:
    """Return what open pages cost a worker that writes: the median of its writes, and the pages' statements."""
    times: dict[int, list[float]] = {0: [], 1: [], _PAGES: []}
    counts: dict[int, int] = dict.fromkeys(times, 0)
    for _ in range(_TURNS):
        for count in times:
            with pages(engine, count) as sent:
                times[count] += written(worker, size, seconds)
            counts[count] += len(sent)
    whole = _TURNS * seconds
    return {"size": size, "writes": len(times[0]), "pages": [
        {"pages": count, "write": statistics.median(took), "slow_write": statistics.quantiles(took, n=20)[-1],
         "statements_a_second": counts[count] / whole} for count, took in times.items()]}  # fmt: skip


def measured(url: URL, size: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    leave_open(url, size, 100)
    engine, worker = make_engine(url), make_engine(url)
    execute(worker, _RUN, size=size, running=_RUNNING)
    looks, load = looked(engine, worker, size), beside(engine, worker, size, seconds)
    looks["finished"] = finished(engine, worker)
    engine.dispose()
    worker.dispose()
    return {"size": size, **looks}, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000", help="finished trials")
    parser.add_argument("--short", action="store_true", help="1,000 alone")
    options = parser.parse_args()
    looks, loads = [], []
    with tempfile.TemporaryDirectory() as home, serve(Path(home) / "server", [].append) as server:
        databases = Databases(server)
        for size in [1000] if options.short else map(int, options.sizes.split(",")):
            with databases.copy("caviar", size) as url:
                look, load = measured(url, size, 4.0 if options.short else 20.0)
            looks.append(look)
            loads.append(load)
            print(f"{size:,} trials, seconds of the processor", flush=True)
            for name, cost in look.items():
                if name != "size":
                    spread = f" ({cost['least']:.3f} to {cost['most']:.3f})" if "least" in cost else ""
                    print(f"  {name:<9} page {cost['process']:.3f}{spread}, server {cost['server']:.3f}", flush=True)
            for row in load["pages"]:
                print(f"  {row['pages']:>2} open pages: a write takes {1000 * row['write']:.1f} ms (95 %: "
                      f"{1000 * row['slow_write']:.1f} ms), {row['statements_a_second']:.1f} statements a second "
                      f"by pages", flush=True)  # fmt: skip
    write("live", options, n=_LOOKS, looks=looks, beside_pages=loads)


if __name__ == "__main__":
    main()
