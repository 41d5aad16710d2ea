"""What did it learn, in pictures? What members of a run look at, and whether they look alike.

Takes the members of a finished run and asks some of each model what in its test pictures
speaks for their class: the gradient (saliency), integrated gradients and occlusion; which input
they would most like to see; and what their first layer looked for before and after training.
Expected: linear members look at the same places, the same ones in every picture, because their
loss has one lowest point; members of deeper models differ pixel by pixel, agree better where large
parts of a picture are covered (occlusion), and in both more than before training.

  python -m experiments.attribution --run=runs/init_convergence/NAME
  python -m experiments.attribution --run=latest --members=0,3 --num_pictures=6

It takes seconds to minutes: occlusion asks a network a few hundred times per picture. Without
--run it trains members of its own, as init_convergence does. It ends with a table and the path of
its own run folder: results.nc (every map and number) and figures/*.png.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr

from catdog_jax.analysis.maps import KINDS, METHODS, explain_members
from catdog_jax.registry import Range
from catdog_jax.run import Population, Run
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset, InputError
from experiments import _cli
from experiments._cli import whole_numbers
from experiments._experiment import Experiment
from experiments._results import mean_over_pairs, number, picture_rows
from experiments._tasks import Seed, TrainConfig

DEFAULT_MEMBERS = 8
DEFAULT_PICTURES = 12


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of attribution.

    Attributes:
      members: list of member numbers, like 0,1,2; empty: the first 8
      num_pictures: of the test pictures; unset: 12
      steps: points of the integral of integrated gradients
      ascent_steps: steps towards a maximising input
      seed: of the noise that maximising inputs begin with
    """

    num_members: Annotated[int, Range(1)] = 8
    members: str = ""
    num_pictures: Annotated[int | None, Range(1)] = None
    steps: Annotated[int, Range(1)] = 128
    ascent_steps: Annotated[int, Range(1)] = 256
    seed: Seed = 0


FIGURES = {
    "maps_{model}": "attribution.maps",
    "map_agreement": "attribution.map_agreement",
    "maximising_inputs": "attribution.maximising_inputs",
    "first_layer_before_after": "pictures.first_layer",
}


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Ask the members what speaks for the class in the same pictures."""
    data = next(iter(populations.values())).data
    if data.kind != "images":
        raise InputError(f"--run={config.run}: {data.name} has no pictures; give a run that has")
    members = chosen_members(populations, config.members)
    rows = chosen_pictures(data, config.num_pictures)
    parts = 3 * len(populations) * len(members)
    with Progress("maps", parts, "maps of a member") as progress:
        found = explain_members(
            populations,
            members,
            data,
            rows,
            steps=config.steps,
            ascent_steps=config.ascent_steps,
            seed=config.seed,
            progress=progress.to,
        )
    return found.assign_attrs(dataset=data.name)


def chosen_members(populations: Mapping[str, Population], text: str) -> list[int]:
    """Read --members: numbers of members that did not diverge.

    Raises:
      InputError: no numbers, numbers not in the run or given twice, or diverged members.
    """
    kept = np.stack([found.alive for found in populations.values()])
    alive = [int(m) for m in np.flatnonzero(kept.all(axis=0))]
    if not alive:
        raise InputError(
            f"no member of {', '.join(populations)} is left in this run; try other --models"
        )
    if not text:
        return alive[:DEFAULT_MEMBERS]
    members = list(whole_numbers("members", text, 0, kept.shape[1] - 1))
    if gone := set(members) - set(alive):
        raise InputError(
            f"--members={text}: member {min(gone)} diverged in training (diverged_step says when); "
            f"choose others, like {','.join(map(str, alive[:3]))}"
        )
    return members


def chosen_pictures(data: Dataset, num_pictures: int | None) -> np.ndarray:
    """Choose the first few pictures of each class among those that a run keeps.

    Raises:
      InputError: more pictures than a run keeps.
    """
    kept = picture_rows(data.test.labels, data.test.inputs[0].nbytes)
    labels = data.test.labels[kept]
    count = min(DEFAULT_PICTURES, len(labels)) if num_pictures is None else num_pictures
    if count > len(labels):
        raise InputError(
            f"--num_pictures={count}: the run keeps {len(labels)} pictures; give at most that many"
        )
    among = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    rows = np.lexsort((labels, among))[:count]
    return kept[rows[np.lexsort((rows, labels[rows]))]]


def table(run: Run) -> str:
    """Write how alike the maps of members are."""
    data = run.data
    rank = data["agreement"].sel(measure="rank of sizes")
    signed = data["agreement"].sel(measure="signed", kind=KINDS[0])
    own = data["agreement_with_own_start"].sel(measure="rank of sizes")
    rows = [["model", "map", *KINDS, "own start", "signed, same picture"]]
    seen = [["model", "completeness error", "maximising inputs alike", "convince other members"]]
    for model in data["model"].values:
        for method in METHODS:
            at = {"model": model, "map": method}
            values = [mean_over_pairs(rank.sel(kind=kind, **at).values) for kind in KINDS]
            values += [float(own.sel(at).mean()), mean_over_pairs(signed.sel(at).values)]
            rows.append([str(model), method, *map(number, values)])
        one = data.sel(model=model)
        change = float(np.sqrt(((one["score"] - one["baseline_score"]) ** 2).mean()))
        error = float(abs(one["completeness_gap"]).max()) / change if change else np.nan
        alike = np.mean([mean_over_pairs(x) for x in one["maximising_agreement"].values])
        said = one["maximising_logits"].values.argmax(-1)  # [maker, class, judge]
        right = (said == np.arange(said.shape[1])[:, None]).mean(axis=1)
        seen.append(
            [str(model), f"{error:.1e}", number(float(alike)), number(mean_over_pairs(right))]
        )
    return "\n".join(
        [
            *aligned(rows, keys=2),
            "Spearman's correlation of the sizes of two members' maps (signed: Pearson's of the "
            "maps), mean over pairs;",
            "own start: the same member before and after training",
            "",
            *aligned(seen),
            "completeness error: largest gap of the integral over the typical change of the score; "
            "convince: share of inputs that another member puts into the class they were made for",
        ]
    )


main = Experiment("attribution", Config, analyse, FIGURES, table).main

if __name__ == "__main__":
    _cli.command(main)
