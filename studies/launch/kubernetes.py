"""Kubernetes: an Indexed Job, by kubectl."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from sqlalchemy.engine import URL

from caviar.studies.errors import LaunchFailed
from caviar.studies.launch.kubernetes_job import LABELS, job_manifest
from caviar.studies.launch.kubernetes_names import is_label
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Task, call
from caviar.studies.launch.site import Site
from caviar.text import shown

_OURS = ",".join(f"{label}={value}" for label, value in LABELS.items())  # others may write names into the history
_AT_WORK = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True)
class Kubernetes:
    """The cluster of kubectl's context. A job is known as NAMESPACE/NAME."""

    site: Site

    def check_database(self, url: URL) -> None:
        """Check nothing: the address that pods read from their Secret may be another one than this machine's."""

    def text(self, request: LaunchRequest) -> str:
        """Return the manifest of a Job, as YAML."""
        return str(yaml.safe_dump(job_manifest(request, self.site), sort_keys=False, allow_unicode=True))

    def by_hand(self) -> str:
        """Return the command that submits the manifest; `kubectl apply` takes none whose name is to be made."""
        return "kubectl create -f -"

    def submit(self, request: LaunchRequest) -> str:
        """Create a Job; return its namespace and name."""
        made = _parsed(call(["kubectl", "create", "-f", "-", "-o", "json"], self.text(request)))
        job = f"{_text(made, 'metadata', 'namespace')}/{_text(made, 'metadata', 'name')}"
        _checked(job)
        return job

    def tasks(self, job: str) -> tuple[Task, ...]:
        """Return the pods of a Job that wait, run or end; the Job itself where it has none at the moment."""
        namespace, name = _checked(job)
        pods = _parsed(_get(namespace, "pods", f"--selector={_OURS},batch.kubernetes.io/job-name={name}",
                            f"--field-selector={_AT_WORK}"))  # fmt: skip
        found = tuple(_task(pod) for pod in _list(pods, "items"))
        return found or _waiting(_get(namespace, "job", name, "--ignore-not-found"))

    def output(self, study: str, job: str) -> str:  # noqa: ARG002
        """Return the command that prints it."""
        namespace, name = _checked(job)
        return f"kubectl logs -n {namespace} -l batch.kubernetes.io/job-name={name} --prefix"

    def stop(self, job: str) -> None:
        """Delete a Job; Kubernetes sends SIGTERM to its pods, and SIGKILL after their grace period.

        One that has not Caviar's label is left alone: somebody else may have written its name into the database.
        """
        namespace, name = _checked(job)
        call(["kubectl", "delete", "job", f"--field-selector=metadata.name={name}", f"--selector={_OURS}",
              "-n", namespace, "--wait=false"])  # fmt: skip


def _get(namespace: str, *words: str) -> str:
    return call(["kubectl", "get", *words, "-n", namespace, "-o", "json"])


def _task(pod: Any) -> Task:
    state = "Terminating" if _text(pod, "metadata", "deletionTimestamp") else _text(pod, "status", "phase")
    return Task(_text(pod, "metadata", "name"), state, _text(pod, "spec", "nodeName"), _reason(pod))


def _reason(pod: Any) -> str:
    """Return why a pod does not run: its container's word, such as ImagePullBackOff, or that of the scheduler."""
    waits = (_text(each, "state", "waiting", "reason") for each in _list(pod, "status", "containerStatuses"))
    unmet = (_text(each, "message") for each in _list(pod, "status", "conditions")
             if (_text(each, "type"), _text(each, "status")) == ("PodScheduled", "False"))  # fmt: skip
    return next((why for why in (*waits, *unmet) if why), "")


def _waiting(printed: str) -> tuple[Task, ...]:
    """Return a Job without pods as its only task; none where it has ended, is not there, or is not ours."""
    job = _parsed(printed) if printed.strip() else None
    if any(_text(job, "metadata", "labels", label) != value for label, value in LABELS.items()):
        return ()
    conditions = [each for each in _list(job, "status", "conditions") if _text(each, "status") == "True"]
    if job is None or {"Complete", "Failed"} & {_text(each, "type") for each in conditions}:
        return ()
    state = "Suspended" if _at(job, "spec", "suspend") is True else "Waiting"
    return (Task(_text(job, "metadata", "name"), state, reason=next((_text(c, "message") for c in conditions), "")),)


def _checked(job: str) -> tuple[str, str]:
    """Return a Job's namespace and name, which may come from the database, where others write too."""
    namespace, _, name = job.partition("/")
    if not (is_label(namespace) and is_label(name)):
        raise LaunchFailed(f"'{shown(job)}' is no job of Kubernetes: it would be NAMESPACE/NAME")
    return namespace, name


def _parsed(printed: str) -> Any:
    try:
        return json.loads(printed)
    except (ValueError, RecursionError):
        raise LaunchFailed(f"kubectl printed no JSON: {shown(printed)}") from None


def _at(value: Any, *path: str) -> Any:
    """Return what a cluster's answer has at a path; None where it is of another form."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any, *path: str) -> str:
    found = _at(value, *path)
    return shown(found, 200) if isinstance(found, str) else ""


def _list(value: Any, *path: str) -> list[Any]:
    found = _at(value, *path)
    return found if isinstance(found, list) else []
