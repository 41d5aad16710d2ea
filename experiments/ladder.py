"""If the formulas are mine, what does the machine learn? One ladder, from typed to learned.

Every rung is the same kind of thing: a formula `apply(params, images)` with numbers in it. What
differs is where the numbers came from: a person typed them in (programmed), they were computed from
the pictures in one step (estimated), or they were found by many small steps from a random start
(learned). The table says for each rung how many numbers there are, how often it is right, and what
it took to get them. Expected: a rule of a person's own is hardly better than a guess on
photographs; the average cat against the average dog is better; the same linear formula with
learned numbers better still; and only a formula that looks at small windows of the picture gets
most pictures right.

  python -m experiments.ladder
  python -m experiments.ladder --dataset=cifar10 --data_dir=DIR
  python -m experiments.ladder --write_program=program.py

The first takes about four minutes on two cores. The last also writes a learned rung (by default
the logistic regression) as a program with its numbers typed in, which needs numpy alone.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import xarray as xr

from catdog_jax.analysis.ladder import ORIGINS, compare
from catdog_jax.estimators.build import ESTIMATOR
from catdog_jax.models.build import MODEL
from catdog_jax.registry import Kind, Range, parse_entry, split_list
from catdog_jax.rules.build import RULE
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.progress import Progress, expecting
from catdog_jax.run.summary import aligned, tell
from catdog_jax.types import Dataset, InputError
from experiments import _cli, _tasks
from experiments._classifiers import can_be_asked, estimated, learned, programmed, scores
from experiments._cli import Operational
from experiments._experiment import draw, take
from experiments._program import check_writable, save_program
from experiments._results import number, shown_inputs
from experiments._tasks import TrainConfig

ESTIMATORS = "centroid,diagonal_centroid,lda,ridge,qda,knn:k=1,knn:k=15,knn:k=25,logistic"
POLYNOMIALS = "polynomial:degree=1,polynomial:degree=2,polynomial:degree=3"
DEEP = ",".join(f"mlp:depth={depth}" for depth in range(1, 6)) + ",cnn,resnet"
SMALL_DEEP = (
    ",".join(f"mlp:width=64:depth={depth}" for depth in range(1, 6))
    + ",cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
)
ESTIMATING, ASKING = "computing in one step", "asking every classifier"
RULES = ("constant", "template", "photo_rule", "drawn_rule", "generating_rule")  # on the ladder


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of ladder.

    Attributes:
      num_members: random starts of each learned rung
      models: rungs learned by gradient descent, a list as in init_convergence; none: none; empty:
        linear, polynomials of degree 1 to 3, MLPs of depth 1 to 5, cnn and resnet
      rules: programmed rungs, a list; none: none; empty: all that fit the data
      estimators: rungs computed in one step, a list; none: none
      components: principal components that polynomials read
      stretch: times the steps of each model's recipe; unset: 4 on the embedded pictures, 1 on
        others
      write_program: write a rung as a program that needs numpy alone, to this path
      program_model: the rung that --write_program writes: a linear one or an MLP
    """

    num_members: Annotated[int, Range(1)] = 8
    rules: str = ""
    estimators: str = ESTIMATORS
    components: Annotated[int, Range(1, 1000)] = 20
    stretch: Annotated[float | None, Range(above=0)] = None
    write_program: Operational[str] = ""
    program_model: Operational[str] = "logistic"

    @classmethod
    def epilogue(cls, *kinds: Kind) -> str:
        """Write what rules and estimators may be set to as well."""
        return super().epilogue(RULE, ESTIMATOR)


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make the tasks of the learned rungs; those that read vectors get principal components."""
    small = data.name == "procedural"
    stretch = config.stretch or (4.0 if small else 1.0)
    models = config.models or f"linear,{POLYNOMIALS},{SMALL_DEEP if small else DEEP}"
    vectors, found = None, []
    for entry in listed("models", models):
        own, read = dataclasses.replace(config, models=entry), data
        if MODEL.spec(entry).reads[0] == "vectors":
            read = vectors = vectors or scores(data, config.components)
            own = dataclasses.replace(own, augment="none")
        found += _tasks.tasks(own, read, stretch=stretch)
    return found


def listed(flag: str, text: str) -> tuple[str, ...]:
    """Split a flag's list of rungs; empty and none: no rung."""
    return () if text.strip() in ("", "none") else split_list(flag, text)


