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

The first takes about three minutes on two cores. The last also writes a learned rung (by default
the logistic regression) as a program with its numbers typed in, which needs numpy alone.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from catdog_jax import Dataset, InputError
from catdog_jax.estimators.build import ESTIMATOR
from catdog_jax.models.build import MODEL
from catdog_jax.rules.build import RULE
from catdog_jax.store import Run, RunFolder
from experiments.shared import classifiers, figures, ladder_results, launcher
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig, setting
from experiments.shared.program import check_program_path, check_writable, save_program
from experiments.shared.progress import Progress
from experiments.shared.results import Trained
from experiments.shared.training import fill_folder, is_finished, prepare

ESTIMATORS = "centroid,diagonal_centroid,lda,ridge,qda,knn:k=1,knn:k=15,knn:k=25,logistic"
POLYNOMIALS = "polynomial:degree=1,polynomial:degree=2,polynomial:degree=3"
DEEP = ",".join(f"mlp:depth={depth}" for depth in range(1, 6)) + ",cnn,resnet"
SMALL_DEEP = (
    ",".join(f"mlp:width=64:depth={depth}" for depth in range(1, 6))
    + ",cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
)
SMALL_STRETCH = 4.0


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of ladder."""

    num_members: int = setting(8, "random starts of each learned rung", low=1)
    models: str = setting(
        "",
        "rungs learned by gradient descent, a list as in init_convergence; none: none; empty: "
        "linear, polynomials of degree 1 to 3, MLPs of depth 1 to 5, cnn and resnet",
    )
    rules: str = setting("", "programmed rungs, a list; none: none; empty: all that fit the data")
    estimators: str = setting(ESTIMATORS, "rungs computed in one step, a list; none: none")
    components: int = setting(20, "principal components that polynomials read", low=1, high=1000)
    stretch: float | None = setting(
        None,
        "times the steps of each model's recipe; unset: 4 on the embedded pictures, 1 on others",
        above=0.0,
    )
    write_program: str = setting(
        "", "write a rung as a program that needs numpy alone, to this path", operational=True
    )
    program_model: str = setting(
        "logistic", "the rung that --write_program writes: a linear one or an MLP", operational=True
    )


FIGURES = {"ladder": "ladder.ladder", "average_animals": "average_animals.average_animals"}


def run(config: Config) -> Run:
    """Build every rung, ask it about every picture, draw, print the table."""
    for entry in _listed("rules", config.rules):
        RULE.settings(entry)
    estimators = _listed("estimators", config.estimators)
    for entry in estimators:
        ESTIMATOR.settings(entry)
    models = "" if config.models == "none" else config.models
    dataset = prepare(dataclasses.replace(config, models=models))
    if dataset.kind != "images":
        raise InputError(f"the ladder is of pictures; --dataset={config.dataset} has none")
    if config.stretch is None:
        stretch = SMALL_STRETCH if dataset.name == "procedural" else 1.0
        config = dataclasses.replace(config, stretch=stretch)
    rules = _rules(config, dataset)
    pca, jobs = _jobs(config, dataset)
    names = [*(rule.name for rule in rules), *estimators, *(job.label for job in jobs)]
    if not names:
        raise InputError("no rung is left: --rules, --estimators and --models are all none")
    if config.write_program:
        check_program_path(config.write_program)
        name = config.program_model
        if name not in names:
            raise InputError(
                f"--program_model={name!r} is no rung of this ladder; give one of "
                f"{', '.join(names)}"
            )
        check_writable(name)
    settings = job_module.run_settings(config, dataset, jobs)
    settings["rules"] = ",".join(rule.name for rule in rules)
    # Before the folder is made: only now is an estimator's setting seen to be out of range.
    done = is_finished(config, "ladder", settings, "ladder")
    fitted = [] if done else _estimated(estimators, dataset)

    def finish(folder: RunFolder, trained: list[Trained]) -> xr.Dataset:
        spent = folder.manifest.get("timings", {})
        built = [*rules, *(fitted or _estimated(estimators, dataset))]
        for job, members in zip(jobs, trained, strict=True):
            reduced = pca if job.dataset.kind == "vectors" else None
            seconds = spent.get(job.label, {}).get("seconds", float("nan"))
            built.append(
                classifiers.learned(job, members, seconds, reduced, config.label_smoothing)
            )
        built.sort(key=lambda r: ("programmed", "estimated", "learned").index(r.origin))
        folder.update_manifest(rung_seconds={one.name: one.seconds for one in built})
        return ladder_results.assemble_ladder(dataset, built, settings)

    finished, folder = fill_folder(config, "ladder", dataset, jobs, settings, "ladder", finish)
    seconds = finished.manifest["rung_seconds"]
    spent = [seconds[name] for name in finished.data["rung"].values]
    figures.draw(finished.data.assign(rung_seconds=("rung", spent)), folder, FIGURES)
    print(ladder_results.table(finished.data, seconds))
    print(f"results, weights and figures: {folder}")
    diverged = finished.data["test_accuracy"].isnull().all("member")
    if diverged.any():
        raise RuntimeError(
            f"all members of {', '.join(finished.data['rung'].values[diverged])} diverged (a loss "
            f"that was not finite); lower --learning_rate; what there is: {folder}"
        )
    if config.write_program:
        print(save_program(config.write_program, config.program_model, finished, dataset))
    return finished


def _listed(flag: str, text: str) -> tuple[str, ...]:
    return () if text.strip() in ("", "none") else job_module.split_list(flag, text)


def _rules(config: Config, dataset: Dataset) -> list[classifiers.LadderClassifier]:
    """Build the rules; raise for one that does not fit the data where asked for, else leave out."""
    asked = _listed("rules", config.rules)
    names = asked or (() if config.rules == "none" else tuple(RULE.table()))
    built = {name: classifiers.programmed(name, dataset) for name in names}
    missing = [name for name, rule in built.items() if rule is None]
    if asked and missing:
        raise InputError(
            f"--rules={config.rules}: {missing[0]!r} needs the classes cat and dog, and "
            "generating_rule the drawn pictures; leave it out"
        )
    if missing:
        print(f"left out, for they cannot be asked of {dataset.name}: {', '.join(missing)}")
    order = ("constant", "template", "photo_rule", "drawn_rule", "generating_rule")
    known = [rule for rule in built.values() if rule is not None]
    return sorted(known, key=lambda r: order.index(r.name) if r.name in order else len(order))


def _estimated(entries: Sequence[str], dataset: Dataset) -> list[classifiers.LadderClassifier]:
    """Compute the rungs that take one step."""
    built = []
    with Progress("computing in one step", len(entries), "rungs") as progress:
        for index, entry in enumerate(entries):
            progress.to(index, entry)
            built.append(classifiers.estimated(entry, dataset))
    return built


def _jobs(config: Config, dataset: Dataset) -> tuple[classifiers.PCA | None, list[job_module.Job]]:
    """Make the jobs of the learned rungs, those that read vectors on principal components."""
    if config.models == "none":
        return None, []
    small = SMALL_DEEP if dataset.name == "procedural" else DEEP
    pca, vectors = None, dataset
    jobs: list[job_module.Job] = []
    for entry in job_module.split_models(config.models or f"linear,{POLYNOMIALS},{small}"):
        own, data = config, dataset
        if MODEL.spec(entry).reads[0] == "vectors":
            if pca is None:
                pca, vectors = classifiers.scores(dataset, config.components)
            own, data = dataclasses.replace(config, augment="none"), vectors
        stretch = config.stretch or 1.0
        jobs += job_module.make_jobs(own, data, [entry], first=len(jobs), stretch=stretch)
    return pca, jobs


main = functools.partial(launcher.main, "experiments.ladder", Config, run)

if __name__ == "__main__":
    main()
