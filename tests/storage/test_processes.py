"""What a process has started is found, and ended, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys

from caviar.storage.processes import Process, descendants, end, is_alive
from tests.helpers.command import until

_PARENT = "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 600; true']); print(flush=True); input()"


def test_children_and_theirs_are_found_and_ended() -> None:
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        until(lambda: len(descendants(parent.pid)) == 2)
        started = descendants(parent.pid)
        assert started < descendants(os.getpid())
        parent.kill()
        parent.wait()
        assert all(is_alive(process.pid) for process in started)
        end(started)
        until(lambda: not any(is_alive(process.pid) for process in started))


def test_a_process_that_has_only_the_id_of_another_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        end({Process(other.pid, "1"), Process(other.pid, "")})
        assert other.poll() is None
        assert is_alive(other.pid)
        other.kill()
