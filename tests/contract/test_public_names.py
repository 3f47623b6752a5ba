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


def _is_called_by_users(name: str) -> bool:
    """Return whether a name is a function, a scale, a study or a sampler: no error, and no record that is returned."""
    public = getattr(caviar, name)
    rooms = ("caviar.studies.definition", "caviar.studies.space", "caviar.studies.search")
    return inspect.isfunction(public) or (inspect.isclass(public) and public.__module__.startswith(rooms))


CALLED = [name for name in caviar.__all__ if _is_called_by_users(name)]


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
    parts = [line.strip().split(":")[0] for line in lines if line.startswith("    ") and line[4] != " "]
    documented = {name for part in parts for name in part.split(", ")}
    common = {"study", "database", "data_dir"}  # explained once, in studies/api/__init__.py
    assert documented | common == set(inspect.signature(public).parameters) | common


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'caviar' has no attribute 'runn'"):
        _ = caviar.runn  # type: ignore[attr-defined]
