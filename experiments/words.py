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
  python -m experiments.words --models=word_conv:window=2,word_conv:window=4 --num_members=4

The first takes about two minutes on two cores. It ends with tables and the path of the run folder:
results.nc (every number), figures/*.png, and the weights. The same command again goes on where a
run was left, and only prints where it is done.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.data import dataset_spec
from catdog_jax.registry import parse_entry
from catdog_jax.store import Run, RunFolder
from experiments.shared import figures, launcher, report, words_figures
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig, setting
from experiments.shared.results import Trained, assemble
from experiments.shared.training import fill_folder, prepare, refuse_all_lost
from experiments.shared.words_results import check_grammar, word_results


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of words."""

    dataset: str = setting(
        "words", "words, with settings if wanted (words:num_train=1000:seed=1, even counts)"
    )
    models: str = setting(
        "",
        "list of bag_of_words, word_average, word_conv, word_attention, each with settings if "
        "wanted (word_conv:window=4:depth=2); empty: these and a deeper convolution",
    )
    num_members: int = setting(16, "random starts of each model", low=1)
    probe_members: int = setting(8, "members whose layers are probed, at most", low=1)
    probe_sentences: int = setting(
        400, "training sentences that probes are fitted on, and test sentences, at most", low=50
    )


FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "learning_curves": figures.learning_curves,
    "final_accuracy": figures.final_accuracy,
    "constructions": words_figures.constructions,
    "embeddings": words_figures.embeddings,
    "neighbours": words_figures.neighbours,
    "probes": words_figures.probes,
    "trajectories": figures.trajectories,
}


def run(config: Config) -> Run:
    """Train, read the words' vectors, draw, print the tables."""
    dataset = prepare(config)
    check_grammar(dataset)
    entries = job_module.split_models(config.models or dataset_spec(config.dataset).models)
    jobs = job_module.make_jobs(config, dataset, entries)
    facts = job_module.recipe_facts(config, dataset, jobs)

    def finish(_: RunFolder, trained: list[Trained]) -> xr.Dataset:
        ended = assemble(dataset, jobs, trained, facts)
        words = word_results(
            config,
            dataset,
            jobs,
            trained,
            probe_members=config.probe_members,
            probe_sentences=config.probe_sentences,
        )
        return ended.merge(words, combine_attrs="no_conflicts")

    stem = "+".join(dict.fromkeys(parse_entry(entry)[0] for entry in entries))
    finished, folder = fill_folder(
        config, "words", dataset, jobs, facts, stem, finish, growable=("num_members",)
    )
    figures.draw(finished, folder, FIGURES)
    print(report.table(finished.data, finished.manifest.get("timings", {})))
    print(words_figures.tables(finished.data))
    print(f"results, weights and figures: {folder}")
    refuse_all_lost(finished, folder)
    return finished


main = functools.partial(launcher.main, "experiments.words", Config, run)

if __name__ == "__main__":
    main()
