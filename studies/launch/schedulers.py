"""The scheduler of a name: each is loaded when it is asked for."""

from __future__ import annotations

from caviar.studies.errors import OptionError
from caviar.studies.launch.scheduler import Scheduler, SchedulerKind
from caviar.studies.launch.site import Site
from caviar.text import shown


def scheduler_kind(name: str) -> SchedulerKind:
    """Return the scheduler of a name.

    Raises:
        OptionError: there is none.
    """
    try:
        return SchedulerKind(name)
    except ValueError:
        raise OptionError(f"--on {shown(name)}: give {', '.join(SchedulerKind)}") from None


def scheduler_of(kind: SchedulerKind, site: Site) -> Scheduler:
    """Return a scheduler with a site's settings."""
    match kind:
        case SchedulerKind.SLURM:
            from caviar.studies.launch.slurm import Slurm

            return Slurm(site)
        case SchedulerKind.KUBERNETES:
            from caviar.studies.launch.kubernetes import Kubernetes

            return Kubernetes(site)
        case SchedulerKind.RAY:
            from caviar.studies.launch.ray_cluster import RayCluster

            return RayCluster(site)
