"""What a run on sentences adds to its results: embeddings, neighbours, probes, constructions."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from catdog_jax.analysis.embeddings import nearest_words, neighbour_overlap
from catdog_jax.analysis.probe import fit_probe
from catdog_jax.data import grammar
from catdog_jax.data.annotation import annotate
from catdog_jax.types import Dataset, InputError, Params, Split
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.layer_features import named_features, one_member, starting_params
from experiments.shared.results import Trained, described

NEIGHBOURS = 3
FOLDS = 4  # parts of the words of a class that are left out in turn
PROBES = ("word class", "class of unseen words", "number", "role", "answer")
WHEN = ("start", "trained")
WORDS = grammar.VOCABULARY[1:]


def check_grammar(dataset: Dataset) -> None:
    """Refuse a data set other than the grammar's, whose words nobody could annotate.

    Raises:
      InputError: as above.
    """
    if dataset.vocabulary != grammar.VOCABULARY:
        raise InputError(
            f"data set {dataset.name!r} has {dataset.kind}; this experiment needs the sentences of "
            "its grammar; give --dataset=words, or run experiments.init_convergence"
        )


def word_results(
    config: TrainConfig,
    dataset: Dataset,
    jobs: Sequence[Job],
    trained: Sequence[Trained],
    *,
    probe_members: int,
    probe_sentences: int,
) -> xr.Dataset:
    """Collect all that is particular to sentences.

    Args:
      config: the settings.
      dataset: the sentences.
      jobs, trained: the models and their members.
      probe_members: members whose layers are probed, at most.
      probe_sentences: training sentences that probes are fitted on, and test sentences, at most.
    """
    parts = [_by_kind(dataset.test, trained), _embeddings(config, jobs, trained)]
    tables = [
        _probed(config, dataset, job, found, probe_members, probe_sentences)
        for job, found in zip(jobs, trained, strict=True)
    ]
    if layers := [layer for table in tables for layer in table]:
        parts.append(_probe_results(dataset, layers, probe_sentences))
    data = xr.merge(parts)
    return described(data, _DESCRIPTIONS)


def _by_kind(test: Split, trained: Sequence[Trained]) -> xr.Dataset:
    """Accuracy for each construction, and for each number of modified noun phrases."""
    logits = np.stack([found.arrays["test_logits"] for found in trained])
    right = np.where(np.isfinite(logits).all(-1), logits.argmax(-1) == test.labels, np.nan)
    kinds = {"construction": len(grammar.CONSTRUCTIONS), "modifiers": 3}
    variables: dict[str, Any] = {}
    for name, count in kinds.items():
        rows = [test.factors[name] == k for k in range(count)]
        means = [right[..., row].mean(-1) if row.any() else right[..., 0] * np.nan for row in rows]
        variables[f"accuracy_by_{name}"] = (("model", "member", name), np.stack(means, -1))
        variables[f"num_by_{name}"] = ((name,), np.array([row.sum() for row in rows]))
    variables |= {f"factor_{name}": (("example",), values) for name, values in test.factors.items()}
    names = np.array(list(grammar.CONSTRUCTIONS), dtype=object)
    return xr.Dataset(variables, {"construction": names, "modifiers": np.arange(3)})


def _embeddings(config: TrainConfig, jobs: Sequence[Job], trained: Sequence[Trained]) -> xr.Dataset:
    """The vectors of all words, and which words lie next to one another."""
    members = config.num_members
    tables: dict[str, list[np.ndarray]] = {}
    for job, found in zip(jobs, trained, strict=True):
        members = len(found.arrays["diverged_step"])
        ended = _table(found.params)
        starts = [_table(p) for p in starting_params(config, job.model, members)]
        if ended is not None:
            tables[job.label] = [np.stack([x for x in starts if x is not None]), ended]
    if not tables:
        return xr.Dataset()
    widest = max(ended.shape[-1] for _, ended in tables.values())
    nearest = {
        label: np.array([[nearest_words(m, NEIGHBOURS) for m in both] for both in table])
        for label, table in tables.items()
    }
    variables = {
        "embedding": (
            ("embedded", "when", "member", "word", "number"),
            np.stack([[_padded(both, widest) for both in table] for table in tables.values()]),
        ),
        "nearest_word": (
            ("embedded", "when", "member", "word", "rank"),
            np.stack(list(nearest.values())).astype(np.int32),
        ),
        "neighbour_overlap": (
            ("embedded", "when", "member", "other_member"),
            np.stack([[neighbour_overlap(n) for n in both] for both in nearest.values()]),
        ),
        "same_animal": (
            ("embedded", "when", "member"),
            np.stack([_same_animal(both) for both in nearest.values()]),
        ),
    }
    return xr.Dataset(
        variables,
        {
            "embedded": np.array(list(tables), dtype=object),
            "when": np.array(WHEN, dtype=object),
            "word": np.array(WORDS, dtype=object),
        },
    )


def _table(params: Params) -> np.ndarray | None:
    """Find the vectors of the words in the weights of a formula, [..., V, D]."""
    if isinstance(params, dict) and "table" in params.get("embedding", {}):
        return np.asarray(params["embedding"]["table"])
    return None


def _padded(vectors: np.ndarray, width: int) -> np.ndarray:
    missing = ((0, 0), (0, 0), (0, width - vectors.shape[-1]))
    return np.pad(vectors.astype(np.float32), missing, constant_values=np.nan)


def _same_animal(nearest: np.ndarray) -> np.ndarray:
    """Share of the words next to a cat's that are a cat's, and likewise of dogs, [when, member]."""
    cats = np.isin(WORDS, grammar.CATS + grammar.CATS_PLURAL)
    dogs = np.isin(WORDS, grammar.DOGS + grammar.DOGS_PLURAL)
    same = [group[nearest[:, :, group]].mean(axis=(2, 3)) for group in (cats, dogs)]
    return np.mean(same, axis=0)


def _probed(
    config: TrainConfig,
    dataset: Dataset,
    job: Job,
    found: Trained,
    probe_members: int,
    probe_sentences: int,
) -> list[tuple[str, str, np.ndarray]]:
    """Probe every layer of a model that has a vector per word: (model, layer, [m, 2, P])."""
    alive = found.arrays["diverged_step"] < 0
    fit = dataset.train.inputs[:probe_sentences]
    judge = dataset.test.inputs[:probe_sentences]
    features = _token_features(job)
    names: Sequence[str] = ()
    scores: list[list[list[np.ndarray]]] = []
    starts = starting_params(config, job.model, len(alive))
    for member, start in zip(range(min(probe_members, len(alive))), starts, strict=False):
        both = []
        for params in (start, one_member(found.params, member)):
            names, seen = features(params, fit)
            _, unseen = features(params, judge)
            good = alive[member] and all(np.isfinite(x).all() for x in (*seen, *unseen))
            both.append(
                [
                    probe_layer(x, y, fit, judge) if good else np.full(len(PROBES), np.nan)
                    for x, y in zip(seen, unseen, strict=True)
                ]
            )
        scores.append(both)
    return [
        (job.label, name, np.array([[when[k] for when in both] for both in scores]))
        for k, name in enumerate(names)
    ]


def _token_features(job: Job) -> Callable[..., tuple[list[str], list[np.ndarray]]]:
    """Make a function (params, tokens) -> names and values of the layers [N, T, D]."""
    names: list[str] = []

    def vectors(params: Params, tokens: Any) -> list[Any]:
        layers = named_features(job.model, params, tokens)
        kept = [(name, x) for name, x in layers if x.ndim == 3]
        names[:] = [name for name, _ in kept]
        return [x for _, x in kept]

    jitted = jax.jit(vectors)

    def compute(params: Params, tokens: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
        values = jax.device_get(jitted(params, tokens))
        return list(names), values

    return compute


def probe_layer(
    fitted_on: np.ndarray, judged_on: np.ndarray, fit: np.ndarray, judge: np.ndarray
) -> np.ndarray:
    """Measure what a linear probe reads off the vectors of words.

    Args:
      fitted_on, judged_on: [N, T, D], a layer's vectors for the sentences `fit` and `judge`.
      fit, judge: [N, T], tokens.

    Returns:
      [P] accuracies on the words of `judge` that the probe asks about, in the order of PROBES.
    """
    return np.array([_accuracy(fitted_on, judged_on, *labels) for labels in _questions(fit, judge)])


def baselines(fit: np.ndarray, judge: np.ndarray) -> np.ndarray:
    """Accuracy of always saying what is most frequent in `fit`, [P]."""
    found = []
    for seen, asked in _questions(fit, judge):
        counts = np.bincount(seen[0][seen[0] > 0])
        wanted = asked[0][asked[0] > 0]
        found.append(np.mean(wanted == counts.argmax()))
    return np.array(found)


def _questions(
    fit: np.ndarray, judge: np.ndarray
) -> list[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Give what each probe asks: for `fit` and `judge`, (answers, folds), each [N, T].

    Answers are 0 where nothing is asked. A word of fold f ≥ 0 is judged by a probe that was fitted
    on the words of other folds; fold -1: on all.
    """
    both = []
    for tokens in (fit, judge):
        found = annotate(tokens)
        everywhere = np.full(tokens.shape, -1)
        both.append(
            [
                (found.word_class, everywhere),
                (np.where(_FOLD_OF[tokens] >= 0, found.word_class, 0), _FOLD_OF[tokens]),
                (found.number, everywhere),
                (found.role, everywhere),
                (np.where(found.role > 0, 1 + found.chaser[:, None], 0), everywhere),
            ]
        )
    return list(zip(*both, strict=True))


