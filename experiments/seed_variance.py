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

The first takes about three minutes on two cores; the second trains nothing.

It ends with tables and the path of the run folder. Rerun the same command to resume a run.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr

from catdog_jax.analysis.seed_variance import ALL, ENDS, ENSEMBLE, Trained, seed_variance
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

SMALL = "cnn:widths=4-8-16:head=flatten"
BESIDE, CROSSED = (*STREAMS, "weight", "linear"), "crossed"


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of seed_variance.

    Attributes:
      models: as in init_convergence; empty: a small cnn, of other than pictures the usual ones
      num_members: of each population but the crossed grid
      vary: what a new seed changes: a list of init,order,augment,data
      augment: none, or a list of flip,shift,cutout; unset: by model and data set, flip if that is
        none
      sample: what `data` draws: bootstrap, subset:SHARE or leave_out:NUMBER; where `data` does not
        vary, members learn from all examples
      populations: trained beside that of all seeds: none, or a list of init,order,augment,data
        (each alone), weight (one weight times 1.001), linear (that model, init alone)
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
    largest = max(range(len(leaves)), key=lambda index: leaves[index].size)
    flat = leaves[largest].ravel().at[keys.settings["weight"].astype(int)].multiply(1.001)
    leaves[largest] = flat.reshape(leaves[largest].shape)
    return jax.tree.unflatten(structure, leaves)


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the populations of every model: all seeds first, then those beside it."""
    none, found = config.populations == "none", list[Task]()
    asked = () if none else split_list("populations", config.populations, BESIDE)
    models, streams = SMALL if data.kind == "images" else "", parse_vary(config.vary)

    def add(task: Task, kind: str, members: Members, **more: Any) -> None:
        sample = task.recipe.sample if "data" in members.streams else ""
        made = replace(
            task,
            label=task.label if kind == ALL else f"{task.label}, {kind}",
            recipe=task.recipe._replace(sample=sample),
            members=members,
            tags={"formula": task.label, "kind": kind},
            **more,
        )
        if kind == ALL or not made.alike:
            found.append(made)

    for task in _tasks.tasks(config, data, models=models):
        if data.kind == "images" and not config.augment and task.recipe.augment == "none":
            task = replace(task, recipe=task.recipe._replace(augment="flip"))
        add(task, ALL, varied(config.num_members, streams))
        for name in STREAMS:
            if name in asked and streams != (name,):
                add(task, f"{name} alone", varied(config.num_members, (name,)))
        if "weight" in asked:
            last = max(leaf.size for leaf in jax.tree.leaves(task.param_shapes)) - 1
            places = np.linspace(0, last, config.num_members).astype(int)
            members = Members(config.num_members, {}, {"weight": places})
            add(task, "one weight × 1.001", members, start=nudged)
        if config.grid > 1:
            axes = [x for x in STREAMS if not replace(task, members=varied(2, (x,))).alike]
            levels = np.indices(len(axes) * (config.grid,)).reshape(len(axes), -1)
            add(task, CROSSED, Members(levels.shape[1], dict(zip(axes, levels, strict=True))))
    if "linear" in asked and data.kind != "tokens" and "linear" not in {x.label for x in found}:
        own = {x.name: x.default for x in fields(TrainConfig) if x.name in Recipe._fields}
        (task,) = _tasks.tasks(replace(config, models="linear", **own), data)
        add(task, "init alone", varied(config.num_members, ("init",)))
    return found


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Measure every population, and compare each with that of all seeds of its formula."""
    del config
    found, data = {}, next(iter(populations.values())).data
    for label, one in populations.items():
        tags, streams = one.entry["tags"], one.entry["streams"]
        axes = streams if tags.get("kind") == CROSSED else {}
        found[label] = Trained(
            tags.get("formula", label),
            tags.get("kind", ", ".join(streams)),
            one.arrays["test_logits"],
            one.arrays["test_accuracy"],
            one.steps,
            one.diverged_step,
            {name: len(np.unique(x)) for name, x in axes.items()},
        )
    results = seed_variance(found, data.test.labels, data.class_names, STREAMS)
    return results.assign_attrs(dataset=data.name)


