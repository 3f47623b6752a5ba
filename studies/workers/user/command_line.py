"""The line of a study's command, with placeholders for what differs from trial to trial.

It is cut into words as a shell would, and no shell reads it: what stands in for a placeholder stays within its word,
whatever characters it has.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Value
from caviar.suggestions import did_you_mean
from caviar.text import shown

ALL = "args"  # stands for `--name value` of every hyperparameter, each a word of its own
# What Caviar gives beside hyperparameters, which have precedence where one has the same name.
GIVEN = {
    "folder": "the trial's folder, which is saved",
    "epoch": "the last epoch that is written, 0 at first",
    "epochs": "the study's",
    "seed": "of the trial",
    "number": "of the trial",
    "device": "such as cpu or cuda:0",
    "gpus": "of the trial, 1 at least",
    "trial": "the path of a JSON file with all of this",
}
# Two braces stand for one; a lone brace is found, too, to be refused.
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class CommandLine:
    """The words of a command; make one by `parse`."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> CommandLine:
        """Cut a line into words.

        Raises:
            DefinitionError: it has no words, or a quote that is not closed.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise DefinitionError(f"the command cannot be read: {str(error).lower()}: {shown(line)}") from None
        if not words:
            raise DefinitionError('the command is empty; give a program, such as command="python train.py {args}"')
        return cls(tuple(words))

    def placeholders(self) -> set[str]:
        """Return the names that stand in braces."""
        return {match[1] for word in self.words for match in _BRACES.finditer(word) if match[1] is not None}

    def check(self, hyperparameters: Collection[str]) -> None:
        """Check that there is something for every placeholder, and a place for every hyperparameter.

        Raises:
            DefinitionError: there is not.
        """
        known, used = {*hyperparameters, *GIVEN, ALL}, self.placeholders()
        for word in self.words:
            for match in _BRACES.finditer(word):
                if match[0] in ("{", "}"):
                    raise DefinitionError(f"'{shown(word)}' has a lone {match[0]}; write {match[0] * 2} for a brace")
                if match[1] is not None and match[1] not in known:
                    raise DefinitionError(
                        f"there is nothing for {{{shown(match[1])}}} in the command; {did_you_mean(match[1], known)}"
                        f"hyperparameters: {', '.join(hyperparameters)}; beside them: {', '.join([*GIVEN, ALL])}; "
                        f"write {{{{ and }}}} for braces"
                    )
                if match[1] == ALL and word != match[0]:
                    raise DefinitionError(
                        f"{{{ALL}}} stands for several words, and is to be one of its own, not in '{shown(word)}'; "
                        f"for a shell: sh -c 'python train.py \"$@\"' sh {{{ALL}}}"
                    )
        missing = [name for name in hyperparameters if name not in used]
        if missing and not used & {ALL, "trial"}:
            raise DefinitionError(
                f"the command does not get {', '.join(missing)}; write {{{missing[0]}}} where the value belongs, "
                f"{{{ALL}}} for --name value of all, or {{trial}}, the path of a JSON file that has all"
            )

    def fill_in(self, values: Mapping[str, Value], given: Mapping[str, Value]) -> list[str]:
        """Return the words with values in place of placeholders.

        Args:
            values: of the hyperparameters.
            given: of `GIVEN`.
        """
        everything = {**given, **values}

        def value_of(match: re.Match[str]) -> str:
            return str(everything[match[1]]) if match[1] is not None else match[0][0]

        words = list[str]()
        for word in self.words:
            if word == f"{{{ALL}}}":
                words += [part for name, value in values.items() for part in (f"--{name}", str(value))]
            else:
                words.append(_BRACES.sub(value_of, word))
        return words
