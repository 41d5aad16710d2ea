"""Is recipe B better than recipe A, or is it luck? As many seeds of each as it takes to tell.

Members of both recipes are trained side by side in one command, each from seeds of its own, and
judged on the same test examples. The difference of their mean accuracies comes with an interval
over other members and other test examples. `--gate` asks a program's question: is B better than A
by more than --delta on this test set? It trains --num_members of each, then as many again, until
a rule that may look as often as it likes has decided.

  python -m experiments.compare
  python -m experiments.compare --recipe_b="--optimizer=lion --learning_rate=0.001"
  python -m experiments.compare --run_a=PATH --run_b=PATH
  python -m experiments.compare --logits_a=a.npy --logits_b=b.npy --labels=y.npy
  python -m experiments.compare --gate --delta=0.002 --max_members=64

The first takes about two minutes on two cores. Logits are those of any framework: float [M, N, K]
of M members on N test examples, and labels int [N]. A gate's last line on standard output is one
JSON object, and its exit status 0: B is better by more than delta; 10: it is not; 11: undecided.
Rerun the same command to resume a run; where it is done, it only prints.
"""

import contextlib
import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr

from catdog_jax import run
from catdog_jax.analysis import gate
from catdog_jax.analysis.comparison import SCALARS, comparison_results, right_answers
from catdog_jax.analysis.labelled import described
from catdog_jax.population import distributed
from catdog_jax.population.members import STREAMS, Seeds
from catdog_jax.registry import Range
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset, InputError, Recipe
from experiments import _cli, _tasks
from experiments._cli import deciding
from experiments._experiment import WITH_RUN, Experiment, refuse, run_folder
from experiments._results import number
from experiments._tasks import TrainConfig

