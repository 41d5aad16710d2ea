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
results.nc (every number), figures/*.png, and the weights. Rerun the same command to
resume a run that was stopped; of one that is done it only prints.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from catdog_jax.store import Run
from experiments.shared import figures, launcher, report, words_figures
from experiments.shared.config import TrainConfig, setting
from experiments.shared.training import prepare, refuse_all_lost, train_to_folder
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
    measure = functools.partial(
        word_results,
        config,
        dataset,
        probe_members=config.probe_members,
        probe_sentences=config.probe_sentences,
    )
    finished, folder = train_to_folder(config, "words", dataset, measure=measure)
    figures.draw(finished, folder, FIGURES)
    print(report.table(finished.data, finished.manifest.get("timings", {})))
    print(words_figures.tables(finished.data))
    print(f"results, weights and figures: {folder}")
    refuse_all_lost(finished, folder)
    return finished


main = functools.partial(launcher.main, "experiments.words", Config, run)

if __name__ == "__main__":
    main()
