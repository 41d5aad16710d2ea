"""A run read back: the labelled results, and every population that was trained."""

import functools
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from jaxtyping import Array

from catdog_jax.analysis.sketch import sketch
from catdog_jax.data import load_dataset
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import HYPERPARAMS
from catdog_jax.population import Members, Seeds, member_keys
from catdog_jax.population.devices import once_options
from catdog_jax.registry import is_code
from catdog_jax.run.progress import reading_progress
from catdog_jax.run.task import Task
from catdog_jax.store import RunFolder, StoreError, arrays, atomic, manifest
from catdog_jax.store.manifest import RESULTS, WAVES
from catdog_jax.train import TrainState, make_learner
from catdog_jax.types import Data, Dataset, InputError, Model, Params, Recipe

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class Population:
    """One model's trained members. Arrays are read from the run folder when first asked for.

    Attributes:
      label: what it is called in the results.
      entry: what the manifest records of it: see `describe`.
      read: () -> {'observed': …, 'params': …, 'steps': …} of the waves, members stacked along the
        first axis; asked often, so it remembers.
      load: () -> the data set that it learned from.
      task: what it was asked to do; None where only the run folder says it.
      own: dotted names of builders of one's own that may be imported.
    """

    label: str
    entry: Mapping[str, Any]
    read: Callable[[], dict[str, Any]]
    load: Callable[[], Dataset]
    task: Task | None = None
    own: Collection[str] = ()

    @functools.cached_property
    def model(self) -> Model:
        """The formula, in its usual form.

        Raises:
          InputError: a formula of one's own that has no name to find it by.
        """
        if self.task is not None:
            return self.task.formula
        name, inputs = self.entry["entry"], self.entry["inputs"]
        _check_may_start(name, self.own, f"model {self.label!r}", "models")
        shape, num_classes = tuple(inputs["shape"]), len(inputs["class_names"])
        constants = {key: inputs[key] for key in ("mean", "std") if key in inputs}
        if "vocabulary" in inputs:
            constants["vocabulary"] = len(inputs["vocabulary"])
        return build_model(name, shape, num_classes, **constants)

    @property
    def data(self) -> Dataset:
        """The data set that it learned from and is judged on."""
        return self.load()

    @property
    def recipe(self) -> Recipe:
        """Its training settings."""
        return Recipe(**self.entry["recipe"])

    @functools.cached_property
    def params(self) -> Params:
        """Final params of all members, [M, ...], in the structure that the formula takes."""
        like = jax.eval_shape(self.model.init, jax.random.key(0))
        return arrays.restructured(self.read()["params"], like, f"the params of {self.label!r}")

    @property
    def arrays(self) -> Mapping[str, Any]:
        """What was observed: name -> [M, ...], see `Wave.history`, and 'test_logits' at the end."""
        return self.read()["observed"]

    @property
    def steps(self) -> np.ndarray:
        """Steps done at each evaluation, [E] int32."""
        return self.read()["steps"]

    @property
    def diverged_step(self) -> np.ndarray:
        """The step whose loss or gradient was not finite, [M] int32; -1 = never."""
        return self.arrays["diverged_step"]

    @property
    def num_members(self) -> int:
        """M."""
        return len(self.diverged_step)

    @property
    def num_params(self) -> int:
        """Weights of one member."""
        return sum(x.size for x in jax.tree.leaves(self.params)) // self.num_members

    @property
    def alive(self) -> np.ndarray:
        """Members that did not diverge, [M] bool."""
        return self.diverged_step < 0

    @property
    def logits(self) -> np.ndarray:
        """Of the test examples at every evaluation, [E, M, N, K] float16.

        Raises:
          InputError: the run kept the final ones only.
        """
        if "logits" not in self.arrays:
            raise InputError(
                f"the run kept the last logits of {self.label} only; train it with --keep=logits"
            )
        return np.moveaxis(self.arrays["logits"], 1, 0)

    def evaluate(self, inputs: np.ndarray, params: Params | None = None) -> np.ndarray:
        """Give what members say of examples that they were not judged on in training.

        Args:
          inputs: examples, N >= 1.
          params: [M, ...]; None: the final ones of all members.

        Returns:
          Logits [M, N, K] float32.
        """
        precision = self.entry["precision"]
        learner = make_learner(self.model, optax.identity(), batch_size=1, precision=precision)
        data = Data(inputs, np.zeros(len(inputs), np.int32))
        params = self.params if params is None else params

        @functools.partial(jax.jit, compiler_options=once_options())
        def judge(params: Params, data: Data) -> Array:
            return jax.lax.map(lambda one: learner.evaluate(one, data).logits, params)

        return np.asarray(judge(params, data))

    def at(self, step: int) -> Params:
        """Params of all members at a step that was named to be kept, [M, ...].

        Raises:
          InputError: it was not.
        """
        kept = self.arrays.get("params", {})
        if str(step) not in kept:
            known = ", ".join(kept) or "none"
            raise InputError(f"{self.label}: no params of step {step} were kept, but of: {known}")
        return arrays.restructured(kept[str(step)], self.params, f"the params of {self.label!r}")

    def member(self, index: int) -> Params:
        """Final params of one member."""
        return jax.tree.map(operator.itemgetter(index), self.params)

    def state(self, members: np.ndarray) -> TrainState:
        """What some members of a task with `until` had reached there, to go on from; [m, ...]."""
        assert self.task is not None
        like = jax.eval_shape(self.task.optimizer.init, self.task.param_shapes)
        moments = arrays.restructured(self.arrays["opt_state"], like, f"opt_state of {self.label}")
        every = self.params, moments, self.diverged_step
        return TrainState(self.steps[-1], *jax.tree.map(lambda x: x[members], every))

    def moment(self, index: int, when: int) -> Params:
        """Params of one member before (0) or after training (1)."""
        return self.member(index) if when else self.start(index)

    def start(self, index: int) -> Params:
        """Params that a member began with; see `starts`."""
        return jax.tree.map(operator.itemgetter(0), self.starts([index]))

    def starts(self, members: Sequence[int]) -> Params:
        """Params that some members began with, [m, ...]: kept ones of step 0, or drawn again.

        Raises:
          RuntimeError: they are not those of the run, going by its sketch of them.
        """
        rows = np.asarray(members)
        begin = None if self.task is None else self.task.start
        if "0" in self.arrays.get("params", {}):
            begin = self.at(0)
        if begin is not None and not callable(begin):
            return jax.tree.map(lambda x: np.take(x, rows, axis=0, mode="clip"), begin)
        streams, settings = (
            {name: np.asarray(x)[rows] for name, x in self.entry[kind].items()}
            for kind in ("streams", "settings")
        )
        keys = member_keys(Seeds(*self.entry["seeds"]), Members(len(rows), streams, settings))
        own = {name: x for name, x in keys.settings.items() if name not in HYPERPARAMS}
        keys = keys._replace(settings=own)
        learner = make_learner(self.model, optax.identity(), batch_size=1, start=begin)

        def one(row: Array) -> tuple[Params, Array]:
            params = learner.init(jax.tree.map(lambda x: x[row] if x.ndim else x, keys)).params
            return params, sketch(params)

        places = np.arange(len(rows))
        draw = jax.jit(lambda rows: jax.lax.map(one, rows), compiler_options=once_options())
        params, drawn = jax.device_get(draw(places))
        kept = self.arrays["observed"][rows, 0]
        close = {"rtol": 1e-4, "atol": 1e-4 * np.nanmax(np.abs(kept), initial=0.0)}
        far = ~np.isclose(drawn, kept, **close, equal_nan=True).all(axis=-1)
        if far.any():
            raise RuntimeError(
                f"the starting weights of member {rows[far][0]} of {self.label} are not drawn here "
                "as they were in the run; use the versions of the libraries that its manifest.json "
                "names, or train it with --keep_params=0"
            )
        return params


