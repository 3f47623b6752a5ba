"""What a launch asks for: numbers in their ranges, and the command of each worker."""

from __future__ import annotations

from typing import Any

import pytest

from caviar.studies.errors import OptionError
from caviar.studies.launch.request import LaunchRequest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "--gpus none --workers 1"),
        ({"gpus": 2}, "--gpus all"),
        ({"gpus": 0.5}, "--gpus all"),
        ({"gpus": 1, "workers_per_gpu": 3}, "--gpus all --workers-per-gpu 3"),
        ({"options": ("--epoch-timeout", "a b")}, "--gpus none --workers 1 --epoch-timeout 'a b'"),
        ({"grace": 60.0}, "--gpus none --workers 1 --grace 60"),
    ],
)
def test_the_command_of_a_worker(fields: dict[str, Any], words: str) -> None:
    assert LaunchRequest("small", **fields).command() == f"caviar join small --restartable {words}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workers": 0}, "--workers 0: give 1 to 10,000"),
        ({"workers": 10_001}, "--workers 10,001"),
        ({"gpus": 1.5}, "--gpus-per-worker 1.5: give 0 to 256, or a part of one"),
        ({"gpus": -1}, "--gpus-per-worker -1"),
        ({"gpus": float("nan")}, "--gpus-per-worker nan"),
        ({"workers_per_gpu": 0}, "--workers-per-gpu 0"),
        ({"workers_per_gpu": 2}, "give --gpus-per-worker 1 or more with it"),
        ({"seconds": 100.0}, "--time: give 120s to 365d"),
        ({"seconds": 300.0, "grace": 600.0}, "--time: give 1280s to 365d"),
    ],
)
def test_what_cannot_be_asked_for_names_what_can(fields: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        LaunchRequest("small", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("study", "label"),
    [("digits", "caviar-digits"), ("My_Net.v2", "caviar-my-net-v2"), ("x" * 100, "caviar-" + "x" * 33)],
)
def test_a_label_is_one_that_kubernetes_takes(study: str, label: str) -> None:
    assert LaunchRequest(study).label == label
