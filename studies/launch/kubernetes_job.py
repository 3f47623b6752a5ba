"""The manifest of an Indexed Job of Kubernetes, each of whose pods is replaced until the study is done."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from caviar.studies.errors import OptionError
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.site import FILE, Site

LABELS = {"app.kubernetes.io/name": "caviar"}  # of all Jobs and pods that Caviar makes
_WORKER = "worker"  # the container's name
_ADDRESS = "/run/secrets/caviar"  # the folder of the file that has the database's address
_HOME = "/var/lib/caviar"  # in no image's way; an image's user need not have a home
_SHARED_MEMORY = "/dev/shm"  # 64 MB without a volume of its own: too little for the processes of a data loader
_RETRIES = 6  # of one worker, for failures that may be of its node or its memory
_DAYS_KEPT = 7  # the job and its logs, after its end
_BAD_INPUT = 2
_LEFT = os.EX_TEMPFAIL  # 75: before the study is done, or the database is away
_TERMINATED = 128 + 15  # by SIGTERM, before the worker had a handler for it: a pod was deleted while it started


def job_manifest(request: LaunchRequest, site: Site) -> dict[str, Any]:
    """Return the manifest of a Job, which `kubectl create` gives a name of its own.

    Raises:
        OptionError: the site names no image, its command cannot be read, or a part of a GPU is asked for.
    """
    own = site.kubernetes
    seconds = None if request.seconds is None else int(request.seconds) - request.leaving_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{request.label}-",
            **({"namespace": own.namespace} if own.namespace else {}),
            "labels": LABELS | ({"kueue.x-k8s.io/queue-name": own.queue} if own.queue else {}),
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": request.workers,
            "parallelism": request.workers,
            "backoffLimitPerIndex": _RETRIES,
            "podReplacementPolicy": "Failed",  # no two workers of one index, and no more GPUs than were asked for
            "podFailurePolicy": {"rules": _failure_rules()},
            "ttlSecondsAfterFinished": _DAYS_KEPT * 86_400,
            **({"activeDeadlineSeconds": seconds} if seconds else {}),
            **({"suspend": True} if own.queue else {}),  # until Kueue admits it
            "template": {"metadata": {"labels": {**LABELS}}, "spec": _pod(request, site)},
        },
    }


def _failure_rules() -> list[Mapping[str, Any]]:
    """Return which ends of a pod count for nothing, and which need a person; any other is one of the retries."""

    def exits(*codes: int) -> Mapping[str, Any]:
        return {"containerName": _WORKER, "operator": "In", "values": [*codes]}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailIndex", "onExitCodes": exits(_BAD_INPUT)},
        {"action": "Ignore", "onExitCodes": exits(_LEFT, _TERMINATED)},
    ]


def _pod(request: LaunchRequest, site: Site) -> dict[str, Any]:
    own = site.kubernetes
    volumes = [
        {"name": "database", "secret": {"secretName": own.secret, "items": [{"key": "url", "path": "url"}]}},
        {"name": "home", "emptyDir": {}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        *({"name": f"claim-{n}", "persistentVolumeClaim": {"claimName": claim}} for n, claim in enumerate(own.volumes)),
    ]
    return {
        "automountServiceAccountToken": False,  # a training has no business with the cluster
        **own.pod,
        "restartPolicy": "Never",  # as a podFailurePolicy asks for
        "terminationGracePeriodSeconds": request.leaving_seconds,
        "shareProcessNamespace": True,  # as process 1 a worker would not hear SIGTERM while it starts
        **({"nodeSelector": dict(own.node_selector)} if own.node_selector else {}),
        "containers": [_container(request, site)],
        "volumes": volumes,
    }


def _container(request: LaunchRequest, site: Site) -> dict[str, Any]:
    own = site.kubernetes
    if not own.image:
        raise OptionError("Kubernetes needs an image with Caviar, the project and its data: write image = "
                          f"\"registry/me/project:1\" below [kubernetes] in {FILE}, or in the file of "
                          "--site; caviar launch init --on kubernetes makes one")  # fmt: skip
    variables = {**site.worker.environment, "CAVIAR_DATABASE_URL_FILE": f"{_ADDRESS}/url", "CAVIAR_HOME": _HOME}
    limits = {"cpu": own.cpus, "memory": own.memory, **({own.gpu: request.whole_gpus} if request.whole_gpus else {})}
    mounts = {"database": _ADDRESS, "home": _HOME, "shared-memory": _SHARED_MEMORY}
    mounts |= {f"claim-{number}": folder for number, folder in enumerate(own.volumes.values())}
    return {
        "name": _WORKER,
        "image": own.image,
        "command": [_literal(word) for word in _words(request, site)],
        "env": [{"name": name, "value": _literal(value)} for name, value in variables.items()],
        "resources": {"limits": limits},  # which are the requests, too, where these are left out
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": name, "mountPath": folder} for name, folder in mounts.items()],
    }


def _words(request: LaunchRequest, site: Site) -> list[str]:
    try:
        return shlex.split(request.command(site.worker.command or "caviar"))
    except ValueError as error:
        raise OptionError(f"command in [worker] of {FILE} cannot be cut into words: {error}") from None


def _literal(text: str) -> str:
    """Return a text in which Kubernetes expands no $(VARIABLE)."""
    return text.replace("$", "$$")
