"""A command is cut into words, each placeholder stays within its word, and what cannot be meant is refused."""

from __future__ import annotations

import pytest

from caviar.studies.errors import DefinitionError
from caviar.studies.workers.user.command_line import GIVEN, CommandLine

VALUES = {"lr": 1e-05, "units": 64, "name": "a; rm -rf / $(reboot) 'b' \"c\" {lr}"}


def filled(line: str) -> list[str]:
    command = CommandLine.parse(line)
    command.check(VALUES)
    return command.fill_in(VALUES, dict.fromkeys(GIVEN, "given"))


def test_values_stay_within_their_word_whatever_they_are() -> None:
    assert filled("train --lr={lr} --name {name} '{units} {{x}}' {trial}") == [
        "train", "--lr=1e-05", "--name", VALUES["name"], "64 {x}", "given",
    ]  # fmt: skip


def test_args_are_two_words_for_each_hyperparameter() -> None:
    assert filled("train {args} end") == [
        "train", "--lr", "1e-05", "--units", "64", "--name", VALUES["name"], "end",
    ]  # fmt: skip


def test_a_hyperparameter_has_precedence_over_what_caviar_gives() -> None:
    command = CommandLine.parse("train {seed}")
    command.check(["seed"])
    assert command.fill_in({"seed": 3}, {"seed": 7}) == ["train", "3"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "the command is empty"),
        ("  # x", "there is nothing for|does not get"),
        ("train 'x", "cannot be read: no closing quotation: train 'x"),
        (
            "train {args} {momentun}",
            "there is nothing for {momentun} in the command; .*hyperparameters: lr, units, name",
        ),
        ("train {args} {unit}", "did you mean .*units"),
        ("train {args} {}", "there is nothing for {} in"),
        ("awk '{print $1}' {args}", "there is nothing for {print \\$1} in .* write {{ and }} for braces"),
        ("train {args} {lr:.3f}", "there is nothing for {lr:.3f}"),
        ("train {args} {lr", "'{lr' has a lone {; write {{ for a brace"),
        ("train {args} lr}", "a lone }; write }}"),
        ("train --all={args}", "to be one of its own, not in '--all={args}'; for a shell: sh -c"),
        ("train {lr} {units}", "does not get name; write {name} where the value belongs, {args} for"),
        ("train", "does not get lr, units, name"),
    ],
)
def test_what_cannot_be_meant_is_refused(line: str, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        CommandLine.parse(line).check(VALUES)
