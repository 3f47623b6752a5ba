"""Become another program, which gets SIGTERM when the process that started it dies, however that one dies.

A program of its own, `python -m caviar.studies.launch.bound PARENT PROGRAM ARGUMENT...`. The kernel tells of the end of
the thread that started it, on Linux alone; elsewhere the program goes on, and its worker leaves when the study is done.
Source: PR_SET_PDEATHSIG(2const).
"""

from __future__ import annotations

import os
import signal
import sys

from caviar.studies.workers.user.guardian import PR_SET_PDEATHSIG, prctl


def main(parent: int, arguments: list[str]) -> None:
    """Become the program of the arguments; exit with 75 if the parent has ended, and with 2 if there is no program."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a program that is executed keeps it
    if os.getppid() != parent:  # it died before the kernel was asked to tell
        sys.exit(os.EX_TEMPFAIL)
    try:
        os.execvp(arguments[0], arguments)
    except OSError as error:
        print(f"{arguments[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
