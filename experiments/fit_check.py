"""Does a run fit a machine that is not here, and how long does it take there?

Compiles the very programs of a training run for a TPU, a GPU or this machine, without data and
without running them. Per model it prints the memory on each device, the communication between
devices (there must be none between members), the largest wave that fits, and the time: an estimate,
and a bound from the published peaks of the device. On an accelerator the wave is the one that a run
finds by itself (or --wave), and may fill 90 % of the memory that programs have. The last line is
'fits: yes' or 'fits: no'; the exit status is 0 or 1.

  python -m experiments.fit_check --topology=v5e:2x4 --num_members=4096
  python -m experiments.fit_check --topology=gpu:h200 --num_members=1000
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

from catdog_jax.population import Plan, estimate, fit, use_all_cores
from catdog_jax.population.machine import LOCAL, Machine, find_machine, peak_of
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.registry import OneOf, Range
from catdog_jax.run import Task
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
    num_train: Annotated[int, Range(1, 2**31)] = 10_000
    num_test: Annotated[int, Range(1, 2**31)] = 2_000
    num_classes: Annotated[int, Range(2)] = 2
    # A machine that is not here cannot be timed.
    strategy: Annotated[str, OneOf(STRATEGIES)] = "auto"
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
    work: estimate.Work | None
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
    models, reasons = {}, []
    for task in found:
        answer = check_model(task, machine, config.search)
        print(_report(task, machine, answer), flush=True)
        given = {"recipe": named(task.recipe), "num_params": task.num_params}
        models[task.label] = given | named(answer)
        if answer.reason:
            reasons.append(f"{task.label}: {answer.reason}")
    settings = deciding(config)
    content = {
        "settings": settings,
        "versions": versions(),
        "devices": {
            "count": len(machine.devices),
            **{name: getattr(machine, name) for name in ("kind", "backend", "memory")},
            "usable": fit.usable(machine),
        },
        "fits": not reasons,
        "models": models,
    }
    name = config.name or run_name(f"{config.topology}-{config.models}", settings)
    path = Path(config.out_dir).expanduser() / "fit_check" / name / "fit_check.json"
    with writing("fit_check.json", path.parent), replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
    print(f"results: {path}")
    print(f"fits: {'no' if reasons else 'yes'}")
    if reasons:
        raise RuntimeError("; ".join(reasons))


def tasks(config: Config) -> list[Task]:
    """Make the tasks of the training run that is asked about, on data that have a shape alone."""
    shared = [field.name for field in dataclasses.fields(_tasks.ProgramConfig)]
    training = TrainConfig(**{name: getattr(config, name) for name in (*shared, "name")})
    training.check()

    def split(num: int) -> Split:
        # One black pixel, seen from everywhere.
        pictures = np.broadcast_to(np.uint8(0), (num, config.image_size, config.image_size, 3))
        return Split(pictures, np.broadcast_to(np.int32(0), (num,)), ())

    classes = tuple(map(str, range(config.num_classes)))
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

    training = task.training
    try:
        plan, tried = fit.plan_training(training, machine, search=search, tell=tell)
    except InputError as error:
        return Answer(None, (), (), None, None, str(error))
    known = [wave for wave in tried if wave.per_device == plan.per_device]
    wave = (known or [fit.compile_wave(training, plan, machine, tell)])[0]
    work, times, peak = estimate.work_of(training, plan), None, peak_of(machine.kind)
    if peak:
        least, by = estimate.least_step(work, plan, training.how.precision, peak)
        each = estimate.step_seconds(work, plan, training.how.precision, peak)
        times = {
            "step": least,
            "bounded_by": by,
            "least": estimate.run_seconds(training, plan, least / plan.wave),
            "estimate": estimate.run_seconds(training, plan, each),
        }
    reason = ""
    couples = [
        f"the {program.name} program couples members by {found.kind}"
        for program in wave.programs
        for found in program.collectives
        if found.couples_members
    ]
    if couples:
        reason = f"{couples[0]}; this is a bug, please report it"
    elif not wave.fits:
        reason = (
            f"its programs need {_size(wave.needed)} on each device, where a wave may fill "
            f"{size(fit.usable(machine))}; give a smaller --wave"
        )
    return Answer(plan, wave.programs, tried, work, times, reason)


def _size(num_bytes: int | None) -> str:
    return "too much" if num_bytes is None else size(num_bytes)


def _report(task: Task, machine: Machine, answer: Answer) -> str:
    """Write what was found of one model."""
    plan, work, times, tried = answer.plan, answer.work, answer.times, answer.tried
    if plan is None or work is None:
        return f"\n{task.label} fits: no: {answer.reason}"

    def waves(plan: Plan) -> str:
        count = -(-task.members.count // plan.wave)
        place = "device" if plan.share == 1 else f"{plan.share} devices"
        many = "s" if count > 1 else ""
        return f"{count} wave{many} of {plan.wave:,} members ({plan.per_device:,} a {place})"

    columns = ("arguments", "outputs", "in place", "temporaries", "peak", "beside", "all")
    rows, talk = [["program", *columns]], []
    for program in answer.programs:
        cells = map(size, program.memory) if program.memory else ["?"] * 5
        rows.append([program.name, *cells, size(program.beside), _size(program.needed)])
        for one in program.collectives:
            whose = "OVER MEMBERS" if one.couples_members else "within each member's own devices"
            talk.append(f"communication in {program.name}: {one.kind} × {one.occurrences} {whose}")
    lines = [
        f"one member: {task.num_params:,} weights; {work.flops / 1e6:,.1f} MFLOP a training step "
        f"of {task.recipe.batch_size}",
        f"memory of each device, of {size(fit.usable(machine))} that a wave may fill:",
        *("  " + line for line in aligned(rows, width=78)),
        *(f"  {p.name}: {p.refusal}" for p in answer.programs if p.refusal),
        *(talk or ["communication between devices: none, so none over members"]),
    ]
    if tried:
        largest = fit.best(tried)
        found = waves(plan.resized(largest.per_device)) if largest else "none was found"
        lines.append(f"largest wave that fits: {found}")
    peak = peak_of(machine.kind)
    if times is None or peak is None:
        lines.append(f"time: no peak is listed for {machine.kind!r}; measure it")
    else:
        precision = task.execution.precision
        lines.append(
            f"time: about {duration(times['estimate'])} for {task.schedule.num_steps:,} steps and "
            f"{task.schedule.num_evaluations} evaluations; at the very best "
            f"{duration(times['least'])}, {times['step'] * 1e3:.3g} ms a step of a wave, bound by "
            f"{times['bounded_by']} ({peak.flops[precision] / 1e12:,.0f} TF/s in {precision}, "
            f"{peak.bandwidth / 1e9:,.0f} GB/s, {peak.source})"
        )
    lines.append(f"{task.label} fits: {'no' if answer.reason else 'yes'}")
    head = f"\n{task.label}: {waves(plan)}; {plan.strategy}, convolution {plan.conv}"
    return "\n  ".join([head, *lines])


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
