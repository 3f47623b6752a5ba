"""`caviar init`: the first files of a project."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

import caviar
from caviar.studies.cli.output import print_line

_WAYS = {
    "train": "a training function of your own (recommended)",
    "objective": "an objective that you have for Optuna",
    "command": "a program in any language",
    "model": "a network, which Caviar's own loop trains as a classifier",
}


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder, made if it is not there.")] = Path("."),
    way: Annotated[
        str | None, typer.Option(metavar="WAY", help="How a trial is trained: train, objective, command or model.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The study's; without it, the folder's.")] = None,
    file: Annotated[str, typer.Option(metavar="FILE", help="The study's file.")] = "tune.py",
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="What is searched by, such as accuracy, loss or rmse.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="WHICH", help="maximize or minimize; without it, as the metric's name says.")
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Epochs of a trial.")] = 20,
    budget: Annotated[int, typer.Option(metavar="N", help="Number of trials.")] = 30,
    data: Annotated[str, typer.Option(metavar="NAME", help="Data set of a model, by name or path.")] = "digits",
    command: Annotated[
        str, typer.Option(metavar="TEXT", help="The program of the way command, with its arguments.")
    ] = "python train.py {args}",
) -> None:
    """Write a study file, an example of settings, and a page of what to do next, into a project.

    In a terminal it asks what you leave out, unless you give --way. Nothing is overwritten.

    Examples: caviar init, caviar init shop --way train --metric rmse

    In Python: caviar.init("shop", way="train", metric="rmse")
    """
    if way is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise caviar.OptionError(f"say how a trial is trained: --way {', '.join(_WAYS)}")
        for each, meaning in _WAYS.items():
            print_line(f"  {each:10} {meaning}")
        way = typer.prompt("How is a trial trained?", default="train")
        name = name or typer.prompt("A name for the study", default=folder.absolute().name)
        usual = {"model": "accuracy", "objective": "value"}.get(way, "loss")
        metric = metric or typer.prompt("The metric that is searched by", default=usual)
        least = "maximize" if metric.endswith("accuracy") else "minimize"
        direction = direction or typer.prompt("maximize or minimize", default=least)
        budget = typer.prompt("Number of trials", default=budget, type=int)
    project = caviar.init(
        folder, way=way, name=name, file=file, metric=metric, direction=direction, epochs=epochs, budget=budget,
        data=data, command=command,
    )  # fmt: skip
    print_line(f"wrote {project.study}, {project.settings} and {project.page}")
    inside = "" if folder.absolute() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    print_line(
        f"\nnext: {inside}caviar plan {project.study.name}   ({project.page.name} says what comes then)", style="dim"
    )
