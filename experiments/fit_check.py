"""Does a run fit a machine that is not here, and how long does it take there?

Compiles the very programs of a training run for a TPU, a GPU or this machine, without data and
without running them. Per model it prints the memory on each device, the communication between
devices (there must be none between members), the largest wave that fits, and the time: an estimate,
and a bound from the published peaks of the device. On an accelerator the wave is the one that a run
finds by itself (or --wave), and may fill 90 % of the memory that programs have. The last line is
'fits: yes' or 'fits: no'; the exit status is 0 or 1.

  python -m experiments.fit_check --topology=v5e:2x4 --models=cnn --num_members=4096
  python -m experiments.fit_check --topology=gpu:h200 --models=cnn --num_members=1000
  python -m experiments.fit_check --models=linear,mlp --num_members=4096

A TPU needs the extra [tpu] (Linux; 213 MB to download, no TPU), a GPU jax-cuda13-plugin of the same
version as JAX (Linux; 132 MB to download, no GPU and no CUDA). One to five minutes for a model on
two cores.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from catdog_jax.analysis.sketch import sketch
from catdog_jax.population import Plan, fit, use_all_cores
from catdog_jax.population.estimate import (
    Work,
    equivalent_steps,
    least_step,
    run_seconds,
    step_seconds,
)
from catdog_jax.population.machine import LOCAL, Machine, find_machine, peak_of
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.registry import Range
from catdog_jax.run import Task
from catdog_jax.run.plans import MEASURE
from catdog_jax.run.progress import duration
from catdog_jax.run.summary import aligned, size
from catdog_jax.store.atomic import replacing, writing
from catdog_jax.store.manifest import run_name, versions
from catdog_jax.types import Dataset, InputError, Split
from experiments import _cli, _tasks
from experiments._cli import Operational, deciding
from experiments._tasks import TrainConfig


@dataclass(frozen=True)
class Config(_tasks.ProgramConfig):
    """Settings of fit_check.

    Attributes:
      topology: local; a TPU slice like v4:2x2x1, v5e:1x1, v5e:2x4, v5e:16x16, v5p:2x2x1 or
        v6e:2x2; or gpu:a100, gpu:h100, gpu:h200, several as gpu:h200x8
      dataset: whose recipes fill in the unset settings; nothing is read
      image_size: pixels a side
      num_train: training pictures
      num_test: test pictures
      num_classes: classes to tell apart
      strategy: auto (a written rule), map, chunk or vmap: how members share a device
      search: look for the largest wave that fits, which compiles more often; where a run looks for
        it to find its own wave, so does this
      out_dir: where run folders are made
      name: of the run folder; empty: made from the settings
    """

    topology: str = LOCAL
    dataset: str = "cifar10"
    models: str = "cnn"
    num_members: Annotated[int, Range(1)] = 4096
    image_size: Annotated[int, Range(8, 1024)] = 32
    num_train: Annotated[int, Range(1)] = 10_000
    num_test: Annotated[int, Range(1)] = 2_000
    num_classes: Annotated[int, Range(2)] = 2
    search: bool = True
    out_dir: Operational[str] = "runs"
    name: Operational[str] = ""


class Answer(NamedTuple):
    """What was found of one model.

    Attributes:
      plan: of the run; None where it cannot be planned.
      programs: of the run, compiled.
      tried: what was compiled to find the largest wave.
      work: what a member's step costs.
      times: seconds: 'step' of a full wave at the very best, which is 'bounded_by' arithmetic or
        memory, 'least' and 'estimate' of the run; None where the device's peaks are not listed.
      reason: why the run does not fit, or members are coupled; '' where all is well.
    """

    plan: Plan | None
    programs: Sequence[fit.Compiled]
    tried: Sequence[fit.CompiledWave]
    work: Work | None
    times: dict[str, Any] | None
    reason: str


def fit_check(config: Config) -> None:
    """Compile, print, and write fit_check.json.

    Raises:
      InputError: wrong input.
      RuntimeError: it does not fit, or members are coupled.
    """
    found = tasks(config)
    if config.topology == LOCAL:
        use_all_cores()
    else:  # what is compiled for another machine must not look for this one's devices
        jax.config.update("jax_platforms", "cpu")
    machine = find_machine(config.topology)
    print(
        f"{config.num_members:,} members of each model on {len(machine.devices)} × {machine.kind} "
        f"({config.topology}); {config.num_train:,} train, {config.num_test:,} test, "
        f"{config.image_size} × {config.image_size} pixels, {config.precision}",
        flush=True,
    )
    answers = {}
    for task in found:
        answers[task.label] = answer = check_model(task, machine, config.search)
        print(_report(task, machine, answer), flush=True)
    settings = deciding(config)
    name = config.name or run_name(f"{config.topology}-{config.models}", settings)
    path = Path(config.out_dir).expanduser() / "fit_check" / name / "fit_check.json"
    _write(path, settings, found, machine, answers)
    print(f"results: {path}")
    reasons = [f"{label}: {a.reason}" for label, a in answers.items() if a.reason]
    print(f"fits: {'no' if reasons else 'yes'}")
    if reasons:
        raise RuntimeError("; ".join(reasons))


def tasks(config: Config) -> list[Task]:
    """Make the tasks of the training run that is asked about, on data that have a shape alone."""
    shared = [field.name for field in dataclasses.fields(_tasks.ProgramConfig)]
    training = TrainConfig(**{name: getattr(config, name) for name in (*shared, "name")})
    if config.strategy == MEASURE:
        raise InputError(
            "--strategy=measure times the machine itself, which fit_check does not; allowed: "
            f"{', '.join(STRATEGIES)}"
        )
    training.check()

    def split(num: int) -> Split:
        # One black pixel, seen from everywhere.
        pictures = np.broadcast_to(np.uint8(0), (num, config.image_size, config.image_size, 3))
        return Split(pictures, np.broadcast_to(np.int32(0), (num,)), ())

    two = config.num_classes == 2
    classes = ("cat", "dog") if two else tuple(map(str, range(config.num_classes)))
    train, test = split(config.num_train), split(config.num_test)
    constants = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    data = Dataset(
        config.dataset, train, split(0), test, classes, {"fingerprint": ""}, constants=constants
    )
    return _tasks.tasks(training, data)


def check_model(task: Task, machine: Machine, search: bool) -> Answer:
    """Compile a task's programs for a machine and judge them.

    Args:
      task: of the training run that is asked about.
      machine: to compile for.
      search: whether to look for the largest wave that fits where a run does not.
    """

    def tell(text: str) -> None:
        print(f"{task.label}: {text}", file=sys.stderr, flush=True)

    training, how = task.training(sketch), task.execution
    try:
        plan, tried = fit.plan_training(
            training,
            machine,
            strategy=how.strategy,
            conv=how.conv,
            wave=how.wave,
            transpose=task.may_transpose,
            search=search,
            tell=tell,
        )
    except InputError as error:
        return Answer(None, (), (), None, None, str(error))
    known = [wave for wave in tried if wave.per_device == plan.per_device]
    wave = (known or [fit.compile_wave(training, plan, machine, tell)])[0]
    work, times, peak = fit.work_of(training, plan), None, peak_of(machine.kind)
    if peak:
        judged = sum(len(data.labels) for data in training.evaluations.values())
        steps = equivalent_steps(task.schedule, judged, task.recipe.batch_size)
        least, by = least_step(work, plan, how.precision, peak)
        each = step_seconds(work, plan, how.precision, peak)
        times = {
            "step": least,
            "bounded_by": by,
            "least": run_seconds(plan, task.members.count, steps, least / plan.wave),
            "estimate": run_seconds(plan, task.members.count, steps, each),
        }
    return Answer(plan, wave.programs, tried, work, times, problem(wave, machine))


def problem(wave: fit.CompiledWave, machine: Machine) -> str:
    """Say what is wrong with a wave's programs, coupled members first; '' where nothing is."""
    for program in wave.programs:
        for found in program.collectives:
            if found.couples_members:
                return (
                    f"the {program.name} program couples members by {found.kind}; this is a bug, "
                    "please report it"
                )
    if wave.fits:
        return ""
    need = size(wave.needed) if wave.needed else "more"
    return (
        f"its programs need {need} on each device, where a wave may fill "
        f"{size(fit.usable(machine))}; give a smaller --wave"
    )


