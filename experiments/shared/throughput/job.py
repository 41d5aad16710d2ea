"""A whole main job beside its pure engine: what evaluations, checkpoints and the host cost.

The job is `python -m experiments.init_convergence` on noise of CIFAR-10's size (10,000 pictures of
32 × 32 to learn from, 2,000 to be judged on) with the model's recipe for CIFAR-10, without
augmentation, in a process of its own. Its time counts from when the first training call (of one
step; it compiles, and the first evaluation before it does) is back to when the last wave is on the
disk, as its manifest tells: training, evaluations, checkpoints, sketches, progress, whatever waits
in between. Start-up and compilation come before, results and figures after; they are told apart.

The engine's time is that of as many steps at the rate of training steps alone: `peers.engine` with
the same settings, sampled in a process before the job and in another one after it. Only one of the
three processes exists at a time. The ratio's range comes from the quartiles of the samples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared.peers.registry import ENGINE, PEERS
from experiments.shared.progress import duration
from experiments.shared.report import aligned
from experiments.shared.throughput.cells import Entrant
from experiments.shared.throughput.command import Command
from experiments.shared.throughput.measure import Group
from experiments.shared.throughput.problem import Problem, train_config

MODEL, MEMBERS = "cnn:widths=32-64-128", 8
LONG_SECONDS = 600.0  # shorter jobs are marked: evaluations are a larger share of them
FEWEST_STEPS = 20
DRIFT = 0.05  # of the engine's rate between before and after, from where on it is told
PATIENCE = 3600.0  # seconds beyond ten times what the training should take


def measure(
    base: Problem,
    models: Sequence[str],
    members: Sequence[int],
    rounds: int,
    job_seconds: float,
    where: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run a job of each model with each number of members, between samples of the engine.

    Args:
      base: everything but model and members.
      models: as in --models.
      members: numbers of them.
      rounds: samples of the engine before a job, and as many after it.
      job_seconds: that its training should last, about.
      where: facts of the machine: 'backend' and 'cores'.
      folder: where the jobs' run folders are made, and stay.
      say: told what comes now.

    Returns:
      One entry per job, ready for JSON; see `compared`.

    Raises:
      RuntimeError: the job or the engine failed.
    """
    found: list[dict[str, Any]] = []
    for model in models:
        for count in members:
            problem = base._replace(entry=model, members=count)
            say(f"job: {model} × {count}, the engine alone, before")
            before = engine_samples(problem, rounds, where)
            asked = job_seconds * float(np.median(before["rates"])) / before["waves"]
            steps = max(FEWEST_STEPS, round(asked))
            flags = job_flags(problem, steps)
            say(f"job: {model} × {count}, {steps:,} steps: about {duration(job_seconds)} of them")
            out_dir = folder / f"job_{len(found)}"
            with Command(out_dir, flags, {}) as command:
                patience = PATIENCE + 10 * job_seconds
                times = command.times(model, "kept", patience)
                ended = command.wait()
                facts = command.manifest()
            say(f"job: {model} × {count}, the engine alone, after")
            after = engine_samples(problem, rounds, where)
            entry = {
                "model": model,
                "members": count,
                "flags": flags,
                "plan": facts["plans"][model],
                "engine_plan": before["plan"],
            }
            around = {"began": command.began, "ended": ended}
            found.append(entry | compared(before["rates"], after["rates"], times | around))
    return found


