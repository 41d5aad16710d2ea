"""Three verbs in a row: train, or take the members of a run; analyse; draw. Then a table."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from catdog_jax import run
from catdog_jax.analysis.layers import Networks
from catdog_jax.types import Dataset, InputError
from experiments import _tasks
from experiments._cli import command_line, deciding, split_list
from experiments._figures import draw
from experiments._tasks import TrainConfig

if TYPE_CHECKING:
    import xarray as xr

WITH_RUN = ("run", "data_dir", "dataset", "models", "out_dir", "name", "fresh", "compile_cache")


@dataclass(frozen=True)
class Experiment:
    """An experiment on populations, as a value; called with its Config it does all of it.

    Attributes:
      name: of the folder of its runs.
      analyse: (label -> population, settings) -> the results; deterministic.
      figures: file name -> the function of the labelled data that draws it.
      table: (run) -> what is printed at the end.
      tasks: (settings, data set) -> what is trained.
      short_name, growable: see `_tasks.train`.
      train: settings -> the run, its members trained; None: as `_tasks` does.
    """

    name: str
    analyse: "Callable[[Mapping[str, run.Population], Any], xr.Dataset]"
    figures: Mapping[str, Any]
    table: Callable[[run.Run], str]
    tasks: Callable[[Any, Dataset], list[run.Task]] = _tasks.tasks
    short_name: str = ""
    growable: bool = True
    train: Callable[[Any], run.Run] | None = None

    def __call__(self, config: Any) -> run.Run:
        """Do it, and print where everything is."""
        if getattr(config, "run", None):
            found = take(config, self.name)
        elif self.train is not None:
            found = self.train(config)
        else:
            data = _tasks.read_data(config)
            tasks, names = self.tasks(config, data), (self.short_name, self.growable)
            found = _tasks.train(config, self.name, data, tasks, *names)
        if found.folder is not None:
            with found.folder:
                found = found.finish(self.analyse(found.populations, config))
        draw(found.data, found.path, self.figures)
        print(self.table(found))
        print(f"results, weights and figures: {found.path}")
        raise_if_all_diverged(found)
        return found


def take(config: Any, experiment: str) -> run.Run:
    """Take the members of --run.

    Raises:
      InputError: a flag that only training could follow.
    """
    for item in dataclasses.fields(config):
        trains = item.name in TrainConfig.__dataclass_fields__ and item.name not in WITH_RUN
        if trains and getattr(config, item.name) != item.default:
            raise InputError(f"--{item.name} cannot follow --run: its members are trained already")
    run.begin(compile_cache=config.compile_cache)
    of_training = TrainConfig.__dataclass_fields__
    where = "/".join(Path(config.run).resolve().parts[-2:])
    typed = split_list("models", config.models) if config.models else ()
    return run.take_run(
        config.run,
        experiment=experiment,
        settings={k: v for k, v in deciding(config).items() if k not in of_training},
        command=command_line(dataclasses.replace(config, run=f"runs/{where}"), experiment),
        models=typed,
        data_dir=config.data_dir,
        own=(config.dataset, *typed),
        out_dir=config.out_dir,
        name=config.name,
        fresh=config.fresh,
    )


def networks(populations: Mapping[str, run.Population]) -> dict[str, Networks]:
    """Give populations as the analyses of layers take them."""
    inputs = next(iter(populations.values())).data.train.inputs
    example = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    return {
        label: Networks(found.model, found.moment, found.alive, example)
        for label, found in populations.items()
    }


def raise_if_all_diverged(found: run.Run) -> None:
    """Raise where a model has no member left; call it last, when all is kept and shown.

    Raises:
      RuntimeError: every member of some model diverged.
    """
    data = found.data
    if data is None or "diverged_step" not in data:
        return
    axis = data["diverged_step"].dims[0]  # the models
    for label in data[axis].values:
        steps = data["diverged_step"].sel({axis: label}).values
        if (steps >= 0).all():
            raise RuntimeError(
                f"all {len(steps)} members of {label} diverged (a loss that was not finite, first "
                f"at step {steps.min()}); lower --learning_rate; what there is: {found.path}"
            )
