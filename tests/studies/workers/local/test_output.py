"""What processes print into one file."""

from __future__ import annotations

import os
import subprocess
import sys

_PRINT = """
from caviar.studies.workers.local.output import print_whole_lines
print_whole_lines()
for _ in range(2_000):
    print("{}" * 40)
"""


def test_lines_of_several_processes_do_not_mix_without_a_buffer_either() -> None:
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    programs = [
        subprocess.Popen([sys.executable, "-c", _PRINT.format(letter)], stdout=writing, env=environment)
        for letter in "ab"
    ]
    os.close(writing)
    with os.fdopen(reading) as lines:
        printed = lines.read().splitlines()
    assert [program.wait() for program in programs] == [0, 0]
    assert {line: printed.count(line) for line in set(printed)} == {"a" * 40: 2_000, "b" * 40: 2_000}
