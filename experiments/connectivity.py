"""Where did they end? Barriers between all pairs of members, as they are and with units aligned.

Members of one model ended in different places: are these connected, and are they one place, seen
through hidden units that are numbered in another order? Between every two members lies a straight
line in the space of weights; a barrier is how much the loss, or the error, rises on it above the
straight line between the ends' own. Measured as they are (none); with the units of the second
numbered like those of the first, by their weights or by what they say (activations); with weights
and REPAIR, which gives the units of networks on the line the spread that they lack; and with
nothing but one temperature for the network in the middle. Expected: no barrier for a linear model;
a high one for deep ones, lower when aligned, lower still with REPAIR, and lower the wider they are;
and that few pictures, those near the boundary between the classes, carry most of it.

  python -m experiments.connectivity
  python -m experiments.connectivity --run=runs/init_convergence/NAME
  python -m experiments.connectivity --models=mlp:depth=1 \\
      --widths=16,32,64,128,256,512
  python -m experiments.connectivity --models=cnn:head=flatten \\
      --widths=1,2,4,8 --alignments=weights --examples=500
  python -m experiments.connectivity --models=mlp:width=64 --depths=1,2,3,4

The first takes about a minute on two cores, the two of MLPs about five; of CNNs the smallest takes
ten, each twice as wide some three times as long: --examples=500 takes a quarter of it,
--alignments=weights a third. (Estimated from seconds of one core, on a busy machine.) It ends with
a table and the path of the run folder. Rerun the same command to resume a run.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr

from catdog_jax.analysis.alignment import group_sizes, layer_groups
from catdog_jax.analysis.connectivity import ALIGNMENTS, Asked, connect, laid_out
from catdog_jax.analysis.labelled import described, readable
from catdog_jax.population.devices import member_mesh
from catdog_jax.registry import Range, parse_entry, split_list
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned, folded
from catdog_jax.sample import spread_rows
from catdog_jax.types import Dataset, InputError, Model, Split
from experiments import _cli, _tasks
from experiments._cli import whole_numbers
from experiments._experiment import Experiment
from experiments._results import mean_over_pairs, number
from experiments._tasks import TrainConfig

SMALL = "mlp:width=64"
SHOWN = 24  # pictures that are kept, those that carry most of the barrier in the last model
NO_MEMBER = 2**31 - 1
CNN_WIDTHS = (4, 8, 16)
DEEPER = {"mlp": "depth", "cnn": "convs", "resnet": "blocks"}


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of connectivity.

    Attributes:
      models: list of linear, mlp, cnn, resnet, as in init_convergence; empty: a small mlp
      alignments: beside none: a list of weights,activations,repair,temperature
      examples: training examples, and test examples, that all networks are asked about, at most
      merge: average all members as well, as they are and aligned
      widths: list of widths of every model, instead of its own: units of an mlp; of a cnn and a
        resnet times 4-8-16
      depths: likewise: hidden layers of an mlp; convolutions or blocks of each stage
    """

    num_members: Annotated[int, Range(2)] = 8
    alignments: str = ",".join(ALIGNMENTS[1:])
    examples: Annotated[int, Range(2)] = 2000
    merge: bool = True
    widths: str = ""
    depths: str = ""

    def __post_init__(self) -> None:
        """Raise InputError for what is wrong beside what the flags themselves allow."""
        super().__post_init__()
        split_list("alignments", self.alignments, ALIGNMENTS[1:])
        if self.run and (self.widths or self.depths):
            raise InputError("--widths and --depths cannot follow --run: its members are trained")


def sized(models: str, widths: str, depths: str) -> str:
    """Give every model of a list in every width and depth that is asked for.

    Raises:
      InputError: sizes of a model that has none, or has one already.
    """
    found = list(split_list("models", models or SMALL))
    for flag, text in (("widths", widths), ("depths", depths)):
        sizes, entries = whole_numbers(flag, text, 1) if text else (), found
        for entry in entries if sizes else ():
            name = parse_entry(entry)[0]
            if name not in DEEPER:
                raise InputError(f"--{flag} is of {', '.join(DEEPER)}, not of {entry!r}; leave it")
            settings = [f"{DEEPER[name]}={size}" for size in sizes]
            if flag == "widths" and name == "mlp":
                settings = [f"width={size}" for size in sizes]
            elif flag == "widths":
                wide = ("-".join(str(size * width) for width in CNN_WIDTHS) for size in sizes)
                settings = [f"widths={text}" for text in wide]
            found = [x for x in found if x != entry] + [f"{entry}:{x}" for x in settings]
    return ",".join(found)