TRAINING = TrainConfig.__dataclass_fields__.keys()
OWN = ("models", "precision", *Recipe._fields)  # flags that one recipe may have
RUNS, FILES = ("run_a", "run_b"), ("logits_a", "logits_b", "labels")
STATUS = {"better": 0, "not_better": 10, "undecided": 11}
MODEL = "cnn:widths=8-16-32:head=flatten"
TESTS = {"p_welch": "Welch's t-test", "p_permutation": "a permutation test"}
BETTER = "--augment=flip"  # what B does where nothing is said


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of compare.

    Attributes:
      models: the model of both recipes; empty: a small CNN
      num_members: of each recipe; with --gate, at the first look, and as many more at every other
      vary: what differs between members, and so between A and B
      run: none can be given: see --run_a
      recipe_a: training flags of A alone, in quotes: "--optimizer=adam --augment=flip"
      recipe_b: training flags of B alone; unset: --augment=flip
      run_a: folder of a finished run whose members are A's; of several models,
        --recipe_a=--models=NAME names one
      run_b: folder of a finished run whose members are B's; it may be the same one
      logits_a: file of A's logits on the test examples, .npy, float [M, N, K]
      logits_b: file of B's
      labels: file of the right classes, .npy, whole numbers [N]
      paired: give member i of B the seeds of member i of A, and correlate their accuracies
      gate: train until it is decided whether B is better than A by more than --delta
      delta: the difference that matters, as a fraction: 0.002 is 0.2 percentage points
      max_members: of each recipe, where a gate gives up
    """

    num_members: Annotated[int, Range(2)] = 16
    vary: str = "init,order,augment"
    recipe_a: str | None = None
    recipe_b: str | None = None
    run_a: str | None = None
    run_b: str | None = None
    logits_a: str | None = None
    logits_b: str | None = None
    labels: str | None = None
    paired: bool = False
    gate: bool = False
    delta: Annotated[float, Range(0, 1)] = 0.002
    max_members: Annotated[int, Range(2)] = 64

    def __post_init__(self) -> None:
        """Raise InputError for flags that exclude one another."""
        super().__post_init__()
        given = tuple(name for name in (*RUNS, *FILES) if getattr(self, name) is not None)
        if self.run is not None:
            raise InputError(f"--run={self.run}: two are compared; give --run_a and --run_b")
        if given not in ((), RUNS, FILES):
            raise InputError(
                f"--{' and --'.join(given)} will not do; give --run_a and --run_b, or --logits_a, "
                "--logits_b and --labels, or none of them"
            )
        if given:
            kept = WITH_RUN if given == RUNS else ("out_dir", "name", "fresh", "compile_cache")
            others = ("gate", *(("recipe_a", "recipe_b") if given == FILES else ()))
            refuse(self, (*(TRAINING - {*kept}), *others), given[0])
        if self.gate and self.max_members < self.num_members:
            raise InputError(
                f"--max_members={self.max_members} is less than the {self.num_members} of the "
                "first look, --num_members; give more"
            )

    @property
    def trains(self) -> bool:
        """Whether members are trained, and not taken."""
        return self.run_a is None and self.labels is None

    def text(self, side: str) -> str:
        """Give the flags of recipe 'a' or 'b' alone."""
        typed = getattr(self, f"recipe_{side}")
        return (BETTER if side == "b" and self.trains else "") if typed is None else typed

    def recipe(self, side: str) -> "Config":
        """Give the settings of recipe 'a' or 'b'.

        Raises:
          InputError: no list of flags, or a flag that both share.
        """
        text, own = self.text(side), OWN if self.trains else ("models",)
        try:
            given = _cli.given_flags(shlex.split(text), Config)
        except (ValueError, InputError) as error:
            raise InputError(f"--recipe_{side}={text}: {error}") from None
        if shared := sorted(given.keys() - {*own}):
            raise InputError(
                f"--recipe_{side}={text}: --{shared[0]} cannot be of one alone; what can: "
                f"{', '.join(own)}"
            )
        found = dataclasses.replace(self, **given)
        if "," in found.models:
            raise InputError(f"--models={found.models}: a recipe has one model; give one")
        return found

    def check(self) -> None:
        """Raise for what is wrong in either recipe; see `TrainConfig.check`."""
        for side in "ab":
            TrainConfig.check(self.recipe(side))

    def told(self, side: str) -> str:
        """Say what A or B is."""
        if self.labels is not None:
            return str(getattr(self, f"logits_{side}"))
        words = [w for w in shlex.split(self.text(side)) if not w.startswith("--models")]
        own = self.recipe(side).models or (MODEL if self.trains else "")
        return " ".join([*filter(None, [getattr(self, f"run_{side}"), own]), *words])


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the tasks A and B.

    Streams that differ between members have other keys in B, those of the next seed, so that a
    recipe against itself is a fair null; what all members of A share, those of B share too.
    """
    (a,), (b,) = (_tasks.tasks(config.recipe(side), data, models=MODEL) for side in "ab")
    seeds = b.seeds
    if not config.paired:
        each = zip(STREAMS, seeds, strict=True)
        seeds = Seeds(*((seed + (name in b.members.streams)) % 2**32 for name, seed in each))
    return [dataclasses.replace(a, label="A"), dataclasses.replace(b, label="B", seeds=seeds)]


def take(config: Config) -> dict[str, Population]:
    """Take the members of --run_a and --run_b.

    Raises:
      InputError: no finished run, no such model in it, or runs that cannot be compared.
    """
    found, data = {}, set()
    for side in "ab":
        models = config.recipe(side).models
        path = run_folder(str(getattr(config, f"run_{side}")), config.out_dir)
        opened = run.open_run(path, data_dir=config.data_dir, own=(config.dataset, models))
        known = [*opened.populations]
        if models not in known and (models or len(known) != 1):
            raise InputError(
                f"--run_{side}={path} has the models {', '.join(known) or '(none)'}; name one by "
                f"--recipe_{side}=--models=NAME"
            )
        found[side.upper()] = opened.populations[models or known[0]]
        data.add(opened.manifest["data"]["fingerprint"])
    if len(data) > 1:
        raise InputError("--run_a and --run_b are of different data; give two of the same")
    seeds = [(one.entry["seeds"], one.entry["streams"]) for one in found.values()]
    if config.paired and seeds[0] != seeds[1]:
        raise InputError("--paired: the two runs have different seeds; leave it out")
    return found


