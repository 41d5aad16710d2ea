"""How much of a result is the seed, and which randomness is it?

One recipe is trained many times: with another start, order of examples and augmentation (what a new
seed changes), with each of these alone, on bootstraps of the training examples, on a fully crossed
grid of all four, and from one start of which a single weight is multiplied by 1.001. Expected,
after Jordan 2024: in long training each of them alone spreads results as much as all together, one
weight as much as a new seed, and nearly all of the spread is that of a small test set: on all
pictures there are, members are nearly equally good. In short training (below about 32 epochs) this
fails. A linear model, whose loss has one lowest point, answers the same whatever its start.

  python -m experiments.seed_variance
  python -m experiments.seed_variance --run=runs/init_convergence/NAME
  python -m experiments.seed_variance --dataset=cifar10 --data_dir=DIR \\
      --models=cnn:widths=4-8-16:head=flatten --num_members=200 \\
      --num_steps=624 --populations=init,data,weight --grid=0
  python -m experiments.seed_variance --dataset=cifar10 --data_dir=DIR \\
      --models=cnn:widths=4-8-16:head=flatten --num_members=64 \\
      --num_steps=4992 --populations=init,weight --grid=0

On two cores the first takes about two minutes, the second trains nothing, the third (4 epochs)
takes half an hour and the last (32 epochs) fifty minutes. It ends with tables and the path of the
run folder. Rerun the same command to resume a run.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.seed_variance import COMBINED, ENDS, ENSEMBLE, laid_out, measure
from catdog_jax.analysis.seeds import SEEDS_FOR_HALF
from catdog_jax.population import Members, parse_vary, varied
from catdog_jax.population.members import STREAMS
from catdog_jax.registry import Range, split_list
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned, folded
from catdog_jax.train import MemberKeys
from catdog_jax.types import Dataset, Params, Recipe
from experiments import _cli, _tasks
from experiments._experiment import Experiment
from experiments._results import number
from experiments._tasks import TrainConfig

SMALL = "mlp:width=16:depth=1"
BESIDE, SOURCES = (*STREAMS, "weight", "linear"), [*STREAMS, COMBINED]
ALL, CROSSED = "all seeds", "crossed"


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of seed_variance.

    Attributes:
      models: as in init_convergence; empty: a small mlp, of other than pictures the usual ones
      num_members: of each population but the crossed grid
      vary: what a new seed changes: a list of init,order,augment,data
      augment: none, or a list of flip,shift,cutout; unset: by model and data set, flip if that is
        none
      sample: what `data` draws: bootstrap, subset:SHARE or leave_out:NUMBER; where `data` does not
        vary, members learn from all examples
      populations: trained beside that of all seeds: a list of init,order,augment,data (each
        alone), weight (one weight times 1.001), linear (that model, init alone)
      grid: levels of each stream in the fully crossed grid; 0: no grid
    """

    num_members: Annotated[int, Range(2)] = 32
    vary: str = "init,order,augment"
    sample: str | None = "bootstrap"
    populations: str = ",".join(BESIDE)
    grid: Annotated[int, Range(0)] = 3


def nudged(keys: MemberKeys, params: Params) -> Params:
    """Multiply one weight of the largest array by 1.001: the one that a member's `weight` says."""
    leaves, structure = jax.tree.flatten(params)
    largest = int(np.argmax([leaf.size for leaf in leaves]))
    place = jnp.unravel_index(keys.settings["weight"].astype(int), leaves[largest].shape)
    leaves[largest] = leaves[largest].at[place].multiply(1.001)
    return jax.tree.unflatten(structure, leaves)


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the populations of every model: all seeds first, then those beside it."""
    asked = split_list("populations", config.populations, BESIDE)
    streams, count, found = parse_vary(config.vary), config.num_members, list[Task]()

    def add(task: Task, kinds: Mapping[str, Members]) -> None:
        for kind, members in kinds.items():
            made = replace(
                task,
                label=task.label if kind == ALL else f"{task.label}, {kind}",
                recipe=task.recipe._replace(
                    sample=task.recipe.sample * ("data" in members.streams)
                ),
                members=members,
                start=nudged if members.settings else None,
                tags={"formula": task.label, "kind": kind},
            )
            if kind == ALL or not made.alike:
                found.append(made)

    for task in _tasks.tasks(config, data, models=SMALL if data.kind == "images" else ""):
        if data.kind == "images" and not config.augment and task.recipe.augment == "none":
            task = replace(task, recipe=task.recipe._replace(augment="flip"))
        kinds = {ALL: varied(count, streams)}
        for name in STREAMS:
            if name in asked and streams != (name,):
                kinds[f"{name} alone"] = varied(count, (name,))
        if "weight" in asked:
            last = max(leaf.size for leaf in jax.tree.leaves(task.param_shapes)) - 1
            places = np.linspace(0, last, count).astype(int)
            kinds["one weight × 1.001"] = Members(count, {}, {"weight": places})
        if config.grid > 1:
            axes = [x for x in STREAMS if not replace(task, members=varied(2, (x,))).alike]
            levels = np.indices(len(axes) * (config.grid,)).reshape(len(axes), -1)
            kinds[CROSSED] = Members(levels.shape[1], dict(zip(axes, levels, strict=True)))
        add(task, kinds)
    if "linear" in asked and data.kind != "tokens" and "linear" not in {x.label for x in found}:
        own: Any = {x.name: x.default for x in fields(TrainConfig) if x.name in Recipe._fields}
        (task,) = _tasks.tasks(replace(config, models="linear", **own), data)
        add(task, {"init alone": varied(count, ("init",))})
    return found


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Measure every population, and compare each with that of all seeds of its formula."""
    del config
    data, found = next(iter(populations.values())).data, {}
    tags = {label: dict(one.entry["tags"]) for label, one in populations.items()}
    for label, one in populations.items():
        streams, own = one.entry["streams"], tags[label]
        own |= {"formula": own.get("formula", label), "kind": own.get("kind", ", ".join(streams))}
        grid = streams if own["kind"] == CROSSED else {}
        crossed = {name: len(np.unique(levels)) for name, levels in grid.items()}
        numbers = measure(one.arrays, data.test.labels, crossed, SOURCES)
        found[label] = numbers | {"step": one.steps}
    bases = {own["formula"]: label for label, own in tags.items() if own["kind"] == ALL}
    results = laid_out(found, {x: bases.get(own["formula"], x) for x, own in tags.items()})
    for name in ("formula", "kind"):
        results[name] = "model", np.array([own[name] for own in tags.values()], object)
    results = results.assign_coords({"source": SOURCES, "class": list(data.class_names)})
    results["label"] = "example", data.test.labels
    return described(results.assign_attrs(dataset=data.name), laid_out)


