"""Which setting is best, and which others cannot be told from it? Settings × random starts.

Every trial is a setting (learning rate, weight decay, momentum, label smoothing, clipping, gain of
the starting weights), trained from the same random starts, all trials in one program. A setting is
chosen on the validation examples and judged on the test examples; what is within the noise of the
starts is said to be. Expected: accuracy has a broad top over a decade of learning rates, most of it
within the noise of the best; a little above it training diverges, at a sharp edge.

  python -m experiments.sweep
  python -m experiments.sweep --learning_rate=log:1e-4:1:13 --halving=3
  python -m experiments.sweep --learning_rate=log:1e-3:1:7 \\
      --weight_decay=0,0.001,0.01,0.1
  python -m experiments.sweep --learning_rate=log:1e-4:1 --momentum=lin:0:0.99 \\
      --sobol=64
  python -m experiments.sweep --gain=log:0.125:8:7 \\
      --models=mlp:width=16:depth=1,mlp:width=16:depth=4,mlp:width=16:depth=8
  python -m experiments.sweep --dataset=cifar10:valid=0.1 --data_dir=DIR \\
      --models=cnn:widths=4-8-16:head=flatten --learning_rate=log:1e-3:1:13 \\
      --num_members=16 --num_steps=562

On two cores each takes a minute or two, the last (4 epochs) about ten. Several flags make a
grid; --sobol draws points of it instead. With --halving=3 the best third of the trials goes on for
three times as many steps, again and again, and the others are stopped. It ends with a table, what
was found, and the path of the run folder. Rerun the same command to resume a run.
"""

import contextlib
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from scipy.stats import qmc

from catdog_jax.analysis.sweep import Rung, halving, score, sweep_results
from catdog_jax.models.parts import Gain
from catdog_jax.optimizers import Share
from catdog_jax.population import Members, distributed, parse_vary
from catdog_jax.registry import Range, convert, split_list
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.plans import new_plans
from catdog_jax.run.progress import expecting
from catdog_jax.run.summary import aligned, expected_seconds, folded
from catdog_jax.run.task import SETTINGS
from catdog_jax.types import Dataset, InputError, Recipe
from experiments import _cli, _tasks
from experiments._experiment import Experiment, refuse
from experiments._results import number
from experiments._tasks import TrainConfig

