"""Build the documentation into site/, and end with an error where anything is amiss.

Zensical's strict mode counts broken links, but not what mkdocstrings and griffe print about a docstring: each of these
lines is an error here. With --check the pages of reference are not written, and it is an error where they are not
current.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from docs import commands, names

ROOT = Path(__file__).parents[1]
_COMPLAINT = re.compile(r"^(griffe|mkdocstrings)\b.*|\S*[Ww]arning:.*", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Bring the two pages of reference up to date, build the site, and return the exit code."""
    parser = argparse.ArgumentParser(description="Build the documentation into site/.")
    parser.add_argument("--check", action="store_true", help="write no page of reference, but compare it")
    check = parser.parse_args().check
    stale = [module.PAGE for module in (commands, names) if not _is_current(module, write=not check)]
    for page in stale:
        print(f"{page.relative_to(ROOT)} is not current: make docs brings it up to date")
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    output = _COLOUR.sub("", done.stdout)
    print(output, end="")
    failed = bool(done.returncode or complaints(output) or stale)
    print("the documentation has errors" if failed else "the documentation is in site/index.html")
    return int(failed)


def _is_current(module: ModuleType, write: bool) -> bool:
    page = module.page()
    if write:
        module.PAGE.write_text(page)
    return bool(module.PAGE.read_text() == page)


def complaints(output: str) -> list[str]:
    """Return what the build printed about broken links and docstrings, one entry a line."""
    return [line.group() for line in _COMPLAINT.finditer(output)]


if __name__ == "__main__":
    sys.exit(main())
