"""Kubernetes by kubectl: what it is called with, and what is made of its answers. The cluster is a small program."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.events import read_events
from caviar.studies.cli import run
from caviar.studies.errors import LaunchFailed, OptionError
from caviar.studies.launch.kubernetes import Kubernetes
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.scheduler import Task
from caviar.studies.launch.site import Site
from tests.helpers.workers import register

SITE = Site.model_validate({"kubernetes": {"image": "me/project:1"}})
JOB = "research/caviar-small-x7k2p"
LABELS = {"app.kubernetes.io/name": "caviar"}
MADE = {"kind": "Job", "metadata": {"name": "caviar-small-x7k2p", "namespace": "research", "labels": LABELS}}


_ANSWERS = """\
echo "$@" >>calls
[ $1 = create ] && cat >given
cat "answer-$1-$2" 2>/dev/null
exit $(cat code 2>/dev/null || echo 0)
"""


class Kubectl:
    """A program instead of kubectl: writes down its words, and answers each kind of call with what a test gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        program.write_text(f"#!/bin/sh\ncd {folder}\n{_ANSWERS}")
        program.chmod(0o755)
        self.answer("create", "-f", MADE)

    def answer(self, verb: str, what: str, answer: Any) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self.folder / f"answer-{verb}-{what}").write_text(text)

    def pods(self, *pods: Any) -> None:
        self.answer("get", "pods", {"kind": "List", "items": pods})

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Kubectl(tmp_path / "bin")


def pod(name: str = "caviar-small-x7k2p-0-abcde", phase: str = "Running", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, **parts.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"nodeName": "gpu7"}, "status": {"phase": phase, **parts}}


def test_what_is_submitted_is_what_a_dry_run_prints(kubectl: Kubectl) -> None:
    cluster, request = Kubernetes(SITE), LaunchRequest("small")
    assert cluster.submit(request) == JOB
    assert kubectl.calls == ["create -f - -o json"]
    assert (kubectl.folder / "given").read_text() == cluster.text(request)
    assert cluster.by_hand() == "kubectl create -f -"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("created", "printed no JSON"),
        ("[" * 100_000, "printed no JSON"),
        ({"metadata": {"name": "--all", "namespace": "research"}}, "no job of Kubernetes"),
        ({"metadata": {"name": ["a"]}}, "no job of Kubernetes"),
        ("null", "no job of Kubernetes"),
    ],
)
def test_an_answer_that_names_no_job_is_an_error(kubectl: Kubectl, answer: Any, said: str) -> None:
    kubectl.answer("create", "-f", answer)
    with pytest.raises(LaunchFailed, match=said):
        Kubernetes(SITE).submit(LaunchRequest("small"))


def test_what_kubectl_refuses_is_said_in_one_line(kubectl: Kubectl) -> None:
    (kubectl.folder / "answer-create--f").write_text("error: jobs.batch is forbidden\nfor you")
    (kubectl.folder / "code").write_text("1")
    with pytest.raises(LaunchFailed, match=r"kubectl failed: error: jobs.batch is forbidden") as caught:
        Kubernetes(SITE).submit(LaunchRequest("small"))
    assert "\n" not in str(caught.value)


def test_without_kubectl_the_message_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OptionError, match=r"no command kubectl here.*--dry-run"):
        Kubernetes(SITE).submit(LaunchRequest("small"))


def test_each_pod_that_has_not_ended_is_a_task(kubectl: Kubectl) -> None:
    unmet = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    }
    pulls = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    kubectl.pods(
        pod(),
        {**pod("b", "Pending", conditions=[unmet]), "spec": {}},
        pod("c", "Pending", containerStatuses=[pulls]),
        pod("d", metadata={"deletionTimestamp": "2026-11-29T12:00:00Z"}),
        pod("e", conditions=[{**unmet, "status": "True"}]),
        pod("f", "Pending", conditions=[unmet], containerStatuses=[pulls]),
    )
    assert Kubernetes(SITE).tasks(JOB) == (
        Task("caviar-small-x7k2p-0-abcde", "Running", "gpu7"),
        Task("b", "Pending", "", unmet["message"]),
        Task("c", "Pending", "gpu7", "ImagePullBackOff"),
        Task("d", "Terminating", "gpu7"),
        Task("e", "Running", "gpu7"),
        Task("f", "Pending", "gpu7", "ImagePullBackOff"),
    )
    assert kubectl.calls == [
        "get pods --selector=app.kubernetes.io/name=caviar,batch.kubernetes.io/job-name=caviar-small-x7k2p "
        "--field-selector=status.phase!=Succeeded,status.phase!=Failed -n research -o json"
    ]


def ended(kind: str, status: str = "True") -> dict[str, Any]:
    """A Job with a condition."""
    return {**MADE, "spec": {}, "status": {"conditions": [{"type": kind, "status": status}]}}


