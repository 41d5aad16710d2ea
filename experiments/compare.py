"""Is recipe B better than recipe A, or is it luck? As many seeds of each as it takes to tell.

Members of both recipes are trained side by side in one command, each from seeds of its own, and
judged on the same test examples. The difference of their mean accuracies comes with an interval
over other members and other test examples. `--gate` asks a program's question: is B better than A
by more than --delta on this test set? It trains --num_members of each, then as many again, until
a rule that may look as often as it likes has decided.

  python -m experiments.compare
  python -m experiments.compare --recipe_b="--optimizer=lion --batch_size=64"
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
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr

from catdog_jax import run
from catdog_jax.analysis.comparison import SCALARS, comparison_results, right_answers
from catdog_jax.analysis.gate import judge
from catdog_jax.analysis.labelled import described
from catdog_jax.population import distributed
from catdog_jax.population.members import STREAMS, Seeds
from catdog_jax.registry import Range, unknown
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset, InputError, Recipe
from experiments import _cli, _tasks
from experiments._experiment import WITH_RUN, Experiment, refuse, run_folder
from experiments._results import number
from experiments._tasks import TrainConfig

TRAINING = TrainConfig.__dataclass_fields__.keys()
OWN = ("models", "precision", *Recipe._fields)  # flags that one recipe may have
RUNS, FILES = ("run_a", "run_b"), ("logits_a", "logits_b", "labels")
CANNOT_FOLLOW = {
    RUNS: {"gate", *TRAINING} - {*WITH_RUN},
    FILES: {"gate", "recipe_a", "recipe_b", *TRAINING} - {"out_dir", "name", "fresh"},
}
VERDICTS = {
    "better": (0, "B is"),
    "not_better": (10, "B is not"),
    "undecided": (11, "it is undecided whether B is"),
}
TESTS = {"p_welch": "Welch's t-test", "p_permutation": "a permutation test"}
MODEL, CHANGE = "cnn:widths=8-16-32:head=flatten", "--augment=flip"  # of B, where nothing is said


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
        given = tuple(x for x in ("run", *RUNS, *FILES) if getattr(self, x) is not None)
        if given not in ((), RUNS, FILES):
            raise InputError(
                f"--{' and --'.join(given)} will not do; give --run_a and --run_b, or --logits_a, "
                "--logits_b and --labels, or none of them"
            )
        if given:
            refuse(self, CANNOT_FOLLOW[given], given[0])

    @property
    def trains(self) -> bool:
        """Whether members are trained, and not taken."""
        return self.run_a is None and self.labels is None

    def text(self, side: str) -> str:
        """Give the flags of recipe 'a' or 'b' alone."""
        typed = getattr(self, f"recipe_{side}")
        return typed or (CHANGE if typed is None and side == "b" and self.trains else "")

    def recipe(self, side: str) -> "Config":
        """Give the settings of recipe 'a' or 'b'.

        Raises:
          InputError: no list of flags, a flag that both share, or not one model.
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

    @property
    def looks(self) -> list[int]:
        """Members of each recipe at every look of a gate."""
        most = self.max_members
        return [*range(self.num_members, most, self.num_members), most]


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


def take(config: Config) -> list[Population]:
    """Take the members of --run_a and --run_b.

    Raises:
      InputError: no finished run, no such model in it, or runs that cannot be compared.
    """
    found = []
    for side in "ab":
        models, path = config.recipe(side).models, str(getattr(config, f"run_{side}"))
        own, path = (config.dataset, models), run_folder(path, config.out_dir)
        known = run.open_run(path, data_dir=config.data_dir, own=own).populations
        models = models or (next(iter(known)) if len(known) == 1 else "")
        if models not in known:
            advice = f"name one by --recipe_{side}=--models=NAME"
            raise unknown(f"model of --run_{side}", models, known, advice)
        found.append(known[models])
    a, b = found
    if a.data.provenance["fingerprint"] != b.data.provenance["fingerprint"]:
        raise InputError("--run_a and --run_b are of different data; give two of the same")
    if config.paired and [a.entry[k] != b.entry[k] for k in ("seeds", "streams")] != [False] * 2:
        raise InputError("--paired: the two runs have different seeds; leave it out")
    return found