def _report(task: Task, machine: Machine, answer: Answer) -> str:
    """Write what was found of one model."""
    plan, work = answer.plan, answer.work
    if plan is None or work is None:
        return f"\n{task.label} fits: no: {answer.reason}"
    head = ["program", "arguments", "outputs", "in place", "temporaries", "peak", "beside", "all"]
    rows = [head]
    for program in answer.programs:
        figures = [size(x) for x in program.memory] if program.memory else ["?"] * 5
        needed = size(program.needed) if program.needed else "too much"
        rows.append([program.name, *figures, size(program.beside), needed])
    return "\n".join(
        [
            "",
            f"{task.label}: {_waves(task, plan)}; {plan.strategy}, convolution {plan.conv}",
            f"  one member: {task.num_params:,} weights; {work.flops / 1e6:,.1f} MFLOP a training "
            f"step of {task.recipe.batch_size}",
            f"  memory of each device, of {size(fit.usable(machine))} that a wave may fill:",
            *("    " + line for line in aligned(rows)),
            *(f"    {p.name}: {p.refusal}" for p in answer.programs if p.refusal),
            *_communication(answer.programs),
            *_largest(task, plan, answer.tried),
            _time(task, machine, answer.times),
            f"  {task.label} fits: {'no' if answer.reason else 'yes'}",
        ]
    )


