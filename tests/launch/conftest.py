"""A SLURM of one node on this machine, for the time of a test module; nothing of it stays."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
ReturnToService=2
MailProg=/bin/true
KillWait=120
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""


class Cluster:
    """Runs the commands of SLURM as a person would, from the root of the repository."""

    def __init__(self, folder: Path):
        self.folder = folder
        wrapper = folder / "bin" / "python"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))},
            "PATH": f"{wrapper.parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "CATDOG_CACHE_DIR": os.environ.get("CATDOG_CACHE_DIR") or str(folder / "cache"),
        }

    def __call__(self, *command: str, **environ: str) -> str:
        """Run a command, and give what it prints."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def submit(self, *arguments: str, **environ: str) -> str:
        """Call sbatch, and give the number of the job."""
        return self("sbatch", "--parsable", *arguments, **environ)

    def state(self, job: str) -> str:
        """Tell the state of a job, like PENDING, RUNNING, COMPLETED."""
        facts = self("scontrol", "--oneliner", "show", "job", job)
        return facts.partition("JobState=")[2].split()[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A SLURM of this machine alone, with a munge of its own; stopped at the end."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(
            f"no SLURM here: {', '.join(missing)} not found "
            "(Debian: apt-get install slurm-wlm munge)"
        )
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    folder = cluster.folder
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    ports = [socket.create_server(("", 0)) for _ in range(2)]
    numbers = [server.getsockname()[1] for server in ports]
    for server in ports:
        server.close()
    (folder / "slurm.conf").write_text(
        CONF.format(
            host=socket.gethostname().partition(".")[0],
            controller_port=numbers[0],
            node_port=numbers[1],
            user=getpass.getuser(),
            folder=folder,
        ),
        encoding="utf-8",
    )
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    daemons = []
    try:
        for command in (
            # force: it warns of the folder, which is not the one of the system
            ("munged", "--foreground", "--force", f"--socket={folder}/munge.sock", *munge),
            ("slurmctld", "-D", "-c"),
            ("slurmd", "-D", "-c", "-N", "localhost"),
        ):
            with open(folder / f"{command[0]}.log", "wb") as log:
                daemons.append(
                    subprocess.Popen(command, env=cluster.environ, stdout=log, stderr=log)
                )
        _until_up(cluster, daemons)
        yield cluster
        _stop_jobs(cluster)
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _until_up(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    end = time.monotonic() + 60
    while True:
        done = subprocess.run(
            ("sinfo", "--noheader", "--format=%T"),
            env=cluster.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() == "idle":
            return
        dead = [d.args[0] for d in daemons if d.poll() is not None]
        if dead or time.monotonic() > end:
            said = {
                d.args[0]: (cluster.folder / f"{d.args[0]}.log").read_text()[-1500:]
                for d in daemons
            }
            pytest.fail(f"SLURM does not start: {done}; ended: {dead}; {said}")
        time.sleep(0.3)


def _stop_jobs(cluster: Cluster) -> None:
    cluster("scancel", "--me")
    end = time.monotonic() + 150
    while cluster("squeue", "--noheader") and time.monotonic() < end:
        time.sleep(0.3)