FIGURES = {x: f"seed_variance.{x}" for x in ("spread", "over_time", "calibration")}
LEGEND = (
    "sd: standard deviation of test accuracy over members; / all, vs all: over that of all seeds; "
    "true sd: what it would be on all pictures there are (<0: its variance was estimated below 0); "
    "law: sqrt(error / 2n), n the test examples; halves: correlation over members of accuracies on "
    "two halves of the test set; disagree: share of answers that differ between two members, and "
    f"between two ensembles of {ENSEMBLE}; calibrated: the error that members' votes predict, "
    "calibrated on other test examples; contested: test examples that get more than one answer; "
    "95 %: intervals over members (of sd by normal theory below 8)."
)


def _root(variance: float) -> str:
    return "<0" if variance < 0 else number(math.sqrt(variance), 4)


two, four = partial(number, digits=2), partial(number, digits=4)
# Heading -> variable, with its interval where there is one, and how they are written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy_mean", number),
    "sd*": ("accuracy_sd", four),
    "/ all*": ("sd_ratio", two),
    "true sd*": ("true_variance", _root),
    "law": ("predicted_sd", four),
    "halves": ("split_half_correlation", two),
    "disagree*": ("disagreement", number),
    "vs all*": ("disagreement_ratio", two),
    f"by {ENSEMBLE}": ("ensemble_disagreement", number),
    "error": ("error", number),
    "calibrated": ("calibrated_disagreement", number),
    "contested": ("contested", partial(number, digits=0)),
}


def table(run: Run) -> str:
    """Write what each population spreads, and what follows for who compares two runs."""
    data, notes = run.data, []
    head = [[name[:-1], "95 %"] if name.endswith("*") else [name] for name in COLUMNS]
    rows = [["formula", "varied", *itertools.chain(*head)]]
    for label in data["model"].values:
        one = data.sel(model=label)
        row = [str(one[name].item()) for name in ("formula", "kind")]
        for heading, (name, show) in COLUMNS.items():
            row += _cells(one, name, show)[: 1 + heading.endswith("*")]
        rows.append(row)
        if lost := int(one["num_members"]) - int(np.isfinite(one["test_accuracy"]).sum()):
            text = f"{label}: {lost} of {int(one['num_members'])} members diverged and left out"
            notes += folded(text)
        if row[1] == ALL or ALL not in data["kind"].values:
            notes += _sentences(label, one)
        if np.isfinite(one["component"]).any():
            parts = [[f"variance of {label} from", "sd", "95 %", "share"]]
            for source in data["source"].values:
                part, total = one.sel(source=source), one["component"].sum()
                share = number(100 * float(part["component"] / total), 0)
                parts.append([source, *_cells(part, "component", _root), f"{share} %"])
            notes += ["", *aligned(parts)]
    return "\n".join([*aligned(rows, keys=2), "", *folded(LEGEND), *notes])


def _cells(one: xr.Dataset, name: str, show: Callable[[float], str]) -> list[str]:
    """Write a number and its interval, where it has one."""
    value, low, high = (show(float(one.get(name + end, math.nan))) for end in ENDS)
    return [value, low if low == "–" else f"{low}-{high}"]


def _sentences(name: str, one: xr.Dataset) -> list[str]:
    """Say what the spread of a population means for a person who has trained once."""
    floor, deviation = float(one["noise_floor"]), float(one["accuracy_sd"])
    if not floor > 0:
        return folded(f"{name}: no two members differ in accuracy.")
    low, high = (100 * floor * float(one[f"accuracy_sd{end}"]) / deviation for end in ENDS[1:])
    known = one["best_of"].sel(k=[2, 3, 5]).dropna("k")[-1]  # of as many as there are
    best = 100 * float(known - one["accuracy_mean"])
    return folded(
        f"Noise floor of {name}: two single runs can show no difference below {100 * floor:.1f} "
        f"points of accuracy ({low:.1f} to {high:.1f}), for two runs of one recipe differ by more "
        f"in one pair of 20; half of it takes {SEEDS_FOR_HALF} runs of each (t-test at 5 %, power "
        f"80 %). The best of {int(known['k'])} runs is {best:.1f} points above the mean on this "
        "test set; members that are the best quarter on one half of it are "
        f"{100 * float(one['best_quarter_gain']):+.1f} points from the mean on the other half."
    )


main = Experiment(
    "seed_variance", Config, analyse, FIGURES, table, tasks, "seeds", growable=False
).main

if __name__ == "__main__":
    _cli.command(main)
