"""What the Compose specification's schema cannot tell about docker-compose.yml, and the files that go with it."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from caviar.storage.settings import parse_url
from tests.helpers.documents import find, options_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
EXAMPLE = (ROOT / ".env.example").read_text()


def lines(file: str) -> list[str]:
    return (ROOT / file).read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_is_written_down_has_a_default_or_is_an_argument(name: str) -> None:
    passwords = {key: value for key, value in SERVICES[name]["environment"].items() if "PASSWORD" in key}
    assert passwords
    for value in passwords.values():
        assert re.fullmatch(r"\$\{CAVIAR_(DB|DASHBOARD)_PASSWORD:\?[^}]+\}", value)
    assert "PASSWORD" not in str(SERVICES[name].get("command"))


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_only_unless_told_otherwise(name: str) -> None:
    assert "network_mode" not in SERVICES[name]
    for port in SERVICES[name].get("ports", []):
        assert re.match(r"\$\{\w+:-127\.0\.0\.1\}:", port), port


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_option_exists(name: str) -> None:
    words = SERVICES[name]["command"]
    assert isinstance(words, list)  # a shell would keep SIGTERM to itself
    assert {word for word in words if word.startswith("-")} <= options_of(find(words))


@pytest.mark.parametrize("name", OURS)
def test_the_database_is_that_of_this_file_and_its_address_has_no_password(name: str) -> None:
    url = parse_url(SERVICES[name]["environment"]["CAVIAR_DATABASE_URL"])
    assert url.host in SERVICES
    assert url.password is None


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_and_mounts_is_there(name: str) -> None:
    for other, what in SERVICES[name].get("depends_on", {}).items():
        assert what["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        assert what["condition"] != "service_completed_successfully" or SERVICES[other]["restart"] == "no"
    assert {volume.partition(":")[0] for volume in SERVICES[name].get("volumes", [])} <= set(COMPOSE["volumes"])


def test_every_variable_stands_in_the_example_with_its_default() -> None:
    used = re.findall(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}", TEXT)
    assert len(used) == TEXT.count("${")
    assert set(re.findall(r"^(?:# )?(\w+)=(.*)$", EXAMPLE, re.MULTILINE)) == set(used)
    assert re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE) == ["CAVIAR_DB_PASSWORD", "CAVIAR_DASHBOARD_PASSWORD"]


def test_neither_git_nor_the_image_takes_the_password() -> None:
    assert ".env" in lines(".gitignore")
    assert any(fnmatch(".env", pattern) for pattern in lines(".dockerignore"))


def test_the_image_is_installed_as_the_makefile_does_it() -> None:
    dockerfile = lines("Dockerfile")
    install = dockerfile.index("RUN python -m pip install --no-cache-dir --editable '.[dashboard,report]'")
    assert any(
        re.search(r"python -m pip install .*--editable '\.\[dashboard,report\]'$", line) for line in lines("Makefile")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        # pip installs nothing of a package that has no file yet, and says nothing
        assert f"COPY {package}/__init__.py {package}/" in dockerfile[:install]


def test_the_image_runs_as_nobody_special_and_without_a_shell_that_keeps_sigterm_to_itself() -> None:
    assert lines("Dockerfile")[-2:] == ["USER caviar", 'ENTRYPOINT ["caviar"]']
