"""The names that `import caviar` gives: each is there, is listed, and explains itself."""

from __future__ import annotations

import inspect

import pytest

import caviar


@pytest.mark.parametrize("name", caviar.__all__)
def test_every_public_name_resolves_and_has_a_docstring(name: str) -> None:
    public = getattr(caviar, name)
    doc = inspect.getdoc(public) or ""
    assert doc.splitlines()[0].endswith((".", ":"))
    assert name in dir(caviar)


def _is_made_by_users(name: str) -> bool:
    return inspect.isfunction(getattr(caviar, name))


CALLED = [name for name in caviar.__all__ if _is_made_by_users(name)]


@pytest.mark.parametrize("name", CALLED)
def test_whatever_a_user_calls_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(caviar, name)) or "")


@pytest.mark.parametrize("name", CALLED)
def test_the_documented_arguments_are_those_that_there_are(name: str) -> None:
    public = getattr(caviar, name)
    if not inspect.isfunction(public):
        pytest.skip("a class")
    doc = inspect.getdoc(public) or ""
    _, _, after = doc.partition("Args:\n")
    lines = after.split("\n\n")[0].splitlines()
    documented = {line.strip().split(":")[0] for line in lines if line.startswith("    ") and line[4] != " "}
    assert documented == set(inspect.signature(public).parameters)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'caviar' has no attribute 'runn'"):
        _ = caviar.runn  # type: ignore[attr-defined]