@pytest.mark.parametrize(
    ("job", "states"),
    [
        ({**MADE, "spec": {"suspend": True}}, ["Suspended"]),
        ({**MADE, "spec": {}}, ["Waiting"]),  # between a pod and the one that replaces it
        (ended("Failed", "False"), ["Waiting"]),
        (ended("Complete"), []),
        (ended("Failed"), []),
        ("", []),  # it was deleted
        ({"metadata": {"name": "another", "namespace": "research"}, "spec": {}}, []),  # somebody else's
    ],
)
def test_a_job_without_pods_waits_or_has_ended(kubectl: Kubectl, job: Any, states: list[str]) -> None:
    kubectl.pods()
    kubectl.answer("get", "job", job)
    assert Kubernetes(SITE).tasks(JOB) == tuple(Task("caviar-small-x7k2p", state) for state in states)
    assert kubectl.calls[-1] == "get job caviar-small-x7k2p --ignore-not-found -n research -o json"


def test_a_job_that_waits_says_why(kubectl: Kubectl) -> None:
    kubectl.pods()
    waits = {"type": "Suspended", "status": "True", "message": "no room in the queue"}
    kubectl.answer("get", "job", {**MADE, "spec": {"suspend": True}, "status": {"conditions": [waits]}})
    assert Kubernetes(SITE).tasks(JOB) == (Task("caviar-small-x7k2p", "Suspended", reason="no room in the queue"),)


def test_what_a_cluster_says_is_printable_and_of_any_form(kubectl: Kubectl) -> None:
    kubectl.answer("get", "job", "")
    for odd in ("null", "[]", "3", {"items": 3}, {"items": []}):
        kubectl.answer("get", "pods", odd)
        assert Kubernetes(SITE).tasks(JOB) == ()
    odd_pods = [None, 3, {"metadata": 5, "status": []}, {"metadata": {"name": 7}, "status": {"conditions": [1, {}]}}]
    kubectl.pods(*odd_pods, pod("\x1b[2Jx", "R\n", containerStatuses="no"))
    *odds, last = Kubernetes(SITE).tasks(JOB)
    assert odds == [Task("", "")] * 4
    assert last == Task(r"\x1b[2Jx", r"R\n", "gpu7")


@pytest.mark.parametrize(
    "job", ["", "x", "a/", "/a", "a/b/c", "a/--all", "-a/b", "a/$(id)", "a/B", "a/b\n", "a/" + "b" * 64]
)
def test_a_job_that_the_database_names_goes_to_no_command_unless_it_is_one(kubectl: Kubectl, job: str) -> None:
    with pytest.raises(LaunchFailed, match="no job of Kubernetes"):
        Kubernetes(SITE).tasks(job)
    with pytest.raises(LaunchFailed, match="no job of Kubernetes"):
        Kubernetes(SITE).stop(job)
    assert kubectl.calls == []


@pytest.fixture
def said(
    engine: Engine, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Calls `caviar launch` in a folder with a site's settings."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.chdir(kubectl.folder)
    (kubectl.folder / "caviar-launch.toml").write_text('[kubernetes]\nimage = "me/project:1"\n')
    register(engine)

    def say(*words: str, code: int = 0) -> str:
        assert run(["launch", *words]) == code, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return say


def test_a_launch_is_submitted_shown_and_ended(engine: Engine, kubectl: Kubectl, said: Callable[..., str]) -> None:
    printed = said("small", "--on", "kubernetes", "--workers", "3", "--dry-run")
    assert not kubectl.calls
    assert f"job {JOB} has 3 workers" in said("small", "--on", "kubernetes", "--workers", "3")
    assert (kubectl.folder / "given").read_text().strip() == printed.strip()
    assert "secret" in printed
    assert engine.url.render_as_string(hide_password=False) not in printed
    kubectl.pods(pod())
    assert "Running" in said("status", "small")
    assert f"ends job {JOB}" in said("stop", "small")
    assert kubectl.calls[-1] == (
        "delete job --field-selector=metadata.name=caviar-small-x7k2p --selector=app.kubernetes.io/name=caviar "
        "-n research --wait=false"
    )
    events = read_events(engine, load_study(engine, "small").study_id, "launched", "launch stopped")
    assert [event.detail["job"] for event in events] == [JOB, JOB]
    assert "stopped" in said("status", "small")


def test_without_an_image_nothing_is_submitted(engine: Engine, kubectl: Kubectl, said: Callable[..., str]) -> None:
    (kubectl.folder / "caviar-launch.toml").unlink()
    assert "Kubernetes needs an image" in said("small", "--on", "kubernetes", code=2)
    assert not kubectl.calls
    assert not read_events(engine, load_study(engine, "small").study_id, "launched")
