"""The file of a site's settings to begin with: each with an example and what it means."""

from __future__ import annotations

from pathlib import Path

from caviar.studies.errors import OptionError
from caviar.studies.launch.scheduler import SchedulerKind
from caviar.studies.launch.site import FILE
from caviar.text import shown

_HEAD = """\
# Settings of this site for `caviar launch`. Each line is an example: take the # away where you need it.

[worker]
# command = "caviar"                               # how Caviar is called on a machine of the scheduler's
# setup = ["source .venv/bin/activate"]            # lines of shell before it (Slurm)
# options = ["--epoch-timeout", "1h"]              # more options of caviar join
# environment = { CAVIAR_DATABASE_URL_FILE = "~/.caviar-url" }    # variables of each worker; no passwords
"""
_TEMPLATES = {
    SchedulerKind.SLURM: """
[slurm]
# partition = "gpu"
# account = "my-group"
# qos = "normal"
# cpus = 4                                         # cores of a worker
# memory = "16G"                                   # of a worker
# running = 8                                      # at most so many at once
# directives = ["--constraint=a100"]               # any other options of sbatch
""",
    SchedulerKind.KUBERNETES: """
[kubernetes]
image = ""                                         # with Caviar, the project and its data, as registry/me/project:1
# namespace = "research"
# secret = "caviar"                                # kubectl create secret generic caviar --from-file=url=FILE
# cpus = "1"
# memory = "4Gi"
# gpu = "nvidia.com/gpu"
# queue = "research"                               # a LocalQueue of Kueue
# node_selector = { "node.kubernetes.io/instance-type" = "p4d.24xlarge" }
# volumes = { "datasets" = "/data" }               # persistent volume claims, and where pods have them
# pod = { priorityClassName = "low" }              # any other fields of a pod, such as tolerations
""",
    SchedulerKind.RAY: """
[ray]
# address = "auto"                                 # of the cluster that this machine is a part of
# cpus = 1                                         # cores of a worker
# folder = "."                                     # the project, which Ray copies to each node; "" for none
""",
}


def write_template(kind: SchedulerKind, path: Path | None = None) -> Path:
    """Write a file of settings for a scheduler, each with an example and what it means; return its path.

    Args:
        path: None for caviar-launch.toml in this folder.

    Raises:
        OptionError: there is such a file, or it cannot be written.
    """
    file = Path(FILE) if path is None else path
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(_HEAD + _TEMPLATES[kind])
    except FileExistsError:
        raise OptionError(
            f"there is {shown(str(file))} already: change it, or write another one with --site FILE, and copy from it"
        ) from None
    except OSError as error:
        raise OptionError(f"{shown(str(file))} cannot be written ({error.strerror})") from None
    return file