def describe(task: Task, folder: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what a manifest records of a population: enough to build its formula again.

    Args:
      task: what it is asked to do.
      folder: what it is called in the run folder.
      inputs: what its formula takes.
    """
    return {
        "model": task.label,
        "entry": task.model if isinstance(task.model, str) else "",
        "part": folder,
        "inputs": inputs,
        "recipe": task.recipe._asdict(),
        "seeds": task.seeds,
        "num_members": task.members.count,
        "streams": task.members.streams,
        "settings": task.members.settings,
        "precision": task.execution.precision,
        "tags": task.tags,
    }


def settings_of(tasks: Sequence[Task]) -> dict[str, Any]:
    """Collect all that decides the numbers of tasks that a person's own program made."""
    found: dict[str, Any] = {"num_members": max((t.members.count for t in tasks), default=0)}
    for task in tasks:
        parts = describe(task, "", {})
        parts["data fingerprint"] = str(task.data.provenance.get("fingerprint", ""))
        parts["streams"] = {
            name: "counts" if list(x) == list(range(len(x))) else x
            for name, x in task.members.streams.items()
        }
        found |= {f"{key} of {task.label}": value for key, value in parts.items()}
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """A run whose members are trained.

    Attributes:
      path: the run folder.
      manifest: what `manifest.json` holds.
      populations: label -> its members, in the order of the tasks.
      data: the results, an xarray.Dataset; None until `finish` has written them.
      folder: the run folder, held until then.
    """

    path: Path
    manifest: Mapping[str, Any]
    populations: Mapping[str, Population]
    data: Any = None
    folder: RunFolder | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        """Label -> nested dicts of the final params of all members, as they lie in the folder."""
        return {label: found.read()["params"] for label, found in self.populations.items()}

    def finish(self, data: "xr.Dataset") -> "Run":
        """Write the results, last of all, and let others use the run.

        Args:
          data: the results; no clock, so that a resumed run has the same bytes.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        assert self.folder is not None
        with self.folder:
            found = self.manifest
            attributes = {"run": found["run"]["run"]} if "run" in found else {}
            attributes["command"] = found["command"]
            attributes["kind"] = found["inputs"].get("kind", "numbers")
            self.folder.write_results(data.assign_attrs(attributes))
        return open_run(self.path)


def open_run(
    path: str | os.PathLike[str], *, data_dir: str | None = None, own: Collection[str] = ()
) -> Run:
    """Open a finished run.

    Args:
      path: the run folder, or the `results.nc` in it.
      data_dir: where its data set lies now, if it was moved; it is read when asked for.
      own: dotted names of loaders and builders of one's own that may be imported: a run folder
        alone starts no code.

    Raises:
      InputError: there is no run, it is not finished, or its manifest or results are damaged.
    """
    folder = Path(path).expanduser()
    folder = folder.parent if folder.is_file() else folder
    found = manifest.read(folder)
    if found is None:
        raise InputError(
            f"no run at {str(path)!r}: there is no {manifest.FILE}; give the folder that a "
            "finished command printed"
        )
    record = manifest.intact_record(folder, found)
    if record is None:
        raise InputError(f"{folder / RESULTS} is missing or damaged; rerun the run's command")
    import xarray as xr  # takes most of a second to import

    data = xr.load_dataset(folder / RESULTS, engine="h5netcdf")
    load = functools.cache(functools.partial(_load, found, data_dir, own))
    populations = {}
    for entry in found.get("parts", ()):
        most = record["recipe"].get("num_members"), entry.get("num_members")
        count = min((number for number in most if number is not None), default=None)
        read = functools.cache(functools.partial(_read, folder, entry["part"], record, count))
        populations[entry["model"]] = Population(entry["model"], entry, read, load, own=own)
    return Run(folder, found, populations, data)


def _check_may_start(name: str, own: Collection[str], what: str, flag: str) -> None:
    if not name or (is_code(name) and name not in own):
        raise InputError(
            f"{what} of the run is code of your own, which a run folder does not start; type it "
            f"again in --{flag}"
        )


def _load(found: Mapping[str, Any], data_dir: str | None, own: Collection[str]) -> Dataset:
    """Load the data set of a run again, and compare it."""
    source = found.get("source", {})
    name = source.get("dataset", "")
    _check_may_start(name, own, f"data set {name!r}", "dataset")
    dataset = load_dataset(
        name,
        data_dir=data_dir or source["data_dir"],
        classes=tuple(source["classes"]),
        image_size=source["image_size"],
        progress=reading_progress(),
    )
    was, now = (str(x["fingerprint"]) for x in (found["data"], dataset.provenance))
    if was != now:
        raise InputError(
            f"the data set {name} is not that of the run (its fingerprint is {now}, not {was}); "
            "give the --data_dir where the run's data lie"
        )
    return dataset


def _read(
    folder: Path, part: str, record: Mapping[str, Any], num_members: int | None
) -> dict[str, Any]:
    """Read the waves of a part, and leave out members that are not of the results."""
    waves = []
    for file, digest in record["files"].items():
        if not file.startswith(f"{WAVES}/{manifest.model_folder(part)}/"):
            continue
        if atomic.digest(folder / file) != digest:
            raise StoreError(
                f"{folder / file} is missing or damaged; remove {RESULTS} and rerun the command of "
                "this run to train that wave anew"
            )
        waves.append(arrays.read(folder / file))
    return stack(waves, num_members)


def stack(waves: list[dict[str, Any]], num_members: int | None) -> dict[str, Any]:
    """Join waves over their members.

    Args:
      waves: 'observed' and 'params' of each, at least one.
      num_members: that were asked for; those beyond fill the last wave only.
    """
    steps, *_ = [wave["observed"].pop("steps") for wave in waves]
    joined = jax.tree.map(lambda *x: np.concatenate(x)[:num_members], *waves)
    return {**joined, "steps": steps}
