"""axe-core, which finds what people with poor sight, or without a mouse, cannot use on a page: https://www.deque.com/axe.

It is a package of npm's (MPL-2.0), and no part of this repository: npm fetches it once into the environment that the
tests run in, as it is configured there. Without npm, or without a registry, the tests that need it are skipped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import Browser

_VERSION = "4.14.1"
_DIGEST = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"  # SHA-256 of its axe.min.js
_FILE = Path(sys.prefix) / f"axe-core-{_VERSION}.min.js"
_SECONDS = 120
_GRAVE = ("serious", "critical")
_RUN = """
    const told = [];
    const found = await axe.run(document, {resultTypes: ["violations"]});
    for (const rule of found.violations) if (arguments[0].includes(rule.impact)) for (const node of rule.nodes)
      told.push(`${rule.id} (${rule.impact}): ${node.html.slice(0, 160)}: ${node.any.concat(node.all, node.none).map(
        check => check.message).join(" ")}`);
    return told;
"""


def axe_core() -> str:
    """Return the source of axe-core; skip the test where it cannot be had."""
    if not _is_right(_FILE):
        with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
            _fetch(Path(folder))
            os.replace(Path(folder) / "package" / "axe.min.js", _FILE)
        assert _is_right(_FILE), f"axe-core {_VERSION} is not what it was"
    return _FILE.read_text(encoding="utf-8")


def grave_findings(page: Browser, axe: str) -> list[str]:
    """Return what is serious or critical on the page that a browser shows."""
    if not page.ask("return typeof axe !== 'undefined'"):
        page.ask(f"{axe}; window.axe = axe")
    found: list[Any] = page.ask(f"return (async () => {{ {_RUN.replace('arguments[0]', str(list(_GRAVE)))} }})()")
    return found


def _is_right(file: Path) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == _DIGEST


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no axe-core here, and no npm that could fetch it")
    command = [npm, "pack", f"axe-core@{_VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, cwd=folder)
    except subprocess.TimeoutExpired:
        pytest.skip("no axe-core here: npm does not come to an end")
    if done.returncode:
        pytest.skip(f"no axe-core here: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        package.extract("package/axe.min.js", folder, filter="data")
