"""Three verbs in a row: train, or take the members of a run; analyse; draw. Then a table."""

import dataclasses
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog_jax import __version__, interrupt, run
from catdog_jax.registry import split_list
from catdog_jax.run.progress import Progress, expecting
from catdog_jax.run.summary import tell
from catdog_jax.store.atomic import replacing
from catdog_jax.store.manifest import model_folder
from catdog_jax.types import Dataset, InputError
from experiments import _cli, _tasks
from experiments._cli import deciding
from experiments._tasks import TrainConfig

if TYPE_CHECKING:
    import xarray as xr

WITH_RUN = ("run", "data_dir", "dataset", "models", "out_dir", "name", "fresh", "compile_cache")
JUDGING, DRAWING = "comparing members", "drawing figures"
FIGURE_SECONDS = 1.1  # as measured on two cores; it decides nothing


@dataclass(frozen=True)
class Experiment:
    """An experiment on populations, as a value; called with its Config it does all of it.

    Attributes:
      name: of the folder of its runs.
      config: class of the settings.
      analyse: (label -> population, settings) -> the results; deterministic.
      figures: file name -> the function of the labelled data that draws it.
      table: (run) -> what is printed at the end.
      tasks: (settings, data set) -> what is trained.
      short_name, growable: see `_tasks.train`.
      train: settings -> the run, its members trained; None: as `_tasks` does.
      check: of `take`.
      following: experiments that take the members of this one's runs, to go on with.
      seconds: what `analyse` takes, as measured on two cores; they decide nothing.
    """

    name: str
    config: type
    analyse: "Callable[[Mapping[str, run.Population], Any], xr.Dataset]"
    figures: Mapping[str, Any]
    table: Callable[[run.Run], str]
    tasks: Callable[[Any, Dataset], list[run.Task]] = _tasks.tasks
    short_name: str = ""
    growable: bool = True
    train: Callable[[Any], run.Run] | None = None
    check: Callable[[Mapping[str, run.Population]], object] = lambda populations: None
    following: tuple[str, ...] = ()
    seconds: float = 2.0

    def main(self, argv: Sequence[str]) -> int:
        """Run on command-line arguments; return the exit status."""
        return _cli.run(argv, self.config, self)

    def __call__(self, config: Any) -> run.Run:
        """Do it, and print where everything is."""
        with expecting({JUDGING: self.seconds, DRAWING: FIGURE_SECONDS * len(self.figures)}):
            found = self._results(config)
            draw(found.data, found.path, self.figures)
        tell(self.table(found))
        print(f"results, weights and figures: {found.path}")
        for name in self.following:
            print(f"next: python -m experiments.{name} --run={found.path}")
        raise_if_all_diverged(found)
        return found

    def _results(self, config: Any) -> run.Run:
        """Train, or take, the members; analyse them."""
        if getattr(config, "run", None):
            found = take(config, self.name, self.check)
        elif self.train is not None:
            found = self.train(config)
        else:
            data = _tasks.read_data(config)
            interrupt.check()
            tasks, names = self.tasks(config, data), (self.short_name, self.growable)
            found = _tasks.train(config, self.name, data, tasks, *names)
        if found.folder is not None:
            with found.folder:
                interrupt.check()
                with Progress(JUDGING, 1, "results"):
                    found = found.finish(self.analyse(found.populations, config))
        return found


