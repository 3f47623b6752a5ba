"""The pods of a Kubernetes Job as processes: what a manifest says of them happens, without a cluster.

A pod runs the manifest's own command with its own variables; folders stand for its volumes. Deleting it is SIGTERM, the
manifest's grace period, and SIGKILL. Its end is judged by the manifest's own policy; one that is replaced begins anew,
at once, with the same index and empty folders.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Ended:
    """A pod that has ended.

    Attributes:
        index: of the Job.
        code: of its container, as Kubernetes says it.
        action: of the rule that it meets, Complete where it is done, Count where it meets none.
    """

    index: int
    code: int
    action: str


@dataclass
class Job:
    """A Job, whose pods run in a folder that stands for the image's.

    Args:
        secret: the database's address.
        image: variables of the image.
    """

    manifest: Mapping[str, Any]
    folder: Path
    secret: str
    image: Mapping[str, str]
    ended: list[Ended] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pods: dict[int, subprocess.Popen[bytes]] = {}
        self._logs = list[Path]()
        self._pod = self.manifest["spec"]["template"]["spec"]
        (self._container,) = self._pod["containers"]
        for index in range(self.manifest["spec"]["completions"]):
            self._start(index)

    def _start(self, index: int) -> None:
        own = Path(tempfile.mkdtemp(prefix=f"pod-{index}-", dir=self.folder))
        folders = {mount["mountPath"]: own / mount["name"] for mount in self._container["volumeMounts"]}
        for folder in folders.values():
            folder.mkdir()
        variables = {each["name"]: _plain(each["value"]) for each in self._container["env"]}
        for name, value in variables.items():
            for path, folder in folders.items():
                if value.startswith(path):
                    variables[name] = value.replace(path, str(folder), 1)
        Path(variables["CAVIAR_DATABASE_URL_FILE"]).write_text(self.secret)
        self._logs.append(own / "log")
        with self._logs[-1].open("w") as log:
            self.pods[index] = subprocess.Popen(
                [_plain(word) for word in self._container["command"]], cwd=self.folder, start_new_session=True,
                env={**self.image, **variables, "JOB_COMPLETION_INDEX": str(index)}, stdout=log, stderr=log,
            )  # fmt: skip

    def delete(self, index: int) -> Ended:
        """Delete a pod, as `kubectl delete pod` does and a drained node; wait for its end."""
        pod = self.pods[index]
        pod.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            pod.wait(self._pod["terminationGracePeriodSeconds"])
        return self._end(index)

    def lose_node(self, index: int) -> Ended:
        """Lose the machine of a pod, without a word to it; Kubernetes says of the pod that it was disrupted."""
        return self._end(index, is_disrupted=True)

    def wait(self, index: int, seconds: float = 240) -> Ended:
        """Wait until a pod ends by itself."""
        self.pods[index].wait(seconds)
        return self._end(index)

    def _end(self, index: int, *, is_disrupted: bool = False) -> Ended:
        pod = self.pods.pop(index)
        with suppress(ProcessLookupError):
            os.killpg(pod.pid, signal.SIGKILL)  # nothing of a container outlives its first process
        code = pod.wait()
        code = 128 - code if code < 0 else code
        self.ended.append(Ended(index, code, self._action(code, is_disrupted=is_disrupted)))
        if self.ended[-1].action in ("Ignore", "Count"):
            self._start(index)
        return self.ended[-1]

    def _action(self, code: int, *, is_disrupted: bool) -> str:
        for rule in self.manifest["spec"]["podFailurePolicy"]["rules"]:
            if code and code in rule.get("onExitCodes", {}).get("values", ()):
                return str(rule["action"])
            if is_disrupted and any(each["type"] == "DisruptionTarget" for each in rule.get("onPodConditions", ())):
                return str(rule["action"])
        return "Count" if code else "Complete"

    def close(self) -> None:
        """End all that still runs."""
        for pod in self.pods.values():
            with suppress(ProcessLookupError):
                os.killpg(pod.pid, signal.SIGKILL)
            pod.wait()

    def said(self) -> str:
        """What the pods have printed, for a test that fails."""
        return "\n".join(log.read_text() for log in self._logs)


def _plain(text: str) -> str:
    """A text of a manifest as a process gets it, without variables to expand."""
    return text.replace("$$", "$")
