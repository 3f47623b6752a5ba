"""Write docs/reference/commands.md, the reference of the command line, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from caviar.studies.cli import app

PAGE = Path(__file__).parent / "reference" / "commands.md"
_EVERYWHERE = ("--help", "--database-url")  # described once, at the top of the page
_HEAD = """\
# Commands

<!-- Written by docs/commands.py from the commands themselves; `make docs` brings it up to date. -->

`caviar COMMAND --help` prints what stands here. A study is given as a name of the catalog or of the database, as a
path to a `.py` file with a `STUDY`, or as `package.module:NAME`.
"""


def walk() -> Iterator[tuple[list[str], Any]]:
    """Yield each command with the words that call it, `caviar` itself first."""
    command = typer.main.get_command(app)
    yield from _below([], command, command.make_context("caviar", [], resilient_parsing=True))


def _below(words: list[str], command: Any, context: Any) -> Iterator[tuple[list[str], Any]]:
    yield words, command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _below([*words, name], command.get_command(context, name), context)


def page() -> str:
    """Return the page as Markdown."""
    commands = [(words, command) for words, command in walk() if not command.hidden]
    database = next(p for _, command in commands for p in command.params if "--database-url" in p.opts)
    parts = [
        _HEAD,
        "## Options of every command\n",
        _table([*commands[0][1].params, _Help()]),
        "Every command that reads the database takes this one as well:\n",
        _table([database]),
    ]
    for words, command in commands[1:]:
        parts += _section(words, command)
    return "\n".join(parts).rstrip() + "\n"


def _section(words: list[str], command: Any) -> list[str]:
    is_group = hasattr(command, "list_commands")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.opts[0] not in _EVERYWHERE]
    usage = ["caviar", *words, *(["COMMAND"] if is_group else map(_placeholder, arguments))]
    text, examples, call = _parts(command.help or "")
    parts = [f"##{'#' * (len(words) - 1)} caviar {' '.join(words)}\n", f"{_text(text)}\n"]
    parts.append(f"```text\n{' '.join(usage)}{' [OPTIONS]' if options else ''}\n```\n")
    if arguments or options:
        parts.append(_table([*arguments, *options]))
    if examples:
        parts.append("```console\n" + "\n".join(f"$ {example}" for example in examples) + "\n```\n")
    if call:
        name = ".".join(re.findall(r"\w+", call.partition("(")[0]))
        parts.append(f"In Python: [`{call}`](python.md#{name})\n")
    return parts


def _parts(text: str) -> tuple[str, list[str], str]:
    """Split a command's help into its text, its examples, and the call that does the same in Python."""
    text, _, call = text.partition("In Python:")
    text, _, examples = re.sub("Examples:", "Example:", text).partition("Example:")
    split = re.split(r",\s+(?=caviar |CAVIAR_)", examples.strip())
    return text, [" ".join(example.split()) for example in split if example], " ".join(call.split())


class _Help:
    """The option that each command has, and that no list of parameters holds."""

    param_type_name, opts, secondary_opts, metavar, is_flag = "option", ["--help", "-h"], [], None, True
    help, default, envvar, required, min, max = "Show this message and exit.", None, None, False, None, None
    hidden = False


def _table(parameters: list[Any]) -> str:
    rows = [f"| {_names(p)} | {_description(p)} |" for p in parameters if not p.hidden]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_placeholder(parameter)}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} `{parameter.metavar or 'VALUE'}`"


def _placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    name = name if argument.nargs == 1 or name.endswith("...") else f"{name}..."
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _description(parameter: Any) -> str:
    text = _text(parameter.help).replace("\n", " ").replace("|", "\\|")
    remarks = []
    if parameter.required:
        remarks.append("required")
    if parameter.default not in (None, False, ()) and not callable(parameter.default):
        remarks.append(f"default: `{parameter.default}`")
    if parameter.min is not None or parameter.max is not None:
        least, most = parameter.min, parameter.max
        remarks.append(f"{'' if least is None else f'{least} ≤ '}value{'' if most is None else f' ≤ {most}'}")
    if parameter.envvar:
        remarks.append(f"environment: `{parameter.envvar}`")
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def _text(text: str | None) -> str:
    return (text or "").replace("<", "&lt;").replace("[", "\\[").strip()
