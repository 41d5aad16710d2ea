"""Who ran after whom? Sentences about cats and dogs, whose words alone do not say it.

'The cat was chased by the dog': a formula that counts words cannot know who ran, because the same
words in another order say the opposite; the grammar is made of such pairs. Bag of words, averaged
embeddings, convolutions over embeddings and a small attention model learn it by the same engine as
pictures, from many starts; then it is read off their layers what every word has become. Expected:
the first two stay at exactly one half; a convolution that sees three words at a time solves the
sentences where those tell enough, and guesses where both animals have a modifier; one that sees
five, and attention, solve nearly all. The words for cats come to lie together, and those for dogs,
from every start. Who ran is not in a word's own vector, and can be read off any word after
attention.

  python -m experiments.words
  python -m experiments.words --models=word_conv:window=2,word_conv:window=4

The first takes about two minutes on two cores. It ends with tables and the path of the run folder:
results.nc (every number), figures/*.png, and the weights. Rerun the same command to
resume a run that was stopped; of one that is done it only prints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr

from catdog_jax.analysis.word_vectors import check_grammar, word_results
from catdog_jax.registry import Range
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset
from experiments import _cli, _results, _tasks
from experiments._experiment import Experiment
from experiments._tasks import TrainConfig


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of words.

    Attributes:
      dataset: words, with settings if wanted (words:num_train=1000:seed=1, even counts)
      models: list of bag_of_words, word_average, word_conv, word_attention, each with settings if
        wanted (word_conv:window=4:depth=2); empty: these and a deeper convolution
      probe_members: members whose layers are probed, at most
      probe_sentences: training sentences that probes are fitted on, and test sentences, at most
    """

    dataset: str = "words"
    num_members: Annotated[int, Range(1)] = 16
    probe_members: Annotated[int, Range(1)] = 8
    probe_sentences: Annotated[int, Range(50)] = 400


def tasks(config: Config, data: Dataset) -> list[Task]:
    """The usual tasks, of the sentences of the grammar."""
    check_grammar(data)
    return _tasks.tasks(config, data)


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Read the words' vectors and every layer, before and after training."""
    data = next(iter(populations.values())).data
    check_grammar(data)
    ended = _results.training_results(populations)
    of_words = word_results(
        populations,
        ended["logits"].values,
        data,
        probe_members=config.probe_members,
        probe_sentences=config.probe_sentences,
    )
    return ended.merge(of_words, combine_attrs="no_conflicts")


FIGURES = {
    "learning_curves": "training.learning_curves",
    "final_accuracy": "training.final_accuracy",
    "constructions": "words.constructions",
    "embeddings": "words.embeddings",
    "neighbours": "words.neighbours",
    "probes": "words.probes",
    "trajectories": "training.trajectories",
}


def table(run: Run) -> str:
    """Write where members ended, what probes read off each layer, and which words lie together."""
    data, lines = run.data, [_results.table(run)]
    if "probe_accuracy" in data:
        head = ["a word's vector, probed: start → trained", *map(str, data["probe"].values)]
        rows = []
        means = data["probe_accuracy"].mean("probed").values
        layers = (data[f"layer_{key}"].values for key in ("model", "name"))
        for model, name, both in zip(*layers, means, strict=True):
            rows.append([f"{model} · {name}", *(f"{a:.3f} → {b:.3f}" for a, b in both.T)])
        base = ["(most frequent answer)", *(f"{x:.3f}" for x in data["probe_baseline"].values)]
        lines += ["", *aligned([head, *rows, base])]
    if "nearest_word" in data:
        head = ["nearest words: start → trained", "of the same animal", "shared by two members"]
        rows = []
        for model in data["embedded"].values:
            same = data["same_animal"].sel(embedded=model)[:, _alive(data, str(model))].values
            same = same.mean(axis=1) if same.size else np.full(2, np.nan)
            shared = [_overlap(data, model, when) for when in data["when"].values]
            cells = (f"{a:.3f} → {b:.3f}" for a, b in (same, shared))
            rows.append([str(model), *(cell.replace("nan → nan", "–") for cell in cells)])
        others = data.sizes["word"] - 1
        chances = (
            (int((data["word_group"] == "cats").sum()) - 1) / others,
            data.sizes["rank"] / others,
        )
        rows.append(["(by chance)", *(f"{x:.3f}" for x in chances)])
        lines += ["", *aligned([head, *rows]), ""]
    return "\n".join(lines)


def _alive(data: xr.Dataset, model: str) -> np.ndarray:
    return np.flatnonzero(data["diverged_step"].sel(model=model).values < 0)


def _overlap(data: xr.Dataset, model: str, when: str) -> float:
    """Mean over pairs of members that did not diverge; nan where there is no pair."""
    alive = _alive(data, model)
    values = data["neighbour_overlap"].sel(embedded=model, when=when).values
    return _results.mean_over_pairs(values[np.ix_(alive, alive)])


main = Experiment("words", Config, analyse, FIGURES, table, tasks).main

if __name__ == "__main__":
    _cli.command(main)
