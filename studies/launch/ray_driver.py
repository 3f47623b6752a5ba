"""What Caviar does on a cluster of Ray's, as a process of its own: Ray's threads, settings and output stay in it.

    python -m caviar.studies.launch.ray_driver tasks ADDRESS JOB    print the job's tasks as JSON
    python -m caviar.studies.launch.ray_driver stop ADDRESS JOB     let its workers leave

A job is the actors whose names are its own, `_` and a number. What goes wrong is one line on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from caviar.studies.launch.ray_worker import FAILED
from caviar.text import one_line

NAMESPACE = "caviar"
_ANSWER_SECONDS = 30.0  # that an actor may take to hear that it is to stop
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no report to Ray's makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # no warning of what another version of it will do
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # a head that is gone is asked for 40 s, and not for many minutes
}


@contextmanager
def connected(address: str, environment: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Be connected to a cluster while the context lasts; what goes wrong in it ends this process with one line.

    Args:
        address: as `ray.init` takes it.
        environment: what the actors that are made have on their nodes, as Ray's `runtime_env`.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    why = ""
    with _silence():
        try:
            ray.init(address, namespace=NAMESPACE, runtime_env=environment, log_to_driver=False, logging_level="error")
            yield
        except ConnectionError as error:
            why = (f"no cluster answers at {address!r} ({_reason(error)}); give this on a machine of the cluster; "
                   f"one on this machine alone begins with: ray start --head")  # fmt: skip
        except Exception as error:  # noqa: BLE001 - of many classes of Ray's
            why = f"{type(error).__name__}: {_reason(error)}"
        finally:
            ray.shutdown()
    if why:
        sys.exit(why)


@contextmanager
def _silence() -> Iterator[None]:
    """Throw away what is written to stderr, by Ray's threads too: what goes wrong is said once."""
    own, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(own, 2)


def _reason(error: Exception) -> str:
    """Return the line of an error's message that says most: the last one of a traceback from the cluster."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return one_line(lines[-1] if "Traceback" in str(error) else lines[0])


def read_actors(job: str) -> list[dict[str, str]]:
    """Return the actors of a job that wait or run, and those that failed, in the order of their numbers.

    Ray's public list of them needs its dashboard; this one does not.
    """
    from ray._private.state import actors

    own = {}
    for row in actors().values():
        of, _, number = row["Name"].rpartition("_")
        if of == job and number.isdecimal():
            own[int(number)] = _row(row)
    return [own[number] for number in sorted(own) if own[number]["state"] != "DEAD" or own[number]["reason"]]


def _row(actor: dict[str, Any]) -> dict[str, str]:
    reason = _why(actor["DeathCause"]) if actor["State"] == "DEAD" else ""
    return {"name": actor["Name"], "state": actor["State"], "node": actor["Address"]["IPAddress"], "reason": reason}


def _why(cause: Any) -> str:
    """Return why an actor ended; empty if it was meant to."""
    context = getattr(cause, cause.WhichOneof("context") or "", None)
    said = getattr(context, "error_message", "") or getattr(context, "formatted_exception_string", "") or str(cause)
    if FAILED in said:
        return one_line(said.partition(FAILED)[2])
    return "" if "INTENDED" in said or "ray.kill" in said else one_line(said)


def stop(job: str) -> None:
    """Let the workers of a job leave; end those that wait for a place, or whose node does not answer."""
    import ray

    asked: dict[Any, Any] = {}
    for row in read_actors(job):
        if row["state"] != "DEAD":
            actor = ray.get_actor(row["name"])
            if row["state"] == "ALIVE":
                asked[actor.stop.remote()] = actor
            else:
                ray.kill(actor)
    _, silent = ray.wait([*asked], num_returns=len(asked), timeout=_ANSWER_SECONDS) if asked else ([], [])
    for answer in silent:
        ray.kill(asked[answer])


def main(action: str, address: str, job: str) -> None:
    """Do what the arguments say."""
    with connected(address):
        if action == "stop":
            stop(job)
        else:
            print(json.dumps(read_actors(job)))


if __name__ == "__main__":
    main(*sys.argv[1:])