SMALL, RATES = "mlp:width=16:depth=1", "log:1e-4:1:13"  # where nothing is said
ALLOWED = {**_cli.flags_of(TrainConfig), "momentum": Share, "gain": Gain}
NAMED = 8  # trials in a sentence, at most


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of sweep.

    Attributes:
      models: list of models, each a program of its own; empty: a small mlp, of other than pictures
        the usual ones
      num_members: random starts of each trial
      optimizer: see init_convergence; unset: by model and data set
      learning_rate: numbers like 0.001,0.01, or log:LOW:HIGH:NUMBER, lin:LOW:HIGH:NUMBER (NUMBER
        is 9 where it is left out, and of no matter with --sobol); where no setting is swept,
        log:1e-4:1:13
      weight_decay: likewise; unset: by model and data set
      momentum: likewise, of sgd and muon; unset: by the optimizer
      clip_norm: likewise, longest gradient let through; 0: any
      label_smoothing: likewise, share of the target spread over all classes
      gain: likewise, times what the starting weights are drawn as
      sobol: points that are drawn of the box of all settings, instead of a grid
      halving: let one in so many trials go on at each rung, and stop the others; unset: none stops
    """

    num_members: Annotated[int, Range(2)] = 8
    optimizer: str | None = "sgd"
    # Of these four TrainConfig has one number each; here it is a list of them.
    learning_rate: str | None = None  # type: ignore[assignment]
    weight_decay: str | None = None  # type: ignore[assignment]
    momentum: str | None = None
    clip_norm: str | None = None  # type: ignore[assignment]
    label_smoothing: str | None = None  # type: ignore[assignment]
    gain: str | None = None
    sobol: Annotated[int | None, Range(2, 1024)] = None
    halving: Annotated[int | None, Range(2)] = None

    def __post_init__(self) -> None:
        """Raise InputError for flags that exclude one another, and for settings out of range."""
        super().__post_init__()
        if self.run is not None:
            refuse(self, {"momentum", "gain", "sobol", "halving"}, "run")
        trials(self)


def values(flag: str, text: str, places: np.ndarray | None) -> np.ndarray:
    """Read the values of a setting.

    Args:
      flag, text: as typed: a list of numbers, or a scale and its ends.
      places: of each trial between the ends, or along the list, [T] in 0..1; None: each value once.

    Raises:
      InputError: not so, or out of the flag's range.
    """
    value = partial(convert, f"--{flag}", annotation=ALLOWED[flag])
    scale, *ends = text.split(":")
    if not ends:
        listed = np.array([*map(value, split_list(flag, text))], np.float64)
        return listed if places is None else listed[(places * len(listed)).astype(int)]
    if scale not in ("log", "lin") or len(ends) not in (2, 3):
        forms = "numbers like 0.1,0.2, log:LOW:HIGH:NUMBER or lin:LOW:HIGH:NUMBER"
        raise InputError(f"--{flag}={text} is not allowed; give {forms}")
    low, high = map(value, ends[:2])
    if low >= high or (scale == "log" and low <= 0):
        raise InputError(f"--{flag}={text}: give LOW < HIGH, of log above 0")
    count = convert(f"--{flag}", (*ends, "9")[2], Annotated[int, Range(2, 999)])
    places = np.linspace(0, 1, count) if places is None else places
    return low * (high / low) ** places if scale == "log" else low + (high - low) * places


def trials(config: Config) -> dict[str, np.ndarray]:
    """Give the value of each setting in every trial, [T].

    Raises:
      InputError: see `values`.
    """
    given = {name: text for name in SETTINGS if (text := getattr(config, name)) is not None}
    given = given or {"learning_rate": RATES}
    if not config.sobol:
        grid = np.meshgrid(*(values(*item, None) for item in given.items()), indexing="ij")
        return {name: column.ravel() for name, column in zip(given, grid, strict=True)}
    drawn = qmc.Sobol(len(given), rng=0).random_base2((config.sobol - 1).bit_length())
    columns = zip(given, given.values(), drawn[: config.sobol].T, strict=True)
    return {name: values(name, text, places) for name, text, places in columns}


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make one population for each model: all starts of a trial, then those of the next.

    Raises:
      InputError: no validation examples.
    """
    if not len(data.valid.labels):
        raise InputError(
            f"{data.name} has no validation examples to choose by; try {data.name}:valid=0.1"
        )
    columns, starts = trials(config), config.num_members
    count = len(next(iter(columns.values())))
    members = Members(
        count * starts,
        {name: np.tile(np.arange(starts), count) for name in parse_vary(config.vary)},
        {name: np.repeat(column, starts) for name, column in columns.items()},
    )
    plain: Any = dict.fromkeys({*columns} & {*Recipe._fields})
    usual, found = SMALL if data.kind == "images" else "", list[Task]()
    for task in _tasks.tasks(replace(config, **plain), data, models=usual):
        plan = halving(count, config.halving or count + 1, task.recipe.num_steps)
        tags = {"formula": task.label, "trials": [*range(count)], "rungs": plan}
        made = replace(task, members=members, judged=("test", "valid"), tags=tags)
        found.append(replace(made, until=min(plan) % task.recipe.num_steps))
    return found


def go_on(one: Population) -> Task:
    """Make the task of the next rung: the best trials, on from where their members are."""
    task: Any = one.task
    numbers, plan = np.array(task.tags["trials"]), task.tags["rungs"]
    end = next(step for step in plan if step > task.until)
    judged = one.arrays["valid_accuracy"][:, -1], ~one.alive
    ranks = score(*(x.reshape(len(numbers), -1) for x in judged))
    best = np.sort(np.argsort(-ranks, kind="stable")[: plan[end]])
    rows = np.arange(one.num_members).reshape(len(numbers), -1)[best].ravel()
    tables = task.members.streams, task.members.settings
    return replace(
        task,
        label=f"{task.tags['formula']} from step {task.until}",
        members=Members(len(rows), *jax.tree.map(lambda column: column[rows], tables)),
        start=one.state(rows),
        until=end % task.recipe.num_steps,
        tags={**task.tags, "trials": numbers[best].tolist()},
    )


def train(config: Config) -> Run:
    """Train all trials, or rung by rung those that are left."""
    data = _tasks.read_data(config)
    if config.halving and distributed.current().count > 1:
        raise InputError("--halving trains in one process, on all its devices; start one")
    asked = first = tasks(config, data)
    decided, plan = config.decided(data, asked), max((t.tags["rungs"] for t in first), key=len)
    seconds = sum(expected_seconds(first, new_plans(first, 1).plans, 1))
    steps = np.diff([0, *plan]) * [*plan.values()]  # of every rung, the same for each start
    for rung in range(len(plan)):
        later = seconds * steps[rung + 1 :].sum() / steps[0]
        said = contextlib.redirect_stdout(sys.stdout if rung == 0 else None)
        with said, expecting({"the rungs to come": later} if later else {}):
            found = _tasks.train(config, "sweep", data, asked, "sweep", False, decided=decided)
        latest = {one.entry["tags"]["formula"]: one for one in found.populations.values()}
        on = [go_on(one) for one in latest.values() if one.task and one.task.until]
        if found.folder is None or not on:
            break
        found.folder.close()
        asked, config = [*asked, *on], replace(config, name=found.path.name, fresh=False)
    return found


