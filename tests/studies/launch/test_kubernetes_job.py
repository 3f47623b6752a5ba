"""The manifest of a Job: as the schemas of Kubernetes have it, and as a site and a request ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from caviar.studies.errors import OptionError
from caviar.studies.launch.kubernetes import Kubernetes
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.site import Site, read_site
from tests.helpers.documents import blocks

FULL = {
    "kubernetes": {
        "image": "registry:5000/me/project@sha256:0a1b",
        "namespace": "research",
        "secret": "study-database",
        "cpus": "500m",
        "memory": "1.5Gi",
        "gpu": "amd.com/gpu",
        "queue": "gpus",
        "node_selector": {"kubernetes.io/arch": "amd64"},
        "volumes": {"datasets": "/data", "scratch": "/scratch"},
        "pod": {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "priorityClassName": "low"},
    },
    "worker": {"command": "python -m caviar", "environment": {"CAVIAR_DATA_DIR": "/data", "PRICE": "$5 for $(HOME)"}},
}
ASKED = LaunchRequest("My.net", 8, 2, seconds=4 * 3600, grace=60)


def manifest(site: dict[str, Any], request: LaunchRequest = ASKED) -> dict[str, Any]:
    """What a cluster reads of a manifest."""
    read = yaml.safe_load(Kubernetes(Site.model_validate(site)).text(request))
    assert isinstance(read, dict)
    return read


def pod(site: dict[str, Any], request: LaunchRequest = ASKED) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specification of a pod, and its container."""
    found = manifest(site, request)["spec"]["template"]["spec"]
    return found, found["containers"][0]


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize("site", [{"kubernetes": {"image": "me/project"}}, FULL], ids=["smallest", "full"])
def test_it_is_valid_for_each_version_of_kubernetes(site: dict[str, Any], version: str) -> None:
    assert kubernetes_validate.validate(manifest(site), version, strict=True) == version


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
@pytest.mark.parametrize(
    ("field", "value"), [("backoffLimitPerIndices", 6), ("podFailurePolicy", {"rules": [{"onExitCodes": {}}]})]
)
def test_the_schemas_refuse_what_is_misspelt(version: str, field: str, value: Any) -> None:
    job = manifest(FULL)
    job["spec"][field] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


def test_the_settings_in_the_guide_make_a_job(tmp_path: Path, root: Path) -> None:
    found = blocks(root / "docs" / "guides" / "kubernetes.md", "toml")
    assert found
    for number, text in enumerate(found):
        (tmp_path / f"{number}.toml").write_text(text)
        site = read_site(tmp_path / f"{number}.toml").model_dump()
        kubernetes_validate.validate(manifest(site), "1.37", strict=True)
        assert pod(site)[1]["command"][-4:] == ["--gpus", "all", "--grace", "60"]


def test_each_worker_is_an_index_that_comes_back_until_it_is_done() -> None:
    job = manifest(FULL)
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 8)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["backoffLimitPerIndex"] == 6  # without it an index cannot fail alone, and the cluster refuses the Job
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # any other, and it refuses the podFailurePolicy
    assert spec["template"]["metadata"]["labels"] == {
        "app.kubernetes.io/name": "caviar"
    }  # by which pods are looked for
    assert spec["ttlSecondsAfterFinished"] == 7 * 86_400
    assert "name" not in job["metadata"]  # two launches of a study must not meet
    assert job["metadata"]["generateName"] == "caviar-my-net-"


def test_only_bad_input_ends_an_index_for_good() -> None:
    spec = manifest(FULL)["spec"]
    disrupted, *exits = spec["podFailurePolicy"]["rules"]
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert [(rule["action"], rule["onExitCodes"]["values"]) for rule in exits] == [
        ("FailIndex", [2]),
        ("Ignore", [75, 143]),
    ]
    (container,) = spec["template"]["spec"]["containers"]
    assert {rule["onExitCodes"]["containerName"] for rule in exits} == {container["name"]}


def test_a_worker_has_longer_to_leave_than_its_epoch() -> None:
    found, container = pod(FULL)
    assert found["terminationGracePeriodSeconds"] > 60
    assert container["command"][-2:] == ["--grace", "60"]
    assert found["shareProcessNamespace"] is True


