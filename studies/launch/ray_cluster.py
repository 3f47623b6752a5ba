"""Ray: a detached actor for each worker, which Ray starts again wherever there is room."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pprint import pformat
from typing import Any

from sqlalchemy.engine import URL

from caviar.storage.settings import read_settings
from caviar.studies.errors import ExtraMissing, LaunchFailed, OptionError
from caviar.studies.launch.address import check_environment
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Task, call
from caviar.studies.launch.site import Site
from caviar.text import one_line, shown

_PROGRAM = """\
import secrets

import ray

from caviar.studies.launch.ray_driver import connected
from caviar.studies.launch.ray_worker import Worker

job = {label!r} + secrets.token_hex(3)
arguments = {arguments!r}
environment = {environment}
with connected({address!r}, environment):
    worker = ray.remote(lifetime="detached", max_restarts=-1, num_cpus={cpus}, num_gpus={gpus:g})(Worker)
    for number in range(1, {workers} + 1):
        worker.options(name=f"{{job}}_{{number}}").remote(arguments, caviar={caviar!r}, leaving={leaving})
print(job)
"""
_JOB = re.compile(r"caviar-[a-z0-9-]{1,73}")  # others may write other names into the history
_FILE = "CAVIAR_DATABASE_URL_FILE"


@dataclass(frozen=True)
class RayCluster:
    """A cluster of Ray's, by programs that run as processes of their own."""

    site: Site

    def check_database(self, url: URL) -> None:
        """Check that workers come to a database: by a file that each node has, or by an address without a password."""
        if _FILE in self.site.worker.environment:
            return
        check_environment(url)
        if url.password or any("password" in name for name in url.query):
            raise OptionError("the database's address has a password, which Ray's dashboard and logs would show: put "
                              "the address into a file on each node, and name it in caviar-launch.toml: [worker] "
                              f"environment = {{ {_FILE} = \"...\" }}; or let .pgpass have it there")  # fmt: skip

    def text(self, request: LaunchRequest) -> str:
        """Return a program that makes the actors, and prints the job's name."""
        if request.seconds is not None:
            raise OptionError("--time: Ray ends no actor after a time; leave it out, and end them with: "
                              f"caviar launch stop {request.study}")  # fmt: skip
        own = self.site.ray
        return _PROGRAM.format(
            label=f"{request.label}-",
            environment=pformat(self._environment(), sort_dicts=False, width=100),
            address=own.address,
            cpus=own.cpus,
            gpus=request.gpus,
            workers=request.workers,
            arguments=request.arguments,
            caviar=self.site.worker.command,
            leaving=request.leaving_seconds,
        )

    def _environment(self) -> dict[str, Any]:
        """Return what each worker has on its node: the project, and variables without passwords."""
        variables = dict(self.site.worker.environment)
        url = read_settings().database_url
        if _FILE not in variables and url is not None:
            variables["CAVIAR_DATABASE_URL"] = url.render_as_string(hide_password=True)
        folder = {"working_dir": str(self._folder())} if self.site.ray.folder else {}
        return {**folder, "env_vars": variables}

    def _folder(self) -> Path:
        folder = Path(self.site.ray.folder).expanduser().resolve()
        if not folder.is_dir():
            raise OptionError(f"[ray] folder = {shown(self.site.ray.folder)}: there is no such folder here; "
                              f"give the project's, or \"\" where each node has it")  # fmt: skip
        return folder

    def by_hand(self) -> str:
        """Return the command that runs the program."""
        return "python -"

    def submit(self, request: LaunchRequest) -> str:
        """Make the actors; return the job's name."""
        return _checked(_python("-", given=self.text(request)).strip())

    def tasks(self, job: str) -> tuple[Task, ...]:
        """Return the actors of a job that wait or run, and those that failed."""
        rows = json.loads(self._drive("tasks", job))
        return tuple(Task(**{name: one_line(value) for name, value in row.items()}) for row in rows)

    def output(self, study: str, job: str) -> str:  # noqa: ARG002
        """Return the command that prints it: Ray keeps it by actor."""
        return f"ray logs actor --id ID, of an actor of {_checked(job)} (ray list actors)"

    def stop(self, job: str) -> None:
        """End the actors of a job: each lets its worker leave first."""
        self._drive("stop", job)

    def _drive(self, action: str, job: str) -> str:
        return _python("-m", "caviar.studies.launch.ray_driver", action, self.site.ray.address, _checked(job))


def _python(*words: str, given: str = "") -> str:
    """Return what a program prints that uses Ray."""
    if find_spec("ray") is None:
        raise ExtraMissing("caviar launch --on ray", ModuleNotFoundError(name="ray"), "ray")
    # Nothing is imported from the folder that one stands in: a file ray.py there is not Ray.
    return call([sys.executable, "-P", "-W", "ignore", *words], given, name="Ray")


def _checked(job: str) -> str:
    """Return a job's name, which may come from the database, where others write too."""
    if not _JOB.fullmatch(job):
        raise LaunchFailed(f"'{shown(job)}' is no name of a job on Ray")
    return job
