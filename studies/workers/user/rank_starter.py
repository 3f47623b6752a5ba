"""The process that starts the ranks of a worker's trials, and ends them however the worker comes to its end.

A fork of a process that has imported PyTorch costs 20 ms, an import 4 s; and a worker cannot fork itself, for it has
threads. So a process stands between, which has none, nor any code of the user's own:

    worker ──socket──> starter ──fork──> rank 0, rank 1, ...     each the leader of a session of its own

    the worker ends       the starter's socket has an end: it kills all ranks with what they have started, and ends
    the starter ends      the kernel kills the ranks (PR_SET_PDEATHSIG), on Linux
    a rank ends           the starter says how; the worker decides what that means for the others

torchrun's own agent is not used: it tells of the first process that it sees dead, which is often a sound one whose
partner was killed, and gives the others 30 s to end. The ranks have the variables of torchrun all the same.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Literal

from caviar.limits import RANKS
from caviar.storage import processes
from caviar.studies.workers.local.output import print_whole_lines
from caviar.studies.workers.local.process import RANK, RANK_STARTER, no_main_module, no_signals
from caviar.studies.workers.local.signals import GRACEFUL
from caviar.studies.workers.user.channel import Channel
from caviar.studies.workers.user.environment import hide, visible_devices
from caviar.studies.workers.user.guardian import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from caviar.studies.workers.user.rank import Job, read_job, train

_PR_SET_NAME = 15
_IS_LINUX = sys.platform == "linux"
_OUTPUT = (1, 2)  # the descriptors of stdout and stderr
_END_SECONDS = 5.0  # that the starter may take to end


class RankStarter:
    """Starts ranks, one group after the other, from `with` to its end.

    Args:
        method: how its process is started. `fork` is for a process that has no other thread yet; else the fork server
            of this process is used.

    Attributes:
        channel: what it says of the ranks.
        close: ends it, and the ranks.
    """

    def __init__(self, method: Literal["fork", "forkserver"] = "forkserver") -> None:
        ours, theirs = socket.socketpair()
        context = multiprocessing.get_context("fork") if method == "fork" else multiprocessing.get_context("forkserver")
        inherited = (ours,) if method == "fork" else ()
        self.process = context.Process(target=_serve, args=(theirs, inherited), name="caviar ranks")
        with no_signals(), nullcontext() if method == "fork" else no_main_module():
            self.process.start()
        theirs.close()
        self._socket = ours
        self.channel = Channel(ours)
        self.close = Finalize(self, ours.close, exitpriority=0)  # else a process that ends would wait for the starter

    def start(self, job: Job) -> list[Channel]:
        """Start the ranks of a job, which print where this process prints now; return the lines to them."""
        pairs = [socket.socketpair() for _ in job.devices]
        message = f"{job.write()}\n".encode()
        with suppress(OSError):  # it was killed: then its channel has an end, too
            socket.send_fds(self._socket, [message], [*_OUTPUT, *(theirs.fileno() for _, theirs in pairs)])
        for _, theirs in pairs:
            theirs.close()
        return [Channel(ours) for ours, _ in pairs]

    def kill(self) -> None:
        """Kill the ranks. The starter says when all of them have ended."""
        with suppress(OSError):
            self._socket.sendall(b"\n")

    def __enter__(self) -> RankStarter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self.process.join(_END_SECONDS)


def _serve(control: socket.socket, inherited: Sequence[socket.socket]) -> None:
    """Start ranks for a worker, until it ends."""
    for end in inherited:
        end.close()
    os.setsid()
    for number in GRACEFUL:  # to a whole group, as of Slurm; the worker hears it, and finishes its epoch
        signal.signal(number, signal.SIG_IGN)
    hide(os.environ)
    if _IS_LINUX:
        _set_name(RANK_STARTER)
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # of processes that a dead rank leaves behind
    while (request := _receive(control)) is not None:
        path, descriptors = request
        if path:
            output, ends = descriptors[: len(_OUTPUT)], descriptors[len(_OUTPUT) :]
            _Group(control, read_job(path), output, [socket.socket(fileno=end) for end in ends]).run()


def _receive(control: socket.socket) -> tuple[str, list[int]] | None:
    """Wait for a request; return the path of a job, or an empty one to kill its ranks, and what came with it."""
    try:
        data, descriptors, _, _ = socket.recv_fds(control, 4096, len(_OUTPUT) + RANKS)
    except ConnectionError:
        return None
    return (data.decode().strip(), descriptors) if data else None


class _Group:
    """The ranks of one job, in their starter."""

    def __init__(self, control: socket.socket, job: Job, output: Sequence[int], ends: Sequence[socket.socket]) -> None:
        self._control, self._channel, self._job = control, Channel(control), job
        context, starter = multiprocessing.get_context("fork"), os.getpid()
        self._ranks: list[BaseProcess] = []
        for rank in range(len(job.devices)):
            arguments = (starter, control, job, rank, output, ends)
            process = context.Process(target=_run, args=arguments, name=f"caviar rank {rank}")
            process.start()
            self._ranks.append(process)
        for end in ends:
            end.close()
        for descriptor in output:
            os.close(descriptor)

    def run(self) -> None:
        """Say of each rank how it ended, until all have, or kill them where the worker asks or ends."""
        running = dict(enumerate(self._ranks))
        has_worker = True
        while running:
            sentinels = {process.sentinel: rank for rank, process in running.items()}
            waited_for: list[socket.socket | int] = [*sentinels, *([self._control] if has_worker else [])]
            for ready in wait(waited_for):
                if ready is self._control:
                    has_worker = _receive(self._control) is not None
                    self._kill()
                elif isinstance(ready, int):
                    rank = sentinels[ready]
                    process = running.pop(rank)
                    process.join()
                    self._channel.send({"ended": rank, "exit": process.exitcode})
        self._kill()  # what they have left behind
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not has_worker:
            shutil.rmtree(self._job.folder, ignore_errors=True)
        self._channel.send({"over": True})

    def _kill(self) -> None:
        """Kill the ranks with all that they have started: on Linux what left their process groups, too."""
        for process in self._ranks:
            with suppress(OSError):  # it has no group yet, or nothing is left of it
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
        processes.end(processes.descendants(os.getpid()))


def _run(
    starter: int, control: socket.socket, job: Job, rank: int, output: Sequence[int], ends: Sequence[socket.socket]
) -> None:
    """Be a rank."""
    if _IS_LINUX:
        _set_name(f"{RANK}{rank}")
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:
            os.kill(os.getpid(), signal.SIGKILL)
    os.setsid()
    control.close()
    for number, end in enumerate(ends):
        if number != rank:
            end.close()
    for descriptor, standard in zip(output, _OUTPUT, strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    print_whole_lines()
    for number in GRACEFUL:  # a program that it starts does not inherit a handler
        signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GRACEFUL)
    faulthandler.enable(job.stack(rank).open("w"))  # of a crash; to SHOW_STACK it answers where its worker would
    size = len(job.devices)
    if _IS_LINUX:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all of them are on this machine
    os.environ.update({
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "ROLE_RANK": str(rank),
        "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "GROUP_WORLD_SIZE": "1", "ROLE_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": f"caviar-{job.number}",
    })  # fmt: skip
    if job.devices[rank] != "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices(job.devices)
    train(job, rank, ends[rank])


def _ignore(*_: object) -> None:
    """Do nothing."""


def _set_name(name: str) -> None:
    """Give this process a name, by which `top` shows it, too."""
    prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))
