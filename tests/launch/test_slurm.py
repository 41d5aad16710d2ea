"""The job files as they are, run by a SLURM: two tasks, requeued in the middle; a sweep."""

import subprocess
import sys
import time

import pytest

from catdog_jax import open_run

pytestmark = pytest.mark.slurm  # minutes; each starts processes, and waits for SLURM

JOB, SWEEP = "experiments/launch/slurm.sbatch", "experiments/launch/slurm_sweep.sbatch"
SMALL = (
    "--dataset=procedural:num_train=256:num_valid=8:num_test=32",
    "--image_size=16",
    "--batch_size=64",
)
RUN = (
    *SMALL,
    "--models=linear,mlp:width=32",
    "--num_members=8",
    "--wave=2",
    "--num_steps=2000",
    "--eval_every=1000",
    "--name=x",
)
# In place of an experiment, where only the job file is the question: it saves upon SIGTERM.
WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("waits", flush=True)
time.sleep(600)
"""


@pytest.fixture
def until():
    """A function that waits until a condition holds."""

    def until(condition, what, seconds=600):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what()
            time.sleep(0.05)

    return until


def text(log):
    return log.read_text(encoding="utf-8") if log.exists() else ""


def hasten(cluster, job):
    """SLURM keeps a requeued job waiting for two minutes, and no setting changes that."""
    time.sleep(3)  # started in the second in which it was stopped, a node takes it for stopped
    cluster("scontrol", "update", f"JobId={job}", "StartTime=now")


def test_requeued_in_the_middle_it_ends_with_the_bytes_of_one_process(cluster, tmp_path, until):
    cache = f"--compile_cache={cluster.environ['CATDOG_CACHE_DIR']}/compiled"
    log = tmp_path / "job.log"
    options = ("--ntasks=2", "--cpus-per-task=1", f"--output={log}")
    job = cluster.submit(*options, JOB, *RUN, f"--out_dir={tmp_path}/job", cache)
    folder = tmp_path / "job" / "init_convergence" / "x"

    def said():
        return cluster.state(job), text(log)[-3000:]

    until(lambda: list(folder.glob("waves/01_*/*.npz")), said)
    cluster("scontrol", "requeue", job)
    until(lambda: cluster.state(job) == "PENDING", said)
    assert not (folder / "results.nc").exists()
    before = text(log)
    assert "on 2 processes of 1 cpu device(s) each" in before
    assert "process 1 of 2 on " in before
    assert before.count("interrupted by SIGTERM at step ") == 2, before
    assert "rerun the same command to resume" in before
    assert list(folder.glob("checkpoints/01_*/wave_*/*"))

    hasten(cluster, job)
    until(lambda: cluster.state(job) not in ("PENDING", "RUNNING", "COMPLETING"), said)
    assert cluster.state(job) == "COMPLETED", said()
    after = text(log)[len(before) :]
    assert f"job {job} goes on, start number 2\n" in after
    assert "process 1 of 2: done\n" in after
    assert f"results, weights and figures: {folder}\n" in after

    alone = [*(sys.executable, "-m", "experiments.init_convergence", *RUN), cache]
    subprocess.run(
        [*alone, f"--out_dir={tmp_path}/alone"],
        env=cluster.environ,
        check=True,
        capture_output=True,
    )
    one = tmp_path / "alone" / "init_convergence" / "x"
    assert (folder / "results.nc").read_bytes() == (one / "results.nc").read_bytes()
    weights = [sorted(f.glob("waves/**/*.npz")) for f in (folder, one)]
    assert len(weights[0]) == 8
    assert [p.read_bytes() for p in weights[0]] == [p.read_bytes() for p in weights[1]]


def test_out_of_time_it_is_queued_again_and_cancelled_it_is_not(cluster, tmp_path, until):
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    environ = {"EXPERIMENT": "waits", "PYTHONPATH": str(tmp_path)}
    log = tmp_path / "job.log"
    options = ("--ntasks=2", "--cpus-per-task=1", "--time=1", "--signal=TERM@45")
    job = cluster.submit(*options, f"--output={log}", JOB, **environ)

    def said():
        return cluster.state(job), text(log)

    until(lambda: cluster.state(job) == "RUNNING" and text(log).count("waits") == 2, said)
    until(lambda: cluster.state(job) == "PENDING", said)
    assert f"job {job} is out of time, and queued again\n" in text(log)
    cluster("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    hasten(cluster, job)
    until(lambda: text(log).count("waits") == 4, said)
    cluster("scancel", job)
    until(lambda: cluster.state(job) not in ("RUNNING", "COMPLETING"), said)
    assert cluster.state(job) == "CANCELLED"
    assert text(log).count("queued again") == 1


def test_a_wrong_flag_ends_a_job_for_good(cluster, tmp_path, until):
    log = tmp_path / "job.log"
    job = cluster.submit(
        "--ntasks=2", "--cpus-per-task=1", f"--output={log}", JOB, "--num_members=0"
    )
    until(lambda: cluster.state(job) == "FAILED", lambda: (cluster.state(job), text(log)))
    assert "error: " in text(log)
    assert "--num_members=0 is not allowed" in text(log)
    assert "ExitCode=2:0" in cluster("scontrol", "--oneliner", "show", "job", job)


def test_a_sweep_makes_a_run_of_each_rate(cluster, tmp_path, until):
    cluster.submit(
        *("--array=0-1", "--cpus-per-task=1", f"--output={tmp_path}/%a.log", SWEEP),
        *(*SMALL, "--models=linear", "--num_members=2", "--num_steps=4", f"--out_dir={tmp_path}"),
        RATES="0.01 0.03",
    )

    def said():
        return [(p.name, text(p)[-1500:]) for p in tmp_path.glob("*.log")]

    until(lambda: not cluster("squeue", "--noheader"), said)
    for index, rate in enumerate((0.01, 0.03)):
        run = open_run(tmp_path / "init_convergence" / f"lr_{rate}")
        assert run.manifest["recipe"]["learning_rate"] == rate, said()
        assert "2 processes" not in text(tmp_path / f"{index}.log")