FIGURES = {
    "spread": "seed_variance.spread",
    "over_time": "seed_variance.over_time",
    "components": "seed_variance.components",
    "calibration": "seed_variance.calibration",
}
LEGEND = (
    "sd: standard deviation of test accuracy over members; / all: over that of all seeds; true sd: "
    "what it would be on all pictures there are (<0: its variance was estimated below 0); law: "
    "sqrt(error / 2n), n the test examples; halves: correlation over members of accuracies on two "
    "halves of the test set; disagree: share of answers that differ between two members, and "
    f"between two ensembles of {ENSEMBLE}; calibrated: the error that members' votes predict, "
    "calibrated on other test examples; contested: test examples that get more than one answer; "
    "95 %: intervals over members."
)


def table(run: Run) -> str:
    """Write what each population spreads, and what follows for who compares two runs."""
    data, notes = run.data, []
    head = ["formula", "varied", "accuracy", "sd", "95 %", "/ all", "95 %", "true sd", "95 %"]
    head += ["law", "halves", "disagree", "95 %", "/ all", "95 %", f"by {ENSEMBLE}", "error"]
    rows = [[*head, "calibrated", "contested"]]

    def cells(one: xr.Dataset, name: str, show: Callable[[float], str]) -> list[str]:
        value, low, high = (show(float(one[name + end])) for end in ENDS)
        return [value, low if low == "–" else f"{low}-{high}"]

    for name in data["model"].values:
        one = data.sel(model=name)
        formula, kind = (str(one[x].item()) for x in ("formula", "kind"))
        rows.append(
            [
                formula,
                kind,
                number(float(one["accuracy_mean"])),
                *cells(one, "accuracy_sd", _four),
                *cells(one, "sd_ratio", _two),
                *cells(one, "true_variance", _root),
                _four(float(one["predicted_sd"])),
                _two(float(one["split_half_correlation"])),
                *cells(one, "disagreement", number),
                *cells(one, "disagreement_ratio", _two),
                number(float(one["ensemble_disagreement"])),
                number(float(one["error"])),
                number(float(one["calibrated_disagreement"])),
                number(float(one["contested"]), 0),
            ]
        )
        if lost := int(one["num_members"]) - int(np.isfinite(one["test_accuracy"]).sum()):
            notes.append(f"{name}: {lost} of {int(one['num_members'])} members diverged, left out")
        if kind == ALL or ALL not in data["kind"].values:
            notes += _sentences(name, one)
        if np.isfinite(one["component"]).any():
            total = float(one["component"].sum())
            parts = [["source of variance, " + name, "sd", "95 %", "share of variance"]]
            for source in data["source"].values:
                part = one.sel(source=source)
                share = number(100 * float(part["component"]) / total, 0)
                parts.append([str(source), *cells(part, "component", _root), f"{share} %"])
            notes += ["", *aligned(parts)]
    return "\n".join([*aligned(rows, keys=2), "", *folded(LEGEND), *notes])


def _sentences(name: str, one: xr.Dataset) -> list[str]:
    """Say what the spread of a population means for a person who has trained once."""
    floor, deviation = float(one["noise_floor"]), float(one["accuracy_sd"])
    if not floor > 0:
        return folded(f"{name}: no two members differ in accuracy.")
    low, high = (100 * floor * float(one[f"accuracy_sd{end}"]) / deviation for end in ENDS[1:])
    best = 100 * float(one["best_of"].sel(k=5) - one["accuracy_mean"])
    return folded(
        f"Noise floor of {name}: two single runs can show no difference below {100 * floor:.1f} "
        f"points of accuracy ({low:.1f} to {high:.1f}), for two runs of one recipe differ by more "
        f"in one pair of 20; half of it takes {SEEDS_FOR_HALF} runs of each (t-test at 5 %, power "
        f"80 %). The best of 5 runs is {best:.1f} points above the mean on this test set; members "
        "that are the best quarter on one half of it are "
        f"{100 * float(one['best_quarter_gain']):.1f} points above the mean on the other half."
    )


def _two(value: float) -> str:
    return number(value, 2)


def _four(value: float) -> str:
    return number(value, 4)


def _root(variance: float) -> str:
    return "<0" if variance < 0 else number(math.sqrt(variance), 4)


main = Experiment(
    "seed_variance", Config, analyse, FIGURES, table, tasks, "seeds", growable=False
).main

if __name__ == "__main__":
    _cli.command(main)