def read_files(config: Config) -> list[np.ndarray]:
    """Read --logits_a, --logits_b and --labels.

    Raises:
      InputError: files that are no such arrays, or do not fit together.
    """
    found: list[np.ndarray] = []
    for flag in FILES:
        path = str(getattr(config, flag))
        try:
            found.append(np.load(Path(path).expanduser(), mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"--{flag}={path}: {error}; give a .npy file") from None
    a, b, labels = found
    fit = a.ndim == b.ndim == 3 and labels.shape == a.shape[1:2] and a.shape[1:] == b.shape[1:]
    fit = fit and "".join(x.dtype.kind for x in found) in ("ffi", "ffu") and labels.size > 1
    if fit and (labels.min() < 0 or labels.max() >= a.shape[2]):
        held = f"{labels.min()} to {labels.max()}, and the logits have {a.shape[2]} classes"
        raise InputError(f"--labels={config.labels} holds {held}; give 0 to {a.shape[2] - 1}")
    if not fit:
        are = (f"--{flag} is {x.dtype} {[*x.shape]}" for flag, x in zip(FILES, found, strict=True))
        raise InputError(f"{', '.join(are)}; give float [M, N, K] twice, N ≥ 2, and int [N]")
    return found


def judged(populations: Sequence[Population], config: Config) -> list[np.ndarray]:
    """Judge the members of A and of B: trained here, of two runs, or whose logits are in files.

    Returns:
      [M, N] of each, see `right_answers`.

    Raises:
      InputError: see `read_files`; too few members, or not as many of both with --paired.
    """
    both = [(p.arrays["test_logits"], p.data.test.labels, p.alive) for p in populations]
    if config.labels is not None:
        *logits, labels = read_files(config)
        both = [(x, labels, np.ones(len(x), bool)) for x in logits]
    found = [right_answers(*one) for one in both]
    few = min(int((right[:, 0] >= 0).sum()) for right in found)
    if few < 2 and not config.trains:
        raise InputError(f"a recipe has {few} member(s) with finite logits; give 2 at least")
    if config.paired and len(found[0]) != len(found[1]):
        raise InputError("--paired needs as many members of A as of B; leave it out")
    return found


def train(config: Config) -> Run:
    """Train the members, or take them where they are; a gate trains until it has decided."""
    if not config.trains:
        taken = take(config) if config.labels is None else []
        answers = b"".join(right.tobytes() for right in judged(taken, config))
        run.begin(compile_cache=config.compile_cache)
        own = {k: x for k, x in _cli.deciding(config).items() if k not in TRAINING}
        own["answers"] = hashlib.sha256(answers).hexdigest()
        name, place = "runs" if taken else "logits", config.place("compare")
        found = run.train_run([], settings=own, short_name=name, growable=False, **place)
        return dataclasses.replace(found, populations=dict(zip("AB", taken, strict=False)))
    data = _tasks.read_data(config)
    if config.gate and distributed.current().count > 1:
        raise InputError("--gate trains in one process, on all its devices; start one")
    looks = config.looks if config.gate else [config.num_members]
    for members in looks:
        now = dataclasses.replace(config, num_members=members)
        asked = tasks(now, data)
        decided = now.decided(data, asked) | {"looks": config.gate and config.num_members}
        del decided["max_members"]  # with more of them an undecided run goes on
        said = contextlib.redirect_stdout(sys.stdout if members == looks[0] else None)
        with said:
            found = _tasks.train(now, "compare", data, asked, "compare", decided=decided)
        config = dataclasses.replace(config, name=found.path.name, fresh=False)
        if config.gate:
            a, b = judged([*found.populations.values()], config)
            verdict, _ = judge(a, b, config.delta, looks)
            if found.folder is not None:
                print(f"{members} of each: B − A is {between(*verdict[:3])}", flush=True)
            if verdict.text != "undecided" or min(a[:, 0].max(), b[:, 0].max()) < 0:
                break
            if found.folder is not None and members < looks[-1]:
                found.folder.close()
    return found


def between(*numbers: Any) -> str:
    """Write a difference and its interval, fractions."""
    value, low, high = (f"{100 * float(x):+.2f}" for x in numbers)
    return f"{value} percentage points (95 % interval {low} to {high})"


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Compare the members that did not diverge; see `comparison_results`.

    Variables:
      recipe: what A and B are
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
    """
    both, told = [*populations.values()], []
    for index, side in enumerate("ab"):
        words = [getattr(config, f"{source}_{side}") for source in ("logits", "run")]
        words += [one.entry["entry"] for one in both[index : index + 1]]
        told.append(" ".join(filter(None, [*words, config.text(side) if config.trains else ""])))
    a, b = judged(both, config)
    seen = config.looks if config.gate else ()
    data = comparison_results(a, b, config.delta, paired=config.paired, looks=seen)
    data["recipe"] = "model", np.array(told, object)
    if config.trains:
        steps = np.stack([one.diverged_step for one in both])
        data["diverged_step"] = ("model", "member"), steps
    name = both[0].data.name if both else Path(str(config.labels)).name
    return described(data.assign_attrs(dataset=name, found=sentence(data)), analyse)


def sentence(data: xr.Dataset) -> str:
    """Say what was found."""
    value, low, high = (float(data[name]) for name in SCALARS[:3])
    if np.isnan(value):
        return "too few members are left to compare"
    if "verdict" in data.attrs:
        delta = f"{100 * data.attrs['delta']:g} percentage points on this test set"
        text = f"{VERDICTS[data.attrs['verdict']][1]} better than A by more than {delta}"
    elif low > 0 or high < 0:
        text = f"B is {'better' if low > 0 else 'worse'} than A"
    else:
        text = "the difference of A and B may be luck"
    return f"{text}: B − A is {between(value, low, high)}"


FIGURES = {"comparison": "compare.comparison", "gate": "compare.gate"}


def table(run: Run) -> str:
    """Write how both recipes did, the tests, and the answer."""
    data, head = run.data, ["", "members", "left out", "accuracy", "± members", "middle half"]
    rows, notes = [[*head, "lowest", "highest"]], []
    value = {name: float(data[name]) for name in SCALARS}
    for name in "AB":
        one = data.sel(model=name)
        kept, count = one["test_accuracy"], int(one["num_members"])
        cells = (kept.mean(), kept.std(ddof=1), one["interquartile_mean"], kept.min(), kept.max())
        left_out = count - int(kept.count())
        rows.append([name, str(count), str(left_out), *(number(float(x), 4) for x in cells)])
        notes.append(f"{name}: {one['recipe'].item()}")
    tests = [f"p = {value[name]:.2g} by {what}" for name, what in TESTS.items() if value[name] >= 0]
    beats = number(value["probability_of_improvement"], 2)
    tests.append(f"a member of B beats one of A with probability {beats}")
    notes.append(f"on this test set: {', '.join(tests)}")
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
    said = {
        "verdict": data.attrs["verdict"],
        **{name: float(data[name]) for name in SCALARS[:3]},
        **{name: int(data.attrs[name]) for name in ("members", "wave")},
        "judged_on": f"{data.sizes['example']} test examples of {data.attrs['dataset']}",
        "command": data.attrs["command"],
    }
    print(json.dumps(said))
    return VERDICTS[said["verdict"]][0]


if __name__ == "__main__":
    _cli.command(main)
