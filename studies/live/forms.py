"""The forms of a study's page that change something, where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caviar.studies.live.actions import ACTIONS, OF_A_PANDA, OF_A_SEARCH, Action, Field
from caviar.studies.live.html import Html, html, version_of
from caviar.studies.results.summaries import StudyState

_LOOK_ONLY = "This page changes nothing; <code>caviar dashboard --allow-changes</code> lets it pause, extend and more."


@dataclass(frozen=True)
class Forms:
    """The forms of one study's page.

    Args:
        study: its name.
        token: shows that a request comes from a form of these pages; None where nothing may be changed, and there are
            no forms.
    """

    study: str
    token: str | None = None

    def version(self, fingerprint: str) -> str:
        """Return the version of the page of a study with that fingerprint: its forms are part of it."""
        return version_of(fingerprint, self.token or "")

    def control(self, state: StudyState) -> Html:
        """Return the buttons that pause, resume and stop a study, those that make sense in its state."""
        if self.token is None or state == StudyState.DONE:
            return Html("")
        names = ("resume",) if state in (StudyState.PAUSED, StudyState.STOPPED) else ("pause", "stop")
        return Html(f'<div class="actions">{"".join(self._form(ACTIONS[name]) for name in names)}</div>')

    def end(self, trial: int, *, is_asked: bool) -> Html | None:
        """Return the button that ends a trial, or that it ends; None where there are no forms."""
        if self.token is None:
            return None
        if is_asked:
            return Html("ends after its epoch")
        field = f'<input type="hidden" name="trial" value="{trial}">'
        confirm = f"End trial {trial} after its epoch? Its place in the budget is spent."
        return self._form(ACTIONS["kill"], field, f"end {trial}", confirm)

    def below(self, *, is_panda: bool) -> str:
        """Return the forms with texts, which stand below the parts that are renewed; or how to get them."""
        if self.token is None:
            return f'<p class="dim">{_LOOK_ONLY}</p>'
        forms = "".join(self._form(action, self._fields(action.fields)) for action in _asked(is_panda=is_panda))
        return f'<h2>Change it</h2><div class="asked">{forms}</div>'

    def _fields(self, fields: Sequence[Field]) -> str:
        return "".join(
            f'<label for="of-{field.name}">{html(field.label)}</label><input id="of-{field.name}" name="{field.name}" '
            f'autocomplete="off" inputmode="{field.inputmode}"{" required" if field.required else ""} '
            f'aria-describedby="such-{field.name}">'
            f'<small id="such-{field.name}">such as {html(field.example)}</small><br>'
            for field in fields
        )

    def _form(self, action: Action, fields: str = "", label: str = "", confirm: str = "") -> Html:
        text, confirm = html(label or action.button), html(confirm or action.confirm)
        ask = f' data-confirm="{confirm}"' if confirm else ""
        return Html(
            f'<form method="post" action="/study/{html(self.study)}/{action.name}">'
            f'<input type="hidden" name="token" value="{html(self.token)}">{fields}'
            f'<button id="{text.replace(" ", "-")}"{ask}>{text}</button></form>'
        )


def _asked(*, is_panda: bool) -> Sequence[Action]:
    return OF_A_PANDA if is_panda else OF_A_SEARCH