def check(populations: Mapping[str, Population]) -> None:
    """Raise InputError for members that are no trials."""
    for label, one in populations.items():
        if "trials" not in one.entry["tags"]:
            raise InputError(f"{label!r} of the run has no trials; give --run a run of sweep")


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Lay the trials out, and compare them; see `sweep_results`."""
    del config
    done, (first, *_) = dict[str, list[Rung]](), populations.values()
    for one in populations.values():
        tags = one.entry["tags"]
        rung = np.array(tags["trials"]), one.steps, one.arrays
        done.setdefault(tags["formula"], []).append(rung)
    starts = first.num_members // len(first.entry["tags"]["trials"])
    columns = {name: np.asarray(x)[::starts] for name, x in first.entry["settings"].items()}
    data = sweep_results(done, columns, first.data.test.labels)
    return data.assign_attrs(dataset=first.data.name)


FIGURES = {name: f"sweep.{name}" for name in ("by_setting", "maps", "curves")}
HEADS = ("test", "± starts", "valid", "p", "lost", "until")
SHOWN = ("accuracy_mean", "accuracy_sd", "valid_mean", "p_worse")  # below the first
LEGEND = (
    "test: mean accuracy over starts that did not diverge; ± starts: its standard deviation; "
    "valid: mean on the validation examples, by which the best (*) is chosen where no start was "
    "lost (diverged); p: of so large a lack to it on the test set by chance (Welch's t-test over "
    "starts, one-sided, times the comparisons; =: above 0.05); until: where a trial was stopped."
)


def table(run: Run) -> str:
    """Write the trials, the best of them, and those that cannot be told from it."""
    data, names, models = run.data, run.data.attrs["swept"].split(), run.data["model"].values
    rows = [["model", *names, *HEADS]]
    for label, t in itertools.product(models, data["trial"].values):
        one = data.sel(model=label).isel(trial=t)
        row = [str(label), *(f"{float(one[name]):.3g}" for name in names)]
        row += [number(float(one[name])) for name in SHOWN]
        row[-len(SHOWN)] += "*" if one["best_trial"] == t else "=" * int(one["alike"])
        lost, stopped = int((one["diverged_step"] >= 0).sum()), int(one["stopped_step"])
        rows.append([*row, str(lost), "end" if stopped < 0 else str(stopped)])
    found = [f"Found: {label}: {sentence(data.sel(model=label))}" for label in models]
    text = (line for one in (LEGEND, *found) for line in folded(one))
    return "\n".join([*aligned(rows, keys=1 + len(names)), *text])


def sentence(one: xr.Dataset) -> str:
    """Say what was found of one model."""
    names, best = one.attrs["swept"].split(), int(one["best_trial"])
    named = [", ".join(f"{x}={float(one[x][t]):.3g}" for x in names) for t in one["trial"].values]
    said = "in every trial that trained to the end a start diverged."
    if best >= 0:
        mean, spread = (float(one[f"accuracy_{name}"][best]) for name in ("mean", "sd"))
        alike = [named[t] for t in np.flatnonzero(one["alike"]) if t != best]
        others, count = int((one["stopped_step"] < 0).sum()) - 1, len(alike)
        alike[NAMED:] = [f"{count - NAMED} more"] * (count > NAMED)
        like = f"it cannot be told from {count} of" if count else "it is better than all"
        said = (
            f"best is {named[best]}: {mean:.3f} ± {spread:.3f} on the test set; {like} {others} "
            f"others trained to the end{': ' * (count > 0)}{'; '.join(alike)}."
        )
    if (edge := float(one["diverges_from"])) > 0:
        said += f" From learning_rate={edge:.3g} on at least half of the starts diverge."
    spent, grid = int(one["member_steps"]), int(one["grid_member_steps"])
    return said + f" It took {spent:,} of the full grid's {grid:,} member-steps." * (spent < grid)


main = Experiment("sweep", Config, analyse, FIGURES, table, train=train, check=check).main

if __name__ == "__main__":
    _cli.command(main)
