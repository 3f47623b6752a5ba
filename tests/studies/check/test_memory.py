"""The memory that a check names is that of the processes that train."""

from __future__ import annotations

import subprocess
import sys

import pytest

from caviar.studies.check.memory import MemoryWatch

_MUCH = 2**28  # bytes


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is known of other processes")
def test_the_peak_of_a_process_that_was_started_is_added() -> None:
    watch, before = (MemoryWatch("cpu", in_other_processes=True) for _ in range(2))
    assert watch.most() is None  # not that of this process, in which nothing is trained
    before.look()  # at what other tests have started

    code = f"import sys; much = b'x' * {_MUCH}; del much; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        here = before.most() or MemoryWatch("cpu", in_other_processes=False).most()
        watch.look()
        child.kill()

    most = watch.most()
    assert most is not None
    assert here is not None
    assert _MUCH <= most - here < 2 * _MUCH