def engine_samples(problem: Problem, rounds: int, where: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the engine's training steps in a process of its own, which ends.

    Returns:
      'rates': steps of a whole wave a second, one per round; 'plan': how they were trained;
      'waves': how many there are.
    """
    entrant = Entrant(ENGINE, PEERS[ENGINE].title, problem, problem.members)
    group = Group(entrant, "", dict(where))
    try:
        members = sum(fact["members"] for fact in group.facts)
        samples = [group.sample() for _ in range(rounds)]
        rates = [s["member_steps"] / members / s["seconds"] for s in samples]
        plan = group.facts[0]["facts"]["plan"]
        return {"rates": rates, "plan": plan, "waves": math.ceil(problem.members / plan["wave"])}
    finally:
        group.close()


def job_flags(problem: Problem, steps: int) -> list[str]:
    """Write the flags with which the experiment trains what the engine's samples do."""
    config, recipe = train_config(problem), problem.recipe
    data = f"experiments.shared.throughput.noise.load:examples={problem.examples}"
    return [
        f"--dataset={data}:side={problem.side}",
        f"--models={problem.entry}",
        f"--num_members={problem.members}",
        f"--num_steps={steps}",
        f"--batch_size={config.batch_size}",
        f"--augment={config.augment}",
        f"--optimizer={recipe.optimizer}",
        f"--learning_rate={recipe.learning_rate!r}",
        f"--weight_decay={recipe.weight_decay!r}",
        f"--precision={problem.precision}",
        f"--strategy={problem.strategy}",
        "--compile_cache=none",  # what is compiled here is of no use to the user's own runs
    ]


def compared(
    before: Sequence[float], after: Sequence[float], times: Mapping[str, float]
) -> dict[str, Any]:
    """Compare a job with the engine.

    Args:
      before, after: rates of the engine, steps of a wave a second.
      times: of the job, as `Checkpointer` tells them, and Unix times of when its process 'began'
        and had 'ended'.

    Returns:
      'steps' after the first call, of all waves; 'job_seconds' that they and all between took;
      'engine_seconds' that the engine takes for them; their 'ratio', and its 'low' and 'high' at
      the upper and lower quartile of the rates; 'evaluation_share' of the job's seconds;
      'rest_share' that is neither evaluation nor engine; 'before_seconds' from the process's start
      to the end of the first call; 'after_seconds' from then on when all was kept to its end; the
      rates, their 'drift' (after ÷ before - 1), and whether the job was 'short'.
    """
    seconds = times["kept"] - times["first_step"]
    low, rate, high = (float(x) for x in np.percentile([*before, *after], [25, 50, 75]))
    engine = times["steps"] / rate
    return {
        "steps": times["steps"],
        "job_seconds": seconds,
        "engine_seconds": engine,
        "ratio": seconds / engine,
        "low": seconds * low / times["steps"],
        "high": seconds * high / times["steps"],
        "evaluation_share": times["evaluation_seconds"] / seconds,
        "rest_share": (seconds - times["evaluation_seconds"] - engine) / seconds,
        "before_seconds": times["first_step"] - times["began"],
        "after_seconds": times["ended"] - times["kept"],
        "rates_before": list(before),
        "rates_after": list(after),
        "drift": float(np.median(after) / np.median(before)) - 1.0,
        "short": engine < LONG_SECONDS,
    }


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what makes a ratio doubtful."""
    found: list[str] = []
    for row in rows:
        title = f"job, {row['model']} × {row['members']:,}"
        if row["short"]:
            found.append(
                f"{title}: the engine's part is under {duration(LONG_SECONDS)}, so evaluations "
                "weigh more than in a long run; --job_seconds or --full makes it longer"
            )
        if not math.isfinite(row["drift"]) or abs(row["drift"]) > DRIFT:
            found.append(
                f"{title}: the engine's rate after the job is {100 * row['drift']:+.0f} % off that "
                "before it; is the machine quiet?"
            )
        if row["plan"] != row["engine_plan"]:
            found.append(f"{title}: the job was planned otherwise than the engine alone; see JSON")
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a line per job."""
    body = [["job", "steps", "job s", "engine s", "job ÷ engine", "range", "evaluations", "rest"]]
    body[0] += ["before s", "after s"]
    for row in rows:
        body.append(
            [
                f"{row['model']} × {row['members']:,}" + (" (short)" if row["short"] else ""),
                f"{row['steps']:,}",
                f"{row['job_seconds']:.1f}",
                f"{row['engine_seconds']:.1f}",
                f"{row['ratio']:.3f}",
                f"{row['low']:.3f} to {row['high']:.3f}",
                f"{100 * row['evaluation_share']:.1f} %",
                f"{100 * row['rest_share']:.1f} %",
                f"{row['before_seconds']:.1f}",
                f"{row['after_seconds']:.1f}",
            ]
        )
    return "\n".join(
        [
            "the whole main job, from the end of its first training call to the last wave kept",
            *("  " + line for line in aligned(body)),
            "  before: start-up, compilation, first evaluation; after: results and figures",
        ]
    )
