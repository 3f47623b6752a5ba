"""Read the documentation: its pages, code blocks and links, and the commands and options that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs.commands import walk

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference" / "commands.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page != REFERENCE),
]
COMMANDS = {tuple(words): command for words, command in walk()}


def name_of(page: Path) -> str:
    """Return a page's path below the root, as the name of a test's case."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def without_blocks(page: Path) -> str:
    """Return a page's text without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Return every `caviar ...` in code as its words, without those that a shell takes for itself."""
    inline = re.findall(r"`(caviar [^`]+)`", without_blocks(page))
    typed = [line for block in blocks(page, "console") for line in re.findall(r"^\$ (caviar .*)$", block, re.MULTILINE)]
    return [re.split(r"\s+[#>|]", line)[0].split()[1:] for line in [*inline, *typed]]


def find(words: list[str]) -> Any:
    """Return the command that words call.

    Raises:
        AssertionError: there is none of that name.
    """
    called: list[str] = []
    for word in words:
        if word.startswith("-") or not hasattr(COMMANDS[tuple(called)], "list_commands"):
            break
        if word in ("COMMAND", "..."):
            break
        if (*called, word) not in COMMANDS and (*called, "start") in COMMANDS:  # caviar launch STUDY
            word = "start"
        assert (*called, word) in COMMANDS, f"caviar {' '.join(words)}: no '{word}'"
        called.append(word)
    return COMMANDS[tuple(called)]


def options_of(command: Any) -> set[str]:
    """Return the options that a command takes, `caviar`'s own among them."""
    parameters = [*command.params, *COMMANDS[()].params]
    return {name for p in parameters for name in [*p.opts, *p.secondary_opts] if name.startswith("-")} | {
        "--help",
        "-h",
    }
