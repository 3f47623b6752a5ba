"""What is the same for every launch at a site, as a small TOML file says it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from caviar.studies.errors import OptionError
from caviar.studies.launch.kubernetes_names import (
    Cores,
    Folder,
    ImageOrNone,
    LabelOrNone,
    LabelValue,
    Memory,
    QualifiedName,
    Subdomain,
)
from caviar.studies.space.problems import first_problem
from caviar.text import flaw, quoted, shown

FILE = "caviar-launch.toml"  # in the folder in which a launch is given
_OURS = {"containers", "volumes", "restartPolicy", "terminationGracePeriodSeconds", "shareProcessNamespace",
         "nodeSelector", "activeDeadlineSeconds"}  # fmt: skip
_SECRET = ("password", "secret", "_token", "access_key", "postgresql://", "postgres://", "postgresql+psycopg2://")


def _printable(text: str) -> str:
    if why := flaw(text, allowed="\t"):
        raise ValueError(f"it {why}; give one line without it")
    return text


def _variable(name: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"give letters, digits and _ as a variable's name, not {quoted(name)}")
    return name


_Line = Annotated[StrictStr, AfterValidator(_printable)]
_Variable = Annotated[StrictStr, AfterValidator(_variable)]


def _not_ours(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _OURS & set(pod):
        raise ValueError(f"Caviar writes {name} itself; give other fields of a pod, such as tolerations")
    return pod


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerSection(_Section):
    """The section [worker]: how `caviar` is called on a machine of the scheduler's.

    Attributes:
        command: the command, if it is not simply `caviar`.
        setup: lines of shell before it, such as `source .venv/bin/activate`; Kubernetes and Ray have none.
        environment: environment variables of each worker; no passwords.
        options: more options of `caviar join`.
    """

    command: _Line = ""
    setup: tuple[_Line, ...] = ()
    environment: Mapping[_Variable, _Line] = Field(default_factory=dict)
    options: tuple[_Line, ...] = ()


class SlurmSection(_Section):
    """The section [slurm].

    Attributes:
        partition, account, qos: as sbatch takes them; empty for Slurm's defaults.
        cpus: processor cores of a task; 0 for Slurm's default.
        memory: of a task, such as 16G; empty for Slurm's default.
        running: how many tasks of a job run at once at most; 0 for as many as there is room for.
        directives: more options of sbatch, such as --constraint=a100.
    """

    partition: _Line = ""
    account: _Line = ""
    qos: _Line = ""
    cpus: StrictInt = Field(default=0, ge=0)
    memory: _Line = ""
    running: StrictInt = Field(default=0, ge=0)
    directives: tuple[_Line, ...] = ()


class KubernetesSection(_Section):
    """The section [kubernetes].

    Attributes:
        image: of the container, with Caviar, the project and its data in it.
        namespace: where the job is made; empty for that of kubectl's context.
        secret: the name of a Secret whose key `url` holds the database's address.
        cpus, memory: of a pod, as Kubernetes writes quantities, such as 2 and 8Gi.
        gpu: the resource's name of a GPU.
        queue: the name of a LocalQueue of Kueue; empty for none.
        node_selector: labels that a node must have.
        volumes: the names of persistent volume claims, and the folders where pods have them.
        pod: more fields of a pod's specification, such as tolerations.
    """

    image: ImageOrNone = ""
    namespace: LabelOrNone = ""
    secret: Subdomain = "caviar"
    cpus: Cores = "1"
    memory: Memory = "4Gi"
    gpu: QualifiedName = "nvidia.com/gpu"
    queue: LabelOrNone = ""
    node_selector: Mapping[QualifiedName, LabelValue] = Field(default_factory=dict)
    volumes: Mapping[Subdomain, Folder] = Field(default_factory=dict)
    pod: Annotated[Mapping[str, Any], AfterValidator(_not_ours)] = Field(default_factory=dict)


class RaySection(_Section):
    """The section [ray].

    Attributes:
        address: of the cluster, as `ray.init` takes it; auto for the one that this machine is a part of.
        cpus: processor cores of each worker.
        folder: the project's folder, which Ray copies to each node; empty where each node has it.
    """

    address: _Line = "auto"
    cpus: StrictFloat | StrictInt = Field(default=1, ge=0, allow_inf_nan=False)
    folder: _Line = "."


class Site(_Section):
    """The settings of a site; each has a default."""

    worker: WorkerSection = WorkerSection()
    slurm: SlurmSection = SlurmSection()
    kubernetes: KubernetesSection = KubernetesSection()
    ray: RaySection = RaySection()


def read_site(path: Path | None = None) -> Site:
    """Read the settings of a site.

    Args:
        path: of the file; None for caviar-launch.toml in this folder, which need not be there.

    Raises:
        OptionError: the file cannot be read, or says what cannot be.
    """
    file = Path(FILE) if path is None else path
    if path is None and not file.exists():
        return Site()
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{shown(str(file))} cannot be read ({error}); write one with: caviar launch init --on SCHEDULER"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{shown(str(file))} is not TOML: {shown(str(error), 200)}") from None
    return _checked(given, file)


def _checked(given: Mapping[str, Any], file: Path) -> Site:
    try:
        site = Site.model_validate(given)
    except ValidationError as error:
        raise OptionError(f"{shown(str(file))}: {first_problem(error, _names(error))}") from None
    for name, value in site.worker.environment.items():
        if any(word in f"{name}={value}".lower() for word in _SECRET) or name == "CAVIAR_DATABASE_URL":
            raise OptionError(
                f"{shown(str(file))}: the variable {shown(name)} may hold a password, "
                "which others could read there; let CAVIAR_DATABASE_URL_FILE name a file of your own"
            )
    return site


def _names(error: ValidationError) -> list[str]:
    """Return the names that could be meant by what is wrong first: sections, or the settings of one."""
    section, *setting = error.errors()[0]["loc"]
    field = Site.model_fields.get(str(section)) if setting else None
    return [*(Site.model_fields if field is None or field.annotation is None else field.annotation.model_fields)]