def _waves(task: Task, plan: Plan) -> str:
    count = -(-task.members.count // plan.wave)
    place = "device" if plan.share == 1 else f"{plan.share} devices"
    many = "s" if count > 1 else ""
    return f"{count} wave{many} of {plan.wave:,} members ({plan.per_device:,} a {place})"


def _communication(programs: Sequence[fit.Compiled]) -> list[str]:
    lines = [
        f"  communication in {program.name}: {found.kind} × {found.occurrences} "
        + ("OVER MEMBERS" if found.couples_members else "within each member's own devices")
        for program in programs
        for found in program.collectives
    ]
    return lines or ["  communication between devices: none, so none over members"]


def _largest(task: Task, plan: Plan, tried: Sequence[fit.CompiledWave]) -> list[str]:
    if not tried:
        return []
    sizes = ", ".join(
        f"{w.per_device:,} ({size(w.needed) if w.needed else 'refused'}{'' if w.fits else ', no'})"
        for w in tried
    )
    found = fit.best(tried)
    largest = _waves(task, plan.resized(found.per_device)) if found else "none was found"
    return [f"  largest wave that fits: {largest}", f"    members a device tried: {sizes}"]


def _time(task: Task, machine: Machine, times: dict[str, Any] | None) -> str:
    peak, precision = peak_of(machine.kind), task.execution.precision
    if times is None or peak is None:
        return f"  time: no peak is listed for {machine.kind!r}; measure it"
    return (
        f"  time: about {duration(times['estimate'])} for {task.schedule.num_steps:,} steps and "
        f"{task.schedule.num_evaluations} evaluations; at the very best "
        f"{duration(times['least'])}, "
        f"{times['step'] * 1e3:.3g} ms a step of a wave, bound by {times['bounded_by']} "
        f"({peak.flops[precision] / 1e12:,.0f} TF/s in {precision}, "
        f"{peak.bandwidth / 1e9:,.0f} GB/s, {peak.source})"
    )


def _write(
    path: Path,
    settings: dict[str, Any],
    found: Sequence[Task],
    machine: Machine,
    answers: dict[str, Answer],
) -> None:
    """Write every figure to a file, whole or not at all."""
    content = {
        "settings": settings,
        "versions": versions(),
        "devices": {
            "count": len(machine.devices),
            **{name: getattr(machine, name) for name in ("kind", "backend", "memory")},
            "usable": fit.usable(machine),
        },
        "fits": not any(answer.reason for answer in answers.values()),
        "models": {
            task.label: {
                "recipe": task.recipe._asdict(),
                "num_params": task.num_params,
                **named(answers[task.label]),
            }
            for task in found
        },
    }
    with writing("fit_check.json", path.parent), replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def named(value: Any) -> Any:
    """Turn tuples with named fields, however deep, into what JSON keeps the names of."""
    if hasattr(value, "_asdict"):
        return {key: named(item) for key, item in value._asdict().items()}
    return [named(item) for item in value] if isinstance(value, list | tuple) else value


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    return _cli.run(argv, Config, fit_check, "nothing of it is kept; the same command begins again")


if __name__ == "__main__":
    _cli.command(main)
