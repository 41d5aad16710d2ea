"""What did it learn, in pictures? What members of a run look at, and whether they look alike.

Takes a finished run and asks chosen members of each model what in the run's own test pictures
speaks for their class: the gradient (saliency), integrated gradients and occlusion; which input
they would most like to see; and what their first layer looked for before and after training.
Expected: linear members look at the same places, the same ones in every picture, because their
loss has one lowest point; members of deeper models differ pixel by pixel, agree better where large
parts of a picture are covered (occlusion), and in both more than before training.

  python -m experiments.attribution --run=runs/init_convergence/NAME
  python -m experiments.attribution --run=runs/init_convergence/NAME --members=0,3 --num_pictures=6

It takes seconds to minutes: occlusion asks a network a few hundred times per picture. Nothing is
trained and no data set is needed. It ends with a table and the path of its own run folder:
results.nc (every map and number) and figures/*.png.
"""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from catdog_jax.population import use_compilation_cache
from catdog_jax.registry import unknown
from catdog_jax.store import Run, RunFolder, open_run, run_name
from catdog_jax.store.manifest import model_folder
from catdog_jax.types import InputError
from experiments.shared import figures, launcher
from experiments.shared.attribution_results import assemble, open_pictures, table
from experiments.shared.config import SEED_MAX, check_ranges, deciding, setting
from experiments.shared.jobs import split_models
from experiments.shared.run_summary import command_line

DEFAULT_MEMBERS = 8
DEFAULT_PICTURES = 12


@dataclass(frozen=True)
class Config:
    """Settings of attribution."""

    run: str = setting("", "folder of a finished run that was trained on pictures")
    models: str = setting("", "list of the run's models; empty: all")
    members: str = setting(
        "", f"list of member numbers, like 0,1,2; empty: the first {DEFAULT_MEMBERS}"
    )
    num_pictures: int | None = setting(
        None, f"of the run's own test pictures; unset: {DEFAULT_PICTURES}", low=1
    )
    steps: int = setting(128, "points of the integral of integrated gradients", low=1)
    ascent_steps: int = setting(256, "steps towards a maximising input", low=1)
    seed: int = setting(0, "of the noise that maximising inputs begin with", low=0, high=SEED_MAX)
    out_dir: str = setting("runs", "where run folders are made", operational=True)
    name: str = setting("", "of the run folder; empty: made from the settings", operational=True)
    fresh: bool = setting(
        False, "start another run beside one of the same settings", operational=True
    )


# Beside the maps of each model.
FIGURES = {
    "map_agreement": "attribution.map_agreement",
    "maximising_inputs": "attribution.maximising_inputs",
    "first_layer_before_after": "first_layers.before_after",
}


def run(config: Config) -> Run:
    """Ask the members, draw every figure, print the table."""
    check_ranges(config)
    source = open_pictures(config.run, "init_convergence on pictures")
    labels = chosen_models(source, config.models)
    members = chosen_members(source, labels, config.members)
    rows = chosen_pictures(source, config.num_pictures)
    path = source.path.resolve()
    with open(path / "results.nc", "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    settings = deciding(config) | {
        "run": f"{path.parent.name}/{path.name}",
        "results of the run": digest,
        "models": ",".join(labels),
        "members": members,
        "num_pictures": len(rows),
    }
    name = config.name or run_name(path.name, settings)
    with RunFolder.open_or_create(
        config.out_dir, "attribution", name, settings, growable=(), fresh=config.fresh
    ) as folder:
        if folder.finished:
            print(f"already done: {folder.path}; nothing is computed")
        else:
            use_compilation_cache()
            shown = dataclasses.replace(config, run=f"runs/{settings['run']}")
            folder.update_manifest(
                command=command_line(shown, "attribution"),
                source={"run": settings["run"], "command": source.manifest["command"]},
                inputs=source.manifest["inputs"],
            )
            print(
                f"{len(members)} members of {', '.join(labels)} on {len(rows)} pictures "
                f"of {settings['run']}\nrun folder: {folder.path}",
                flush=True,
            )
            asked = rows, config.steps, config.ascent_steps, config.seed
            data = assemble(source, labels, members, *asked)
            told = {"run": settings["run"], "command": folder.manifest["command"]}
            folder.write_results(data.assign_attrs(told, kind="images"))
        finished = open_run(folder.path)
    data = finished.data
    for label in labels:
        maps = {f"maps_{model_folder(label)}": "attribution.maps"}
        figures.draw(data.sel(model=[label]), folder.path, maps)
    figures.draw(data, folder.path, FIGURES)
    print(table(data))
    print(f"results and figures: {folder.path}")
    return finished


def chosen_models(source: Run, text: str) -> list[str]:
    """Read --models: models of the run.

    Raises:
      InputError: one that the run does not have, or twice the same.
    """
    known = source.data["model"].values.tolist()
    chosen = list(split_models(text)) if text else known
    for label in chosen:
        if label not in known:
            raise unknown("model of the run", label, known)
    return chosen


def chosen_members(source: Run, labels: list[str], text: str) -> list[int]:
    """Read --members: numbers of members that did not diverge.

    Raises:
      InputError: no numbers, numbers not in the run or given twice, or diverged members.
    """
    diverged = source.data["diverged_step"].sel(model=labels).values
    alive = [int(m) for m in np.flatnonzero((diverged < 0).all(axis=0))]
    if not alive:
        raise InputError(
            f"no member of {', '.join(labels)} is left in this run; try other --models"
        )
    if not text:
        return alive[:DEFAULT_MEMBERS]
    members = []
    for part in text.split(","):
        if not part.strip().isdecimal():
            raise InputError(f"--members={text}: {part!r} is no number; write a list like 0,1,2")
        member = int(part)
        if member >= diverged.shape[1]:
            raise InputError(
                f"--members={text}: the run has members 0 to {len(diverged[0]) - 1}; choose some"
            )
        if member not in alive:
            raise InputError(
                f"--members={text}: member {member} diverged in training (diverged_step says "
                f"when); choose others, like {','.join(map(str, alive[:3]))}"
            )
        if member in members:
            raise InputError(f"--members={text}: {member} is given twice; give it once")
        members.append(member)
    return members


def chosen_pictures(source: Run, num_pictures: int | None) -> np.ndarray:
    """Choose the first few pictures of each class, by their places among those the run keeps.

    Raises:
      InputError: more pictures than the run keeps.
    """
    labels = source.data["label"].values[source.data["picture_example"].values]
    count = min(DEFAULT_PICTURES, len(labels)) if num_pictures is None else num_pictures
    if count > len(labels):
        raise InputError(
            f"--num_pictures={count}: the run keeps {len(labels)} pictures; give at most that many"
        )
    among = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    rows = np.lexsort((labels, among))[:count]
    return rows[np.lexsort((rows, labels[rows]))]


main = functools.partial(launcher.main, "experiments.attribution", Config, run)

if __name__ == "__main__":
    main()