def test_a_time_includes_the_grace_and_is_the_whole_jobs() -> None:
    job, grace = manifest(FULL)["spec"], pod(FULL)[0]["terminationGracePeriodSeconds"]
    assert job["activeDeadlineSeconds"] + grace == 4 * 3600
    assert "activeDeadlineSeconds" not in manifest(FULL, LaunchRequest("small"))["spec"]


def test_the_address_is_a_file_and_no_variable() -> None:
    found, container = pod(FULL)
    variables = {each["name"]: each["value"] for each in container["env"]}
    (mount,) = [
        m for m in container["volumeMounts"] if variables["CAVIAR_DATABASE_URL_FILE"].startswith(m["mountPath"])
    ]
    (volume,) = [each for each in found["volumes"] if each["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "study-database", "items": [{"key": "url", "path": "url"}]}
    assert "CAVIAR_DATABASE_URL" not in variables


def test_each_folder_has_the_volume_that_is_meant() -> None:
    found, container = pod(FULL)
    (home,) = [each["value"] for each in container["env"] if each["name"] == "CAVIAR_HOME"]
    volumes = {volume.pop("name"): volume for volume in found["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert {folder: mounted[folder] for folder in ("/data", "/scratch", "/dev/shm", home)} == {
        "/data": {"persistentVolumeClaim": {"claimName": "datasets"}},
        "/scratch": {"persistentVolumeClaim": {"claimName": "scratch"}},
        "/dev/shm": {"emptyDir": {"medium": "Memory"}},
        home: {"emptyDir": {}},
    }


def test_a_training_has_no_rights_in_the_cluster_and_none_of_root_s() -> None:
    found, container = pod(FULL)
    assert found["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_another_schedulers_settings_do_not_reach_a_pod() -> None:
    slurms = {"CAVIAR_DATABASE_URL_FILE": "/home/me/url", "CAVIAR_HOME": "/home/me"}
    site = {"kubernetes": {"image": "me/project"}, "worker": {"environment": slurms}}
    variables = {each["name"]: each["value"] for each in pod(site)[1]["env"]}
    assert not any(value.startswith("/home") for value in variables.values())


def test_the_site_says_where_a_pod_runs_and_what_it_has() -> None:
    job, (found, container) = manifest(FULL), pod(FULL)
    assert container["image"] == "registry:5000/me/project@sha256:0a1b"
    assert container["resources"] == {"limits": {"cpu": "500m", "memory": "1.5Gi", "amd.com/gpu": 2}}
    assert job["metadata"]["namespace"] == "research"
    assert found["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert found["priorityClassName"] == "low"
    assert found["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "limits" in container["resources"]
    assert set(pod(FULL, LaunchRequest("small"))[1]["resources"]["limits"]) == {"cpu", "memory"}


def test_kueue_admits_a_job_only_if_asked_for() -> None:
    job = manifest(FULL)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job["spec"]["suspend"] is True
    without = manifest({"kubernetes": {"image": "me/project"}})
    assert "suspend" not in without["spec"]
    assert "kueue.x-k8s.io/queue-name" not in without["metadata"]["labels"]


def test_kubernetes_expands_no_variable_in_what_a_site_says() -> None:
    _, container = pod({**FULL, "worker": {**FULL["worker"], "command": "sh -c 'exec caviar \"$@\"' $(id)"}})
    assert container["command"][:5] == ["sh", "-c", 'exec caviar "$$@"', "$$(id)", "join"]
    assert {"name": "PRICE", "value": "$$5 for $$(HOME)"} in container["env"]


def test_without_an_image_the_message_says_where_to_write_one() -> None:
    with pytest.raises(OptionError, match=r"image = .* below \[kubernetes\] in caviar-launch.toml.*launch init --on"):
        manifest({})


def test_a_part_of_a_gpu_is_not_kubernetes_to_give() -> None:
    with pytest.raises(OptionError, match=r"--gpus-per-worker 0.5: only Ray"):
        manifest(FULL, LaunchRequest("small", gpus=0.5))


def test_a_command_without_its_closing_quote_is_refused() -> None:
    with pytest.raises(OptionError, match=r"command in .worker. .* No closing quotation"):
        manifest({**FULL, "worker": {"command": "sh -c 'caviar"}})
