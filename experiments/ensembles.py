"""What are many members worth together, and what else could be had for their cost?

Members of one model are asked together, by the mean of their probabilities or of their logits:
how much better are 2, 4, 8 of them than one, in accuracy and in how far their probabilities can be
believed, before and after a temperature is fitted to the validation examples? Beside them, at the
cost of an ensemble: members of one start that see the examples in other orders, members that learn
from bootstraps of the examples, one long run of which every cycle ends in a snapshot, these alone
and with their weights averaged, one wide network, and one network that learns what the ensemble
says. And does the ensemble know what it does not know: how right is it where it is sure, and is it
less sure of pictures that show neither class? Expected, after Fort et al. 2019: starts are a better
ensemble than snapshots of one run, for they differ more. The first command cannot show it: its
training is too short to finish, and one network that is trained four times as long is better than
four that are not.

  python -m experiments.ensembles
  python -m experiments.ensembles --run=runs/init_convergence/NAME
  python -m experiments.ensembles --dataset=cifar10:valid=0.1 --data_dir=DIR \\
      --models=cnn:widths=4-8-16:head=flatten --num_steps=1400 --size=8

On two cores the first takes about two minutes, the second trains nothing, and the last, of ten
epochs, takes about a quarter of an hour.
Pictures of neither class are those of the other classes of CIFAR-10, where it lies in --data_dir or
TFDS_DATA_DIR. It ends with tables and the path of the run folder. Rerun the same command to resume
a run.
"""

import bisect
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from scipy.special import softmax

from catdog_jax.analysis.ensembles import ENDS, laid_out, measure
from catdog_jax.data import load_dataset
from catdog_jax.population import Members, distributed, parse_vary, varied
from catdog_jax.registry import Range, split_list
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned, folded
from catdog_jax.types import Dataset, InputError, Params
from experiments import _cli, _tasks
from experiments._experiment import Experiment
from experiments._results import number
from experiments._tasks import TrainConfig