def fitting_rules(text: str, data: Dataset) -> list[str]:
    """List the rules of --rules, or of all, that can be asked of the pictures.

    Raises:
      InputError: one that was asked for cannot, or they are no pictures.
    """
    if data.kind != "images":
        raise InputError(f"the ladder is of pictures; the data set {data.name} has none")
    asked = listed("rules", text)
    found = asked or (() if text.strip() == "none" else tuple(RULE.table()))
    fit = [rule for rule in found if can_be_asked(rule, data)]
    if asked and (missing := [rule for rule in asked if rule not in fit]):
        raise InputError(
            f"--rules={text}: {missing[0]!r} needs the classes cat and dog, and "
            "generating_rule the drawn pictures; leave it out"
        )
    return sorted(fit, key=lambda rule: RULES.index(rule) if rule in RULES else len(RULES))


def data_of(populations: Mapping[str, Population]) -> Dataset:
    """Give the pictures of a run."""
    return next(iter(populations.values())).data


def analyse(run: Run, config: Config, data: Dataset) -> xr.Dataset:
    """Build every rung, ask it about every picture.

    Args:
      run: the members of the learned rungs; may be none.
      config: the settings.
      data: the pictures.

    Returns:
      As `compare`, and the pictures of a sheet.
    """
    rules = fitting_rules(config.rules, data)
    entries = listed("estimators", config.estimators)
    if not config.rules and (missing := [rule for rule in RULE.table() if rule not in rules]):
        print(f"left out, for they cannot be asked of {data.name}: {', '.join(missing)}")
    rungs = [programmed(entry, data) for entry in rules]
    with Progress(ESTIMATING, len(entries), "rungs") as progress:
        for index, entry in enumerate(entries):
            progress.to(index, entry)
            rungs.append(estimated(entry, data))
    for label, population in run.populations.items():
        seconds = run.manifest.get("timings", {}).get(label, {}).get("seconds", math.nan)
        rungs.append(learned(population, data, seconds))
    rungs.sort(key=lambda rung: ORIGINS.index(rung.origin))
    with Progress(ASKING, len(rungs), "classifiers") as progress:
        found = compare(data, rungs, progress.to)
    return found.assign(shown_inputs(data))


FIGURES = {"ladder": "ladder.ladder", "average_animals": "ladder.average_animals"}


def table(run: Run) -> str:
    """Write the ladder, the lowest rung first."""
    data, seconds = run.data, run.manifest["rung_seconds"]
    head = ["rung", "origin", "parameters", "train", "test", "95 %, pictures", "95 %, members"]
    rows, notes = [[*head, "seconds"]], []
    for name in map(str, data["rung"].values):
        one = data.sel(rung=name)
        spent, apart = seconds.get(name, math.nan), one["from_optimum"]
        rows.append(
            [
                name,
                str(one["origin"].values),
                f"{int(one['num_parameters']):,}",
                *(number(float(one[f"{k}_accuracy"].mean())) for k in ("train", "test")),
                *(_interval(one[f"{k}_low"], one[f"{k}_high"]) for k in ("test", "members")),
                f"{spent:,.1f}" if spent >= 0.05 else f"{spent:,.3f}",
            ]
        )
        if apart.notnull().any():
            notes.append(
                f"{name}: its starts end {float(apart.min()):.3f} to {float(apart.max()):.3f} from "
                "the one lowest point of its loss, as a share of that point's length"
            )
    if "centroid" in data["rung"].values:
        same = int((data["nearest_mean"] == data["prediction"].sel(rung="centroid")[0]).sum())
        weights = "the weights μ₁ − μ₀" if data.sizes["class"] == 2 else "one linear formula"
        notes = [
            f"nearest average by distances, and by {weights}: the same answer to "
            f"{same:,} of {data.sizes['example']:,} test pictures",
            *notes,
        ]
    legend = (
        f"learned by gradient descent: {int(data['num_members'].max())} members each, their mean; "
        "an interval over pictures is a bootstrap of the test examples, one over members "
        "Student's; seconds are those of all members"
    )
    return "\n".join([*aligned(rows), legend, *notes])


