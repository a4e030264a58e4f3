"""Files for clusters: as far as can be said without the clusters, they start what the program is."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from search.run import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCRIPT = DEPLOY / "study.sbatch"
CLUSTERS = {
    "raycluster.yaml": lambda document: document["spec"],
    "rayjob.yaml": lambda document: document["spec"]["rayClusterSpec"],
}
# Fields of ray.io/v1 that KubeRay documents, as far as they matter here.
JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
WORKERS = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}
CONTAINER = {"name", "image", "envFrom", "ports", "resources"}


def read(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def commands_given():
    """Every command line of the study's command in files for clusters and in their documentation."""
    pattern = re.compile(r"(?:python -m search\.run|sbatch deploy/study\.sbatch) (-[^'\n]*)")
    files = [path for path in DEPLOY.iterdir() if path.suffix in (".sbatch", ".yaml")]
    texts = {
        path.name: path.read_text().replace("\n    --", " --") for path in (*files, ROOT / "docs/clusters.md")
    }
    return [(name, match) for name, text in texts.items() for match in pattern.findall(text)]


@pytest.mark.parametrize(("file", "options"), commands_given())
def test_commands_in_files_are_understood(file, options):
    app.parse_args(shlex.split(options), exit_on_error=False, print_error=False)


def test_commands_are_found_in_all_files():
    assert {"study.sbatch", "rayjob.yaml", "clusters.md"} <= {name for name, _ in commands_given()}


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_on_kubernetes_have_documented_fields(name):
    document = read(name)
    assert document["apiVersion"] == "ray.io/v1"
    assert document["kind"] == {"raycluster.yaml": "RayCluster", "rayjob.yaml": "RayJob"}[name]
    assert name == "raycluster.yaml" or set(document["spec"]) <= JOB
    cluster = CLUSTERS[name](document)
    assert set(cluster) == CLUSTER
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().split()
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert set(head) == HEAD
    images = set()
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert set(container) <= CONTAINER
        assert container["resources"]["requests"] == container["resources"]["limits"]
        images.add(container["image"])
    assert len(images) == 1
    for group in workers:
        assert set(group) == WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_both_clusters_on_kubernetes_are_the_same():
    one, other = (found(read(name)) for name, found in CLUSTERS.items())
    assert one == other


def test_machines_of_a_cloud_fit_rays_schema():
    config = read("cluster.yaml")
    validate_config(prepare_config(config))  # as `ray up` does
    assert config["head_node_type"] in config["available_node_types"]


def test_the_image_has_the_program_and_runs_it_as_a_user():
    instructions = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in instructions.splitlines() if line and not line.startswith("#")]
    copied = [name for what, rest in lines if what == "COPY" for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    setuptools = project["tool"]["setuptools"]
    packages = {name.partition(".")[0] for name in setuptools["packages"]} | {*setuptools["package-dir"].values()}
    files = {
        project["project"]["readme"],
        *project["project"]["license-files"],
        "pyproject.toml",
        "constraints.txt",
    }
    assert packages | files == set(copied)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {name.removeprefix("!") for name in ignored if name.startswith("!")} == set(copied)
    (install,) = [rest for what, rest in lines if what == "RUN" and "pip install" in rest]
    assert "-c constraints.txt" in install
    extras = re.search(r"\.\[(.*)\]", install).group(1).split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    assert [rest for what, rest in lines if what == "USER"][-1] != "root"


def test_the_script_for_slurm_is_one():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    options = [line for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+=\S+", line) for line in options)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_script_for_slurm():
    subprocess.run(["shellcheck", SCRIPT], check=True)
