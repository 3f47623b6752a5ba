"""Names and quantities as Kubernetes takes them: types of a site's settings."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StrictStr

from caviar.text import quoted

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*"
_PREFIX = rf"(?:(?=[^/]{{1,253}}/){_LABEL}(?:\.{_LABEL})*/)?"
_NAME = r"[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_NUMBER = r"(?=[0-9.]*[1-9])[0-9]{1,9}(?:\.[0-9]{1,3})?"  # above 0
_LABEL_WORDS = "at most 63 lower-case letters, digits and dashes"


def is_label(text: str) -> bool:
    """Return whether a text is a DNS label, as the names of namespaces and jobs are."""
    return re.fullmatch(_LABEL, text) is not None


def _form(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"give {words}, not {quoted(text)}")
        return text

    return AfterValidator(check)


LabelOrNone = Annotated[StrictStr, _form(rf"({_LABEL})?", _LABEL_WORDS)]
LabelValue = Annotated[StrictStr, _form(rf"({_NAME})?", "the value of a label: letters, digits and . _ -")]
Subdomain = Annotated[StrictStr, _form(_SUBDOMAIN, "lower-case letters, digits, dashes and dots")]
QualifiedName = Annotated[StrictStr, _form(_PREFIX + _NAME, "a name such as nvidia.com/gpu")]
Cores = Annotated[StrictStr, _form(rf"{_NUMBER}|[1-9][0-9]{{0,8}}m", 'cores such as "4" or "500m"')]
Memory = Annotated[StrictStr, _form(rf"{_NUMBER}(Mi|Gi|Ti|M|G|T)", 'a size such as "8Gi"')]
ImageOrNone = Annotated[StrictStr, _form(r"([A-Za-z0-9][-._A-Za-z0-9/:@]{0,500})?", "one as registry/me/project:1")]
Folder = Annotated[StrictStr, _form(r"/[^\s:]{1,500}", "a path from / on, without : and blanks")]