def check_units(label: str, model: Model) -> None:
    """Raise InputError where the hidden units of a formula cannot be numbered anew."""
    if model.units is None:
        raise InputError(
            f"the hidden units of {label!r} cannot be numbered anew: group normalisation has no "
            "free permutation, and a model of your own or of words has no table of its axes "
            "(types.Units); give linear, mlp, cnn or resnet with norm=none, layer or rms"
        )


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the usual tasks, in the sizes that are asked for."""
    models = sized(config.models, config.widths, config.depths)
    found = _tasks.tasks(replace(config, models=models), data)
    for task in found:
        check_units(task.label, task.formula)
    return found


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Measure all pairs of the members that did not diverge; see `connect` and `laid_out`.

    Variables:
      width: units of the first hidden layer; 0 = none
      depth: layers of hidden units
      diverged_step: step whose loss was not finite; -1 = never, 2147483647: no such member [step]
      label: class index of the test examples
      picture: the test pictures that carry most of the barrier in the last model [grey level]
      picture_example: index of each along `example`
      example_id: stable name of each test example
    """
    trained = list(populations.values())
    data, found, alive = trained[0].data, dict[str, Any](), dict[str, np.ndarray]()
    for label, one in populations.items():
        check_units(label, one.model)
    train, test = (spaced(x, config.examples) for x in (data.train, data.test))
    every = Asked(train.data, test.data, data.valid.data, len(data.class_names))
    how: Any = {"alignments": split_list("alignments", config.alignments), "merge": config.merge}
    pairs, before = [math.comb(int(one.alive.sum()), 2) for one in trained], 0
    with Progress("comparing pairs", sum(pairs), "pairs") as progress:
        for count, (label, one) in zip(pairs, populations.items(), strict=True):
            alive[label] = left = one.alive
            if count:
                params = jax.tree.map(lambda x, left=left: np.asarray(x)[left], one.params)
                told = partial(_tell, progress, label, before, count)
                found[label] = connect(one.model, params, every, member_mesh(), told=told, **how)
                before += count
    if not found:
        raise RuntimeError("no model has two members left to compare; lower --learning_rate")
    results = laid_out(found, alive)
    sizes = [units_of(one) for one in trained]
    steps = np.full((len(trained), max(map(len, alive.values()))), NO_MEMBER)
    for m, one in enumerate(trained):
        steps[m, : one.num_members] = one.diverged_step
    results["width"], results["depth"] = (("model", [*x]) for x in zip(*sizes, strict=True))
    results["diverged_step"] = ("model", "member"), steps
    results["label"] = "example", test.labels
    results = results.assign_coords(example_id=("example", readable(test.ids)))
    results = results.assign_coords({"class": np.array(data.class_names, object)})
    if data.kind == "images":
        gap = results["picture_gap"][-1].sel(alignment="none").mean("pair").fillna(0).values
        shown = np.argsort(-gap, kind="stable")[:SHOWN].astype(np.int32)
        results["picture"] = ("shown", "row", "column", "channel"), test.inputs[shown]
        results["picture_example"] = "shown", shown
    return described(results.assign_attrs(dataset=data.name), analyse)


def spaced(split: Split, most: int) -> Split:
    """Choose so many examples at most, evenly spaced in each class."""
    rows = spread_rows(split.labels, most)
    return Split(split.inputs[rows], split.labels[rows], tuple(split.ids[row] for row in rows))


def units_of(one: Population) -> tuple[int, int]:
    """Count the units of the first hidden layer, and the layers."""
    units: Any = one.model.units
    groups, sizes = list(layer_groups(units).values()), group_sizes(units, one.member(0))
    return (sizes[groups[0]] if groups else 0), len(groups)


def _tell(progress: Progress, label: str, before: int, count: int, share: float) -> None:
    progress.to(before + int(count * share), label)