def draw(data: "xr.Dataset", folder: Path, figures: Mapping[str, Any]) -> None:
    """Draw every figure of a table into `folder/figures`, where it is not there yet.

    A figure that has nothing to show in this run is None, and left out. A file holds its title, its
    caption and the version that drew it as texts of the PNG, for whoever cannot see it, and to tell
    when it is out of date. Two processes that print
    the same finished run may draw at the same time.

    Args:
      data: what the figures read, of `results.nc`.
      folder: of the run.
      figures: name of the file, with '{model}' in it for one of each model -> function of `data`,
        or where it lies below `catdog_jax.figures`, like 'pairwise.disagreement': matplotlib is
        imported when there is something to draw, for a run should begin to train at once.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    said, stamp = "", f"{data.sizes.get('member', 1)} members"
    todo = {}
    for pattern, figure in figures.items():
        for label in data["model"].values.tolist() if "{model}" in pattern else [""]:
            path = place / f"{pattern.format(model=model_folder(label))}.png"
            if not (path.exists() and _stamp(path) == stamp):
                todo[path] = label, figure
    if not todo:
        return
    with Progress(DRAWING, len(todo), "figures") as progress:
        for index, (path, (label, figure)) in enumerate(todo.items()):
            progress.to(index, path.stem)
            if isinstance(figure, str):
                module, _, function = figure.rpartition(".")
                figure = getattr(importlib.import_module(f"catdog_jax.figures.{module}"), function)
            style = importlib.import_module("catdog_jax.figures.style")
            shown, lacking = style.drawable(data.sel(model=[label]) if label else data)
            if lacking and not said:
                said = f"figures write {lacking} as code points: their font has no such letters"
                print(said)
            drawn = figure(shown)
            if drawn is None:
                continue
            title, caption, _ = (" ".join(text.get_text().split()) for text in drawn.texts)
            texts = {"Title": title, "Description": caption, "Comment": stamp}
            texts["Software"] = f"catdog_jax {__version__}"
            with replacing(path) as file:
                drawn.savefig(file, format="png", dpi=150, metadata=texts)


def _stamp(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return str(image.info.get("Comment", ""))
    except OSError:  # damaged: it is drawn again
        return ""


def take(
    config: Any,
    experiment: str,
    check: Callable[[Mapping[str, run.Population]], object] = lambda populations: None,
) -> run.Run:
    """Take the members of --run.

    Args:
      config: the settings.
      experiment: name of the folder below `--out_dir`.
      check: see `run.take_run`.

    Raises:
      InputError: a flag that only training could follow.
    """
    refuse(config, TrainConfig.__dataclass_fields__.keys() - {*WITH_RUN}, "run")
    run.begin(compile_cache=config.compile_cache)
    config = dataclasses.replace(config, run=run_folder(config.run, config.out_dir))
    of_training = TrainConfig.__dataclass_fields__
    where = "/".join(Path(config.run).resolve().parts[-2:])
    typed = split_list("models", config.models) if config.models else ()
    return run.take_run(
        config.run,
        check=check,
        settings={k: v for k, v in deciding(config).items() if k not in of_training},
        models=typed,
        data_dir=config.data_dir,
        own=(config.dataset, *typed),
        **dataclasses.replace(config, run=f"runs/{where}").place(experiment),
    )


def refuse(config: Any, flags: Collection[str], source: str) -> None:
    """Refuse flags that only training could follow, where members are trained already.

    Args:
      config: the settings.
      flags: names.
      source: the flag that names the members.

    Raises:
      InputError: one of them is given.
    """
    for item in dataclasses.fields(config):
        if item.name in flags and getattr(config, item.name) != item.default:
            text = f"--{item.name} cannot follow --{source}: its members are trained already"
            raise InputError(text)


def run_folder(name: str, out_dir: str) -> str:
    """Give the folder that --run names; 'latest': the newest finished run with members in out_dir.

    Raises:
      InputError: there is none.
    """
    if name != "latest":
        return name
    found = Path(out_dir).expanduser().glob("*/*/results.nc")
    runs = [file for file in found if file.with_name("waves").is_dir()]
    if not runs:
        raise InputError(f"--run=latest: no finished run with members in {out_dir}")
    return str(max(runs, key=lambda file: file.stat().st_mtime).parent)


def raise_if_all_diverged(found: run.Run) -> None:
    """Raise where a model has no member left; call it last, when all is kept and shown.

    Raises:
      RuntimeError: every member of some model diverged.
    """
    if "diverged_step" not in found.data:
        return
    diverged = found.data["diverged_step"]
    for label in diverged[diverged.dims[0]].values:
        steps = diverged.sel({diverged.dims[0]: label}).values
        if (steps >= 0).all():
            raise RuntimeError(
                f"all {steps.size} members of {label} diverged (a loss that was not finite, first "
                f"at step {steps.min()}); lower --learning_rate; what there is: {found.path}"
            )