SMALL = "cnn:widths=4-8-16:head=flatten"
ALTERNATIVES = ("orders", "bags", "snapshots", "wide", "distilled", "none")
STARTS, RUNS = "starts", 4  # of each alternative that is one network, or one run
OTHERS = ("airplane", "automobile", "bird", "deer", "frog", "horse", "ship", "truck")
STRANGE = 2000  # pictures of neither class


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of ensembles.

    Attributes:
      models: as in init_convergence; empty: a small CNN, of other than pictures the usual ones
      num_members: of each model; ensembles of all sizes are made of them
      size: members of the ensemble that is held against the alternatives; unset: a quarter, of
        --run all
      alternatives: trained beside the members, each at the cost of --size of them: a list of
        orders, bags, snapshots, wide (where the model names its width), distilled; none: none
    """

    num_members: Annotated[int, Range(2)] = 16
    size: Annotated[int | None, Range(2)] = None
    alternatives: str = ",".join(ALTERNATIVES[:-1])


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the members of every model, and all alternatives but the distilled ones."""
    size, vary = config.size or max(2, config.num_members // 4), parse_vary(config.vary)
    if size > config.num_members:
        raise InputError(f"--size={size} of --num_members={config.num_members}; give no more")
    found, names = list[Task](), split_list("alternatives", config.alternatives, ALTERNATIVES)
    for task in _tasks.tasks(config, data, models=SMALL if data.kind == "images" else ""):
        recipe, runs = task.recipe, varied(RUNS, vary)
        model = widened(task, size) if "wide" in names else ""
        cycles = "" if recipe.schedule.startswith("constant") else f":cycles={size}"
        longer = recipe._replace(
            num_steps=size * recipe.num_steps,
            eval_every=recipe.num_steps,
            schedule=recipe.schedule + cycles,
        )
        bag = recipe._replace(sample=recipe.sample or "bootstrap")
        made = {  # what it is, size, members, recipe; without what the members are already
            "": (STARTS, size, task.members, recipe),
            "orders": ("one start, other orders", size, varied(size, ("order",)), recipe),
            "bags": ("bootstraps", size, varied(size, {*vary, "data"}), bag),
            "snapshots": ("one long run", 1, runs, longer),
            "wide": (model, 1, runs, recipe),
        }
        same = {"orders": vary == ("order",), "bags": "data" in vary, "wide": not model}
        for name in ("", *names):
            if name in made and not same.get(name):
                kind, count, members, own = made[name]
                equal = "parameters" if name == "wide" else "training"
                tags = {"kind": kind, "size": count, "trainings": size, "equal": equal}
                label = f"{task.label}, {name}" if name else task.label
                one = replace(task, label=label, members=members, recipe=own, tags=tags)
                found.append(replace(one, model=model) if name == "wide" else one)
    return found


def widened(task: Task, times: int) -> str:
    """Give the model with all widths so much larger that it has so many times the parameters.

    Returns:
      The closest one, of factors in eighths; '' where the model names no width.
    """

    def model(eighths: int) -> str:
        def wide(found: re.Match[str]) -> str:
            return "-".join(str(round(int(width) * eighths / 8)) for width in found[0].split("-"))

        return re.sub(r"(?<=\bwidth=)\d+|(?<=\bwidths=)[\d-]+", wide, str(task.model))

    def excess(eighths: int) -> int:
        return replace(task, model=model(eighths)).num_params - times * task.num_params

    if model(16) == task.model:
        return ""
    first = bisect.bisect_left(range(8 * times), 0, lo=8, key=excess)
    return model(min((first - 1, first), key=lambda eighths: abs(excess(eighths))))


def train(config: Config) -> Run:
    """Train the members and the alternatives, and at last what learns from the ensembles."""
    data = _tasks.read_data(config)
    distil = "distilled" in config.alternatives
    if distil and distributed.current().count > 1:
        raise InputError("what is distilled is trained in one process; leave it out, or start one")
    asked = tasks(config, data)
    long = [task.schedule for task in asked if task.label.endswith(", snapshots")]
    settings: Any = {"decided": config.decided(data, asked), "growable": False}
    settings |= {"keep_params": {x for one in long for x in one.evaluations[1:]}}
    found = _tasks.train(config, "ensembles", data, asked, "ensembles", **settings)
    if found.folder is None or not distil:
        return found
    with found.folder:
        starts = [(x, found.populations[x.label]) for x in asked if x.tags["kind"] == STARTS]
        asked += [distilled(task, members) for task, members in starts if members.alive.any()]
    return _tasks.train(config, "ensembles", data, asked, "ensembles", **settings)


def distilled(task: Task, teachers: Population) -> Task:
    """Make the task of learning what the first members of an ensemble say of its examples.

    Source:
      Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network" (temperature 1).
    """
    size, data = task.tags["size"], task.data
    logits = teachers.evaluate(data.train.inputs)[teachers.alive][:size]
    said = softmax(logits, axis=-1).mean(axis=0)
    streams = {name: task.members.count + np.arange(RUNS) for name in task.members.streams}
    return replace(
        task,
        label=f"{task.label}, distilled",
        data=replace(data, train=replace(data.train, labels=said)),
        members=Members(RUNS, streams),
        tags={"kind": "distilled", "size": 1, "trainings": size + 1, "equal": "network"},
    )


def strange_pictures(config: Config, data: Dataset) -> np.ndarray:
    """Give test pictures of the other classes of CIFAR-10; none where it is not at hand."""
    names, size = [x for x in OTHERS if x not in data.class_names], data.test.inputs.shape[1]
    with contextlib.suppress(InputError):
        if data.kind == "images":
            others = load_dataset(
                "cifar10", data_dir=config.data_dir, classes=names, image_size=size
            )
            return others.test.inputs[:: max(1, len(others.test.inputs) // STRANGE)][:STRANGE]
    return data.test.inputs[:0]


def ensembles_of(one: Population, size: int | None) -> Iterator[tuple[str, dict, Params, int]]:
    """List what is made of a population: its members, and where it kept params its snapshots.

    Args:
      one: the population.
      size: of an ensemble; None: as it was trained for, or all members.

    Yields:
      Label; what is known of it; params [M, ...]; of snapshots how many are of one run, else 0.
    """
    count, own, kept = one.num_members, one.entry["tags"], one.arrays.get("params", {})
    tags = {"kind": STARTS, "size": size or count, "trainings": size or count, "equal": "training"}
    tags |= own if "trainings" in own else {}
    yield one.label, tags, one.params, 0
    if len(steps := sorted(int(step) for step in kept if int(step))) > 1:
        at = [one.at(step) for step in steps]
        each = jax.tree.map(lambda *x: np.stack(x, 1).reshape(-1, *x[0].shape[1:]), *at)
        cost = own.get("trainings", 1)
        tags |= {"kind": "its snapshots", "size": len(steps), "trainings": cost}
        yield f"{one.label}, each", tags, each, len(steps)
        mean = jax.tree.map(lambda *x: np.mean(x, axis=0), *at)
        yield f"{one.label}, mean", tags | {"kind": "their mean weights", "size": 1}, mean, 0


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Ask the members, their snapshots and mean weights, and score the ensembles of them."""
    data, found = next(iter(populations.values())).data, dict[str, Any]()
    parts = [data.test.inputs, data.valid.inputs, strange_pictures(config, data)]
    ends, truth = np.cumsum([*map(len, parts)])[:2], (data.test.labels, data.valid.labels)
    for one in populations.values():
        for label, tags, params, run in ensembles_of(one, config.size):
            diverged = np.repeat(one.diverged_step, run or 1)
            answers = np.split(one.evaluate(np.concatenate(parts), params), ends, axis=1)
            if label == one.label:  # to the last bit those of the run
                answers[0] = one.arrays["test_logits"]
            numbers = measure(answers, diverged < 0, truth, tags.pop("size"), run)
            parameters = numbers["equal_size"] * one.num_params
            numbers |= {"diverged_step": ("member", diverged), "parameters": parameters}
            found[label] = numbers | tags
    truths = "example", data.test.labels, {"long_name": "class index of the test examples"}
    return laid_out(found).assign(label=truths).assign_attrs(dataset=data.name)


FIGURES = {x: f"ensembles.{x}" for x in ("size", "sureness", "alternatives")}
LEGEND = (
    "networks: asked together, their probabilities averaged, mean over such ensembles; low, high: "
    "95 % interval over members by the jackknife, on these test examples; NLL: mean of -log p of "
    "the right class, nats; Brier: summed over classes; ECE: expected calibration error, 15 bins "
    "of equal width, and of equal mass; at T: after a temperature T fitted on the validation "
    "examples (–: there are none; cifar10:valid=0.1 has some); trainings: what it costs, in "
    "trainings of one member; equal: what is made equal to that of the ensemble of members."
)
SHOWN = ("accuracy", "accuracy_low", "accuracy_high", "nll", "brier", "ece", "ece_mass",
         "temperature", "nll_calibrated", "ece_calibrated")  # fmt: skip
HEADS = ("accuracy", "low", "high", "NLL", "Brier", "ECE", "mass", "T", "NLL at T", "ECE at T")


def table(run: Run) -> str:
    """Write the scores by size, what else the cost buys, and what was found."""
    data, notes = run.data, list[str]()
    rows = [["members", "networks", "trainings", "parameters", "equal", *HEADS]]
    for label in map(str, data["model"].values):
        one = data.sel(model=label, average="probabilities")
        own, at = (str(one[x].item()) for x in ("kind", "equal")), int(one["equal_size"])
        kind, equal = own
        for size in one["size"].values[one["nll"].notnull()] if kind == STARTS else [at]:
            cost = [f"{int(one[x]) // at * size:,}" for x in ("trainings", "parameters")]
            cells = [number(float(one[x].sel(size=size))) for x in SHOWN]
            name = label if kind == STARTS else kind
            rows.append([name, str(size), *cost, equal, *cells])
        notes += _found(data, label) if kind == STARTS else []
    lines = (line for text in (LEGEND, *notes) for line in folded(text))
    return "\n".join([*aligned(rows, keys=2), "", *lines])


def _found(data: xr.Dataset, label: str) -> list[str]:
    """Say what an ensemble gains, what else would at its cost, and what it knows of itself."""

    def at(name: str, variable: str) -> np.ndarray:
        one = data.sel(model=name, average="probabilities")
        return np.array([float(one[variable + end].sel(size=one["equal_size"])) for end in ENDS])

    one, mine, others = data.sel(model=label), at(label, "accuracy"), []
    gain, low, high = (f"{100 * x:+.1f}" for x in at(label, "accuracy_gain"))
    plain, fitted = (number(-at(label, f"{x}_gain")[0]) for x in ("nll", "nll_calibrated"))
    for name in [m for m in map(str, data["model"].values) if m.startswith(f"{label}, ")]:
        its = at(name, "accuracy")
        luck = not abs(its[0] - mine[0]) > np.hypot(its[2] - its[0], mine[2] - mine[0])
        text = f"{data['kind'].sel(model=name).item()} {100 * (its[0] - mine[0]):+.1f}"
        others.append(text + " (may be luck)" * luck)
    numbers = *one["coverage_accuracy"].sel(coverage=0.5).values, *one["auroc"].values
    sure, calm, strange, apart = (number(float(x)) for x in numbers)
    return [
        f"Found: {int(one['equal_size'])} of {label} together are {gain} points ({low} to {high}) "
        f"more often right than one, and their NLL is {plain} lower, {fitted} where both have a "
        f"temperature. Of the half they are surest of they have {sure} right, of that they "
        f"disagree least on {calm}.",
        f"Pictures of neither class are detected by confidence with an AUROC of {strange}, by "
        f"disagreement of {apart} (–: none are at hand).",
        f"At equal cost, in points from them: {'; '.join(others) or 'nothing was trained'}.",
    ]


main = Experiment("ensembles", Config, analyse, FIGURES, table, train=train).main

if __name__ == "__main__":
    _cli.command(main)