FIGURES = {x: f"connectivity.{x}" for x in ("pairs", "profile", "by_size", "pictures")}
LEGEND = (
    "loss, error: how far the test loss (nats) and error (percentage points) of a network on the "
    "straight line between two members are above the straight line between their own, at most; "
    "mean over pairs; 95 %: over members (none below 8); train: the loss on training pictures. "
    "none: members as they are; weights, activations: units of the second numbered like the "
    "first's; repair: weights, and units given their spread again; temperature: as they are, but "
    "for one temperature of the network in the middle; apart: distance of the weights."
)


def table(run: Run) -> str:
    """Write the barriers of every model, and what was found."""
    data, notes = run.data, list[str]()
    rows = [["model", "aligned", "loss", "95 %", "train", "error", "95 %", "apart"]]
    for model, kind in itertools.product(map(str, data["model"].values), ALIGNMENTS):
        one = data.sel(model=model, alignment=kind)
        if one["loss_mean"].isnull().all():
            continue
        row = [model, kind]
        for name, scale, digits in (("loss", 1, 3), ("error", 100, 2)):
            ends = [one[f"{name}_mean{end}"].values * scale for end in ("", "_low", "_high")]
            (_, value), (_, low), (_, high) = ([number(float(x), digits) for x in y] for y in ends)
            row += [value, "–" if low == "–" else f"{low}-{high}"]
            row += [number(float(ends[0][0]))] if name == "loss" else []
        rows.append([*row, number(float(one["weight_distance"].mean()), 2)])
    for model in map(str, data["model"].values):
        one = data.sel(model=model)
        lost = int((one["diverged_step"] >= 0).sum() - (one["diverged_step"] == NO_MEMBER).sum())
        notes += folded(f"{model}: {lost} members diverged and left out") if lost else []
        notes += _sentences(model, one)
    return "\n".join([*aligned(rows, keys=2), "", *folded(LEGEND), *notes])


def _sentences(model: str, one: xr.Dataset) -> list[str]:
    """Say what was found of one model."""
    rise = {kind: float(one["loss_mean"].sel(alignment=kind, split="test")) for kind in ALIGNMENTS}
    if math.isnan(rise["none"]):
        return []
    words = {"weights": "with units aligned by weights", "activations": "by activations",
             "repair": "with REPAIR", "temperature": "with one temperature"}  # fmt: skip
    told = [f"{rise[x]:.3f} {text}" for x, text in words.items() if not math.isnan(rise[x])]
    told.insert(0, f"{rise['none']:.3f} nats as they are")
    text = f"Found: between two members of {model} the test loss rises by {', '.join(told)}."
    lines = folded(text)
    if rise["none"] > 1e-4:
        pairs = one["picture_gap"].sel(alignment="none").dropna("pair").values
        gap = np.sort(pairs.mean(axis=0))[::-1]
        half = int(np.searchsorted(np.cumsum(gap), gap.sum() / 2)) + 1
        gaps = one["gap_part"].sel(alignment="none", part="gap").mean("pair")
        told = [f"{float(x):+.3f} for {x['class'].item()}" for x in gaps]
        rising = pairs[np.ptp(pairs, axis=1) > 0]  # no picture rises where there is no barrier
        alike = mean_over_pairs(np.corrcoef(rising)) if len(rising) > 1 else math.nan
        lines += folded(
            f"As they are, the {half:,} of {len(gap):,} pictures whose loss rises most add up to "
            f"half of that, and that of {int((gap < 0).sum()):,} falls; {', '.join(told)}; the "
            f"rises of all pictures of two pairs correlate by {number(alike, 2)}."
        )
    merged = 100 * one["merged_error"].sel(split="test")
    if merged.notnull().all():
        own, *errors = (f"{float(x):.1f} %" for x in merged)
        ways = zip(errors, ("as they are", "aligned to the first", "aligned together"), strict=True)
        told = [f"{error} {text}" for error, text in ways]
        lines += folded(f"The error of their mean weights: {', '.join(told)}; their own: {own}.")
    return lines


main = Experiment(
    "connectivity", Config, analyse, FIGURES, table, tasks, "connectivity", growable=False
).main

if __name__ == "__main__":
    _cli.command(main)
