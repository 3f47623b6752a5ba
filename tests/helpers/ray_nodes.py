"""Clusters of Ray's on this machine: real nodes, small ones."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture
def new_ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Any]]:
    """Makes clusters of so many nodes of one core, the first of which is the head."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)  # a short one: the paths of sockets have a limit
        monkeypatch.setenv("RAY_worker_niceness", "0")  # where 15 would starve beside other tests
        Path(folder, "ray").mkdir()

        def make(nodes: int) -> Any:
            cluster = Cluster()
            for _ in range(nodes):
                add_node(cluster)
            return cluster

        try:
            yield make
        finally:
            for pid in processes_with(f"RAY_TMPDIR={folder}"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def add_node(cluster: Any) -> None:
    """Start a node; once more where Ray gave it up, which it does after 30 s on a machine however busy."""
    for left in (2, 1, 0):
        try:
            cluster.add_node(**_NODE)
            break
        except Exception:
            if not left:
                raise


def processes_with(variable: str) -> list[int]:
    """Return the ids of the other processes that were started with a variable, as NAME=VALUE."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def kill(node: Any) -> None:
    """Kill all processes of a node, as if its machine were gone."""
    node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