def _accuracy(
    fitted_on: np.ndarray,
    judged_on: np.ndarray,
    seen: tuple[np.ndarray, np.ndarray],
    asked: tuple[np.ndarray, np.ndarray],
) -> float:
    (answers, folds), (wanted, wanted_folds) = seen, asked
    right = np.zeros(wanted.shape, bool)
    one_hot = np.eye(answers.max() + 1)
    for fold in np.unique(wanted_folds[wanted > 0]):
        learn = (answers > 0) & ((folds != fold) | (folds < 0))
        test = (wanted > 0) & (wanted_folds == fold)
        targets = one_hot[answers[learn]]
        probe = fit_probe(fitted_on[learn], targets, groups=np.zeros(targets.shape[1], int))
        right[test] = probe.predict(judged_on[test]).argmax(-1) == wanted[test]
    return float(right[wanted > 0].mean())


def _probe_results(
    dataset: Dataset, layers: Sequence[tuple[str, str, np.ndarray]], probe_sentences: int
) -> xr.Dataset:
    fit = dataset.train.inputs[:probe_sentences]
    judge = dataset.test.inputs[:probe_sentences]
    models, names, scores = zip(*layers, strict=True)
    return xr.Dataset(
        {
            "probe_accuracy": (("layer", "probed", "when", "probe"), np.stack(scores)),
            "probe_baseline": (("probe",), baselines(fit, judge)),
        },
        {
            "layer_model": (("layer",), np.array(models, dtype=object)),
            "layer_name": (("layer",), np.array(names, dtype=object)),
            "when": np.array(WHEN, dtype=object),
            "probe": np.array(PROBES, dtype=object),
        },
    )


