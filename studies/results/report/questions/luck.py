"""Is the winner better, or was it luck?"""

from __future__ import annotations

from caviar.studies.results.confirmation import Comparison, in_words
from caviar.studies.results.formatting import told_apart
from caviar.studies.results.report.questions.commands import confirm
from caviar.studies.results.report.questions.noise import UNKNOWN, differs, reach
from caviar.studies.results.report.records import Answer, Report
from caviar.studies.results.winner import Winner
from caviar.studies.search.noise import Basis, Noise


def ahead(report: Report, winner: Winner, noise: Noise | None) -> Answer:
    """Say whether the winner's lead over the best trial of another configuration is more than luck."""
    question = "Is the winner better than the runner-up by more than its noise?"
    if report.runner_up is None:
        return Answer(question, "There is no other complete trial.")
    if winner.confirmation:
        verdicts = {Comparison.BETTER: "Yes", Comparison.WORSE: "No", Comparison.OPEN: "It is not clear"}
        return Answer(question, f"{verdicts[winner.confirmation.verdict]}: {in_words(winner.confirmation)}.")
    other = report.trials[report.runner_up].value or 0.0
    value, command = winner.value or 0.0, confirm(report)
    apart = value - other if report.study.maximize else other - value
    its, others = told_apart(value, other)
    values = f"trial {report.runner_up} came to {others}, the winner to {its}"
    if apart < 0:
        return Answer(
            question,
            f"Not by its value: {values}; but if both were trained again, the winner is expected to be better.",
            command,
        )
    if winner.expected and winner.expected.low <= other <= winner.expected.high:
        return Answer(question, f"It is not clear: {values}, and its other trainings may come to either.", command)
    if noise is None or noise.basis is Basis.EXAMPLES:  # which bounds it, and knows nothing of these trainings
        return Answer(question, f"It is not clear: {values}; {UNKNOWN}.", command)
    if apart <= reach(noise):
        why = (
            f"two trainings of one configuration may be as far apart: up to {reach(noise):.2g}, since {differs(noise)}"
        )
        return Answer(question, f"It is not clear: {values}, and {why}.", command)
    luck = f"two of one configuration are hardly further apart than {reach(noise):.2g}, since {differs(noise)}"
    return Answer(question, f"Probably: {values}, and {luck}. More trainings show it.", command)
