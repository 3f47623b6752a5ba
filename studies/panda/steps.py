"""What to do next with a panda: the list that its commands, its pages and its report show."""

from __future__ import annotations

from caviar.studies.panda.records import Journal
from caviar.studies.results.next_steps import Reason, Step


def panda_steps(journal: Journal) -> tuple[Step, ...]:
    """Return what to do next with a panda, the most useful step first."""
    name, born = journal.name, len(journal.days) > 1
    look = Step(Reason.LOOK, f"caviar report {name} --open", "the tree of its days")
    if journal.trains:
        return Step(Reason.FOLLOW, f"caviar panda log {name} --watch", f"{journal.trains} trains it"), look
    commands = journal.advice.commands if journal.advice else (f"caviar panda train {name}",)
    steps = [
        Step(Reason.GO_ON, command, "the next day") if command.startswith("caviar panda train")
        else Step(Reason.ADVICE, command, "as its curve says")
        for command in commands
    ]  # fmt: skip
    use = [Step(Reason.USE, f"caviar best {name} --save {name}-model", "its weights")] * born
    return *steps, look, *use