def _folds() -> np.ndarray:
    """Deal the words of every class of at least FOLDS words to folds; -1 for the other words."""
    folds = np.full(len(grammar.VOCABULARY), -1)
    for k in range(1, len(grammar.WORD_CLASSES)):
        words = np.flatnonzero(k == grammar.CLASS_OF)
        if len(words) >= FOLDS:
            folds[words] = np.arange(len(words)) % FOLDS
    return folds


_FOLD_OF = _folds()
_DESCRIPTIONS = {
    "accuracy_by_construction": ("1", "accuracy on the test sentences of each construction"),
    "accuracy_by_modifiers": ("1", "accuracy by how many of the two noun phrases have a modifier"),
    "num_by_construction": ("1", "test sentences of each construction"),
    "num_by_modifiers": ("1", "test sentences by how many noun phrases have a modifier"),
    "embedding": ("1", "the vector of each word, at the random start and after training"),
    "nearest_word": ("1", "indices of the words nearest to each word, by cosine"),
    "neighbour_overlap": ("1", "share of nearest words that two members have in common"),
    "same_animal": ("1", "share of the words nearest to a cat's or dog's word of the same animal"),
    "probe_accuracy": ("1", "accuracy on test sentences of a linear probe of each word's vector"),
    "probe_baseline": ("1", "accuracy of always saying the most frequent answer"),
    "layer_model": ("1", "the model of each layer"),
    "layer_name": ("1", "the layer, from the input on"),
    "modifiers": ("1", "noun phrases with a modifier"),
    "when": ("1", "at the random start, or after training"),
    "probe": ("1", "what the probe reads"),
    "construction": ("1", "how the sentence says who ran after whom"),
    "embedded": ("1", "models that have a vector per word"),
    "word": ("1", "the words, in the order of their ids from 1 on"),
    **{
        f"factor_{name}": (unit, text)
        for name, unit, text in (
            ("construction", "1", "construction of each test sentence"),
            ("passive", "1", "1 where it is in the passive"),
            ("relative", "1", "1 where a relative clause says who ran after whom"),
            ("agent_first", "1", "1 where the one who runs after comes first"),
            ("agent_plural", "1", "1 where several run after"),
            ("patient_plural", "1", "1 where several are run after"),
            ("adjectives", "1", "noun phrases with an adjective"),
            ("modifiers", "1", "noun phrases with a modifier"),
            ("adverb", "1", "0 none, 1 in front, 2 at the end"),
            ("words", "word", "length"),
        )
    },
}
