"""A whole Slurm in one folder: its daemons from Debian's packages, which are unpacked and not installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.helpers.command import until
from tests.helpers.debian import unpacked
from tests.helpers.pooler import free_port

_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge", "libmunge2", "libslurm38",
             "libhwloc15")  # fmt: skip
# Jobs of the partition `high` preempt those of `low`, which get their signal, some time for it, and another turn.
_SETTINGS = """
ClusterName=caviar
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={run}/munge/socket
CryptoType=crypto/munge
PluginDir={plugins}
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
SlurmctldLogFile={run}/slurmctld.log
SlurmdLogFile={run}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000,requeue_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=600
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace}
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""


class Slurm:
    """A Slurm with one node, between `with` and its end; it needs root.

    Args:
        cpus: of the node. It may say more than the machine has.
        grace: seconds between a preempted job's signal and its end.

    Attributes:
        environment: that its commands need, and that they hand to jobs.
    """

    def __init__(self, cpus: int = 4, grace: int = 30) -> None:
        self._root = unpacked(*_PACKAGES)
        self._run = Path(tempfile.mkdtemp(prefix="caviar-slurm-"))  # short: a socket's path is
        (libraries,) = (file.parent for file in (self._root / "usr/lib").glob("*/slurm-wlm"))
        for folder in ("munge", "state", "spool"):
            (self._run / folder).mkdir(mode=0o755)
        self._run.chmod(0o755)
        (self._run / "slurm.conf").write_text(
            _SETTINGS.format(host=socket.gethostname().partition(".")[0], control_port=free_port(),
                             node_port=free_port(), run=self._run, plugins=libraries / "slurm-wlm", cpus=cpus,
                             grace=grace)
        )  # fmt: skip
        self.environment = {
            **os.environ,
            "PATH": f"{self._root / 'usr/bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'slurm-wlm'}",
            "SLURM_CONF": str(self._run / "slurm.conf"),
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Slurm:
        with ExitStack() as failed:
            failed.callback(self._end)
            self._begin()
            failed.pop_all()
        return self

    def _begin(self) -> None:
        munge, programs = self._run / "munge", self._root / "usr/sbin"
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "pid-file": munge / "pid", "log-file": munge / "log", "seed-file": munge / "seed",
                 "socket": munge / "socket"}  # fmt: skip
        self._start(
            [programs / "munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items())]
        )
        until((munge / "socket").exists)
        self._start([programs / "slurmctld-wlm", "-D"])
        self._start([programs / "slurmd-wlm", "-D", "-d", programs / "slurmstepd-wlm"])
        until(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%t", check=False))

    def __exit__(self, *exception: object) -> None:
        self.call("scancel", "--full", "--user=root", check=False)
        until(lambda: not self.call("squeue", "--noheader", check=False).strip())
        self._end()

    def _end(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            process.wait()
        shutil.rmtree(self._run, ignore_errors=True)

    def _start(self, words: Sequence[str | Path]) -> None:
        log = (self._run / f"{Path(words[0]).name}.out").open("wb")
        self._started.append(subprocess.Popen(words, env=self.environment, stdout=log, stderr=log))

    def call(self, *words: str, given: str = "", check: bool = True) -> str:
        """Return what a command of Slurm's prints."""
        return subprocess.run(
            words, env=self.environment, input=given, capture_output=True, text=True, check=check
        ).stdout

    def submit(self, script: str, *options: str, folder: Path | None = None) -> str:
        """Submit a script; return the job's number."""
        return subprocess.run(
            ["sbatch", "--parsable", *options], env=self.environment, input=script, cwd=folder, text=True,
            capture_output=True, check=True,
        ).stdout.strip()  # fmt: skip
