"""Text that comes from outside: what keeps it from being stored, and how a message shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from caviar.limits import MESSAGE, NAME

_BREAKS = "\n\v\f\r\x1c-\x1e\x85\u2028\u2029"  # where str.splitlines begins a new line
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # Python's stand-ins for bytes of arguments and variables that are no UTF-8
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNPRINTABLE = re.compile(f"{_NOT_UTF8.pattern}|{_CONTROL.pattern}")

# What no terminal may get from a text: C0 but for tab and newline, DEL, C1 (0x9b begins an escape sequence, too), and
# what changes the direction of writing.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def flaw(text: str, most: int | None = None, allowed: str = "") -> str | None:
    """Return why a text can be neither stored nor shown, as the end of a sentence; None if it can be.

    Args:
        most: its largest length in characters; None for any.
        allowed: control characters that it may have, such as line breaks.
    """
    if most is not None and len(text) > most:
        return f"has {len(text):,} characters, more than {most:,}"
    if _NOT_UTF8.search(text):
        return "is not UTF-8"
    if control := next((c for c in _CONTROL.findall(text) if c not in allowed), None):
        return f"has the control character {_escaped(control)}"
    return None


def whole_number(text: str) -> int | None:
    """Return the number that a text of digits stands for; None for any other text, and for one of more than 18 digits.

    Python raises an error of its own for more than 4,300.
    """
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def shown(text: str, most: int = NAME) -> str:
    """Return a text as a message quotes it: in one line, with escapes for what cannot be printed, and cut."""
    cut = text if len(text) <= most else f"{text[:most]}..."
    return _UNPRINTABLE.sub(lambda match: _escaped(match[0]), cut)


def quoted(value: object, most: int = 2 * NAME) -> str:
    """Return a value of any type as Python writes it, in one line and cut, whatever its class does."""
    try:
        return shown(repr(value), most)
    except Exception:  # noqa: BLE001 - of a class of the user's own; or an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__} that cannot be shown"


def one_line(message: str) -> str:
    """Return an error's message in one line of at most `MESSAGE` characters."""
    return shown(re.sub(rf"\s*[{_BREAKS}]\s*", " ", message.strip()), MESSAGE)


def storable(value: Any) -> Any:
    """Return a text, or a document of lists and mappings, that PostgreSQL can store as JSON: it takes neither NUL nor
    halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {storable(key): storable(each) for key, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list | tuple) else value


def printable(text: str) -> str:
    """Return a text without control characters, except for tabs and newlines."""
    return CONTROL.sub("", text)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