def read_files(config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read --logits_a, --logits_b and --labels.

    Raises:
      InputError: files that are no such arrays, or do not fit together.
    """
    found = []
    for flag in FILES:
        path = str(getattr(config, flag))
        try:
            found.append(np.load(Path(path).expanduser(), mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"--{flag}={path}: {error}; give a .npy file") from None
    a, b, labels = found
    fit = a.ndim == b.ndim == 3 and labels.shape == a.shape[1:2] and a.shape[1:] == b.shape[1:]
    if not fit or "".join(x.dtype.kind for x in found) not in ("ffi", "ffu"):
        are = (f"--{flag} {x.dtype} {[*x.shape]}" for flag, x in zip(FILES, found, strict=True))
        raise InputError(f"{', '.join(are)} do not fit; give float [M, N, K] twice, and int [N]")
    if labels.size < 2 or not np.isin(labels, np.arange(a.shape[2])).all():
        raise InputError(
            f"--labels={config.labels}: give at least 2, each a class of the logits, 0 to "
            f"{a.shape[2] - 1}"
        )
    return a, b, labels


def judged(populations: Mapping[str, Population], config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Judge the members of A and of B: trained here, of two runs, or whose logits are in files.

    Returns:
      [M, N] of each, see `right_answers`.

    Raises:
      InputError: see `read_files`; too few members, or not as many of both with --paired.
    """
    if config.labels is None:
        a, b = (
            right_answers(one.arrays["test_logits"], one.data.test.labels, one.alive)
            for one in populations.values()
        )
    else:
        *both, labels = read_files(config)
        a, b = (right_answers(x, labels, np.ones(len(x), bool)) for x in both)
    few = min((a[:, 0] >= 0).sum(), (b[:, 0] >= 0).sum())
    if few < 2 and not config.trains:
        raise InputError(f"a recipe has {few} member(s) with finite logits; give 2 at least")
    if config.paired and len(a) != len(b):
        raise InputError("--paired needs as many members of A as of B; leave it out")
    return a, b


def looks(config: Config) -> list[int]:
    """List the members of each recipe at every look of a gate."""
    return [*range(config.num_members, config.max_members, config.num_members), config.max_members]


def train(config: Config) -> Run:
    """Train the members, or take them where they are; a gate trains until it has decided."""
    if not config.trains:
        populations = take(config) if config.labels is None else {}
        answers = b"".join(right.tobytes() for right in judged(populations, config))
        run.begin(compile_cache=config.compile_cache)
        own = {k: x for k, x in deciding(config).items() if k not in TRAINING}
        found = run.train_run(
            [],
            settings={**own, "answers": hashlib.sha256(answers).hexdigest()},
            short_name="runs" if populations else "logits",
            growable=False,
            **config.place("compare"),
        )
        return dataclasses.replace(found, populations=populations)
    data = _tasks.read_data(config)
    if config.gate and distributed.current().count > 1:
        raise InputError("--gate trains in one process, on all its devices; start one")
    for members in looks(config) if config.gate else [config.num_members]:
        now = dataclasses.replace(config, num_members=members)
        asked = tasks(now, data)
        decided = now.decided(data, asked) | {"look": config.gate and config.num_members}
        del decided["max_members"]  # with more of them an undecided run goes on
        first = not config.gate or members == config.num_members
        with contextlib.nullcontext() if first else contextlib.redirect_stdout(None):
            found = _tasks.train(config, "compare", data, asked, "compare", decided=decided)
        if config.gate:
            a, b = judged(found.populations, config)
            verdict, path = gate.judge(a, b, config.delta, looks(config))
            if found.folder is not None and verdict.at >= 0:
                ends = (path[name][1][verdict.at] for name in ("path", "path_low", "path_high"))
                print(f"{members} of each: B − A is {between(*ends)}", flush=True)
            if verdict.text != "undecided" or verdict.at < 0:
                break
            if found.folder is not None and members < config.max_members:
                found.folder.close()
    return found


def between(value: Any, low: Any, high: Any) -> str:
    """Write a difference and its interval."""
    ends = f"{100 * float(low):+.2f} to {100 * float(high):+.2f}"
    return f"{100 * float(value):+.2f} percentage points (95 % interval {ends})"


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Compare the members that did not diverge; see `comparison_results`.

    Variables:
      recipe: what A and B are
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
    """
    a, b = judged(populations, config)
    seen = looks(config) if config.gate else ()
    data = comparison_results(a, b, config.delta, paired=config.paired, looks=seen)
    data["recipe"] = "model", np.array([config.told(side) for side in "ab"], object)
    if config.trains:
        steps = [one.diverged_step for one in populations.values()]
        data["diverged_step"] = ("model", "member"), np.stack(steps)
    name = populations["A"].data.name if populations else Path(str(config.labels)).name
    return described(data.assign_attrs(dataset=name, found=sentence(data)), analyse)


def sentence(data: xr.Dataset) -> str:
    """Say what was found."""
    if data["difference"].isnull():
        return "too few members are left to compare"
    ends = [data[name] for name in ("difference", "low", "high")]
    if "verdict" in data.attrs:
        more = f"better than A by more than {100 * data.attrs['delta']:g} percentage points"
        words = {
            "better": f"B is {more}",
            "not_better": f"B is not {more}",
            "undecided": f"it is undecided whether B is {more}",
        }
        text = f"{words[data.attrs['verdict']]} on this test set"
    elif ends[1] > 0 or ends[2] < 0:
        text = f"B is {'better' if ends[1] > 0 else 'worse'} than A"
    else:
        text = "the difference of A and B may be luck"
    return f"{text}: B − A is {between(*ends)}"


FIGURES = {"comparison": "compare.comparison", "gate": "compare.gate"}


def table(run: Run) -> str:
    """Write how both recipes did, the tests, and the answer."""
    data = run.data
    rows = [["", "members", "diverged", "accuracy", "± members", "middle half", "range"]]
    notes = [f"{name}: {text}" for name, text in zip("AB", data["recipe"].values, strict=True)]
    for name in "AB":
        one = data.sel(model=name)
        kept, count = one["test_accuracy"].dropna("member").values, int(one["num_members"])
        lost, spread = count - len(kept), kept.std(ddof=1) if len(kept) > 1 else np.nan
        cells = (
            (kept.mean(), spread, float(one["interquartile_mean"])) if len(kept) else 3 * (np.nan,)
        )
        ends = "-".join(number(x, 4) for x in (kept.min(), kept.max())) if len(kept) else "–"
        rows.append([name, str(count), str(lost), *(number(x, 4) for x in cells), ends])
    value = {name: float(data[name]) for name in SCALARS}
    tests = [f"p = {value[name]:.2g} by {what}" for name, what in TESTS.items()]
    better = value["probability_of_improvement"]
    notes.append(
        f"on this test set: {', '.join(tests) + '; ' if np.isfinite(value['p_welch']) else ''}"
        f"a member of B beats one of A with probability {number(better, 2)}"
    )
    if value["seeds_needed"] > 0:
        notes.append(
            f"a true difference of {100 * data.attrs['delta']:g} percentage points takes "
            f"{value['seeds_needed']:,.0f} members of each to show (level 5 %, power 80 %)"
        )
    if abs(value["seed_correlation"]) <= 1:
        r, low, high = (number(value[name], 2) for name in SCALARS[-3:])
        notes.append(f"at equal seeds A and B correlate by {r} (95 % interval {low} to {high})")
    return "\n".join([*aligned(rows), *notes, f"Found: {data.attrs['found']}."])


EXPERIMENT = Experiment("compare", Config, analyse, FIGURES, table, train=train)


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status, of a gate its verdict's."""
    found: list[Run] = []
    status = _cli.run(argv, Config, lambda config: found.append(EXPERIMENT(config)))
    if not found or "verdict" not in (data := found[0].data).attrs:
        return status
    numbers = {name: float(data[name]) for name in ("difference", "low", "high")}
    said = {
        "verdict": data.attrs["verdict"],
        **{name: None if np.isnan(x) else x for name, x in numbers.items()},
        **{name: int(data.attrs[name]) for name in ("members", "wave")},
        "judged_on": f"{data.sizes['example']} test examples of {data.attrs['dataset']}",
        "command": data.attrs["command"],
    }
    print(json.dumps(said))
    return STATUS[data.attrs["verdict"]]


if __name__ == "__main__":
    _cli.command(main)