def _interval(low: xr.DataArray, high: xr.DataArray) -> str:
    """Write an interval of accuracies; Student's may reach beyond what an accuracy can be."""
    return "–" if low.isnull() else f"{max(float(low), 0.0):.3f} to {min(float(high), 1.0):.3f}"


def check(config: Config, data: Dataset, labels: Collection[str]) -> list[str]:
    """Refuse whatever cannot be a rung, before a run folder is made.

    Args:
      config: the settings.
      data: the pictures.
      labels: of the learned rungs.

    Returns:
      The rules that fit.

    Raises:
      InputError: a rung cannot be, none is left, or the one to be written cannot be.
    """
    entries, rules = listed("estimators", config.estimators), fitting_rules(config.rules, data)
    for entry in entries:
        if parse_entry(entry)[0] == "knn":  # takes no time, and knows how large its k may be
            estimated(entry, data)
    names = [*rules, *entries, *labels]
    if not names:
        raise InputError("no rung is left: --rules, --estimators and --models are all none")
    if config.write_program and config.program_model not in names:
        raise InputError(
            f"--program_model={config.program_model!r} is no rung of this ladder; give one of "
            f"{', '.join(names)}"
        )
    return rules


@expecting({ESTIMATING: 70.0, ASKING: 35.0})  # seconds, as measured on two cores
def ladder(config: Config) -> None:
    """Do all of it: the three verbs in a row, a table, and the program where it is asked for."""
    for kind, text in ((RULE, config.rules), (ESTIMATOR, config.estimators)):
        for entry in listed(f"{kind.name}s", text):
            kind.settings(entry)
    if config.write_program:
        check_writable(config.write_program, config.program_model)
    if config.run:
        found = take(config, "ladder", lambda found: check(config, data_of(found), found))
        data = data_of(found.populations)
    else:
        data = _tasks.read_data(config)
        asked = tasks(config, data)
        rules = check(config, data, [task.label for task in asked])
        decided = config.decided(data, asked) | {"rules": ",".join(rules)}
        found = _tasks.train(config, "ladder", data, asked, "ladder", decided=decided)
    populations = found.populations
    if found.folder is not None:
        with found.folder:
            answers = analyse(found, config, data)
            # A clock is no result: it is kept beside them.
            clock = dict(zip(answers["rung"].values, answers["rung_seconds"].values, strict=True))
            found.folder.update_manifest(rung_seconds=clock)
            found = found.finish(answers.drop_vars("rung_seconds"))
    spent = [found.manifest["rung_seconds"][name] for name in found.data["rung"].values]
    draw(found.data.assign(rung_seconds=("rung", spent)), found.path, FIGURES)
    tell(table(found))
    print(f"results, weights and figures: {found.path}")
    diverged = found.data["test_accuracy"].isnull().all("member")
    if diverged.any():
        raise RuntimeError(
            f"all members of {', '.join(found.data['rung'].values[diverged])} diverged (a loss "
            f"that was not finite); lower --learning_rate; what there is: {found.path}"
        )
    if config.write_program:
        print(save_program(config.write_program, config.program_model, found, populations, data))


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    return _cli.run(argv, Config, ladder)


if __name__ == "__main__":
    _cli.command(main)
