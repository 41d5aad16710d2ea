"""The job files can be read, and say what the program listens to."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from catdog_jax.population import distributed
from catdog_jax.population.launchers import find_others
from experiments import init_convergence
from experiments._cli import parse_flags

LAUNCH = Path(__file__).parents[2] / "experiments" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sbatch"), *LAUNCH.glob("*.sh")])
BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


@pytest.fixture
def kubernetes():
    """The objects of the Kubernetes file, by kind."""
    yaml = pytest.importorskip("yaml", reason="no PyYAML here, to read the Kubernetes file")
    text = (LAUNCH / "kubernetes.yaml").read_text(encoding="utf-8")
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def test_the_files_are_all_here():
    names = {path.name for path in LAUNCH.iterdir() if path.is_file()}
    assert names == {"slurm.sbatch", "slurm_sweep.sbatch", "kubernetes.yaml", "cloud_tpu.sh"}


@BASH
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_it(path):
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sbatch")), ids=lambda path: path.name)
def test_a_slurm_job_saves_and_comes_back(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#SBATCH ")]
    # SLURM reads no option behind the first command.
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(lines.index(line) < first for line in head)
    for option in ("--requeue", "--open-mode=append", "--signal=TERM@120"):
        assert f"#SBATCH {option}" in head
    assert any(line.startswith("srun ") for line in lines)  # only its steps know their number


def test_the_slurm_job_of_gpus_has_a_task_for_each():
    """The file's own --ntasks stays in force where the command line has none."""
    text = (LAUNCH / "slurm.sbatch").read_text(encoding="utf-8")
    (command,) = re.findall(r"#   sbatch (.*--gpus-per-node.*)", text)
    asked = {name: int(value) for name, value in re.findall(r"--([a-z-]+)=([0-9]+)", command)}
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert asked["ntasks"] == asked["nodes"] * asked["ntasks-per-node"]


@pytest.mark.parametrize("path", sorted(LAUNCH.iterdir()), ids=lambda path: path.name)
def test_every_flag_for_the_program_exists(path):
    """Those in comments too; a flag of another command is named here."""
    others = {
        "slurm.sbatch": "ntasks nodes ntasks-per-node gpus-per-node cpus-per-task "
        "job-name time output requeue open-mode signal kill-on-bad-exit noheader jobs format",
        "slurm_sweep.sbatch": "array gpus job-name ntasks cpus-per-task time output requeue "
        "open-mode signal noheader jobs format",
        "kubernetes.yaml": "follow selector prefix",
        "cloud_tpu.sh": "topology project zone worker command format node-id accelerator-type "
        "runtime-version spot depth quiet editable recurse force seed python",
    }[path.name].split()
    found = set(re.findall(r"(?<![\w-])--([a-z][a-z_-]*)", path.read_text(encoding="utf-8")))
    known = set(init_convergence.Config.__dataclass_fields__)
    assert found - known == set(others) - known
    assert found & known


def test_pods_find_each_other(kubernetes, monkeypatch):
    job, service = kubernetes["Job"], kubernetes["Service"]
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:3] == ["python", "-m", "experiments.init_convergence"]
    config = parse_flags(container["command"][3:], init_convergence.Config)
    assert spec["completionMode"] == "Indexed"  # which sets JOB_COMPLETION_INDEX
    assert config.num_processes == spec["completions"] == spec["parallelism"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert config.coordinator == f"{job['metadata']['name']}-0.{pod['subdomain']}:1234"
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}
    found = find_others(config.coordinator, config.num_processes, None, environ)
    assert found == ("catdog-0.catdog:1234", 4, 3)


def test_a_pre_empted_pod_comes_back_and_a_wrong_flag_does_not(kubernetes):
    spec = kubernetes["Job"]["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy is refused otherwise
    codes = {
        rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule
    }
    assert codes == {"FailJob": [2], "Ignore": [143]}
    for rule in rules:
        assert len(set(rule) - {"action"}) == 1
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert {"type": "DisruptionTarget", "status": "True"} in rules[1]["onPodConditions"]
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert pod["terminationGracePeriodSeconds"] > distributed.SAVING_SECONDS
    # What is written lies on the volume.
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    config = parse_flags(container["command"][3:], init_convergence.Config)
    for place in (config.out_dir, config.compile_cache):
        assert place.startswith(mount["mountPath"] + "/")
    assert [volume["name"] for volume in pod["volumes"]] == [mount["name"]]


@BASH
def test_the_tpu_script_calls_gcloud_as_it_says(tmp_path):
    """With a gcloud that only notes what it is asked."""
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(
        '#!/bin/bash\nprintf "%s\\n" "$*" >> "$NOTES"\n'
        'case "$*" in *"queued-resources describe"*) echo ACTIVE ;; esac\n',
        encoding="utf-8",
    )
    gcloud.chmod(0o755)
    notes = tmp_path / "notes"
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "NOTES": str(notes),
        "PROJECT": "p",
        "ZONE": "z",
        "SHARED": "10.0.0.2:/share",
        "NAME": "n",
        "REPOSITORY": "https://example.org/catdog_jax.git",
    }

    def call(*arguments):
        notes.write_text("", encoding="utf-8")
        command = ["bash", LAUNCH / "cloud_tpu.sh", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, notes.read_text(encoding="utf-8")

    status, asked = call("create")
    assert status == 0
    assert asked.startswith("compute tpus queued-resources create n --node-id=n")
    status, asked = call("run", "--name=a b", "--models=cnn")
    assert status == 0
    assert asked.startswith("compute tpus tpu-vm ssh n --worker=all --command=cd catdog_jax && ")
    assert "init_convergence --out_dir=/shared/runs --compile_cache=/shared/compiled" in asked
    assert asked.strip().endswith(r"--name=a\ b --models=cnn --project=p --zone=z")
    status, asked = call("install")
    assert status == 0
    assert "sudo mount -t nfs 10.0.0.2:/share /shared" in asked
    inner = asked.partition("--command=")[2].rpartition(" --project=p")[0]
    read = subprocess.run(["bash", "-n", "-c", inner], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
    assert inner.index("uv venv") < inner.index("venv/bin/pip install --quiet --editable")
    status, asked = call("again", "--models=cnn")
    assert status == 0
    assert asked.index("create") < asked.index("git clone") < asked.index("--models=cnn")
    assert call("delete")[1].startswith("compute tpus queued-resources delete n --force --quiet")
    assert call("nothing")[0] == 2
