"""What networks make of words: embeddings, neighbours, probes, and accuracy by construction."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Integer

from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.layers import Networks, layer_shapes, named_features
from catdog_jax.analysis.probe import fit_probe
from catdog_jax.analysis.trajectory import principal_plane
from catdog_jax.data import grammar
from catdog_jax.data.grammar import annotate
from catdog_jax.types import Dataset, InputError, Params, Split

NEIGHBOURS = 3
FOLDS = 4  # parts of the words of a class that are left out in turn
PROBES = ("word class", "class of unseen words", "number", "role", "answer")
WHEN = ("start", "trained")
WORDS = grammar.VOCABULARY[1:]
GROUPS = {
    "cats": (*grammar.CATS, *grammar.CATS_PLURAL),
    "dogs": (*grammar.DOGS, *grammar.DOGS_PLURAL),
    "running after": grammar.CHASING,
    "grammatical words": ("by", "that", "was", "were", "got", "the", "a", "some"),
}
MODIFIED = (  # by how many of the two animals have a modifier
    "some cats chased the dog",
    "some cats from Rome chased the dog",
    "some cats from Rome chased the dog that slept",
)


def check_grammar(dataset: Dataset) -> None:
    """Check that the data set is the grammar's: nobody could annotate other words.

    Raises:
      InputError: it is not.
    """
    if dataset.vocabulary != grammar.VOCABULARY:
        raise InputError(
            f"data set {dataset.name!r} has {dataset.kind}; this experiment needs the sentences of "
            "its grammar; give --dataset=words, or run experiments.init_convergence"
        )


def word_results(
    networks: Mapping[str, Networks],
    logits: np.ndarray,
    dataset: Dataset,
    *,
    probe_members: int,
    probe_sentences: int,
) -> xr.Dataset:
    """Collect all that is particular to sentences.

    Args:
      networks: label -> members, as many of each.
      logits: [P, M, N, K], of the test sentences.
      dataset: the sentences of the grammar.
      probe_members: members whose layers are probed, at most.
      probe_sentences: training sentences that probes are fitted on, and test sentences, at most.

    Variables:
      accuracy_by_construction: accuracy on the test sentences of each construction
      accuracy_by_modifiers: accuracy by how many of the two noun phrases have a modifier
      num_by_construction: test sentences of each construction
      num_by_modifiers: test sentences by how many noun phrases have a modifier
      embedding: the vector of each word, at the random start and after training
      nearest_word: indices of the words nearest to each word, by cosine
      neighbour_overlap: share of nearest words that two members have in common
      same_animal: share of the words nearest to a cat's or dog's word of the same animal
      word_plane: the trained vectors in the plane in which those of a member vary most
      word_plane_explained: share of the vectors' variance along each axis of the plane
      word_group: which words it is one of: of cats, dogs, running after, grammar, others
      construction_example: a sentence of each construction
      modifiers_example: a sentence with none, one and two modified noun phrases
      probe_accuracy: accuracy on test sentences of a linear probe of each word's vector
      probe_baseline: accuracy of always saying the most frequent answer
      layer_model: the model of each layer
      layer_name: the layer, from the input on
      modifiers: noun phrases with a modifier
      when: at the random start, or after training
      probe: what the probe reads
      construction: how the sentence says who ran after whom
      embedded: models that have a vector per word
      word: the words, in the order of their ids from 1 on
      factor_construction: construction of each test sentence
      factor_passive: 1 where it is in the passive
      factor_relative: 1 where a relative clause says who ran after whom
      factor_agent_first: 1 where the one who runs after comes first
      factor_agent_plural: 1 where several run after
      factor_patient_plural: 1 where several are run after
      factor_adjectives: noun phrases with an adjective
      factor_modifiers: noun phrases with a modifier
      factor_adverb: 0 none, 1 in front, 2 at the end
      factor_words: length [word]
    """
    fit, judge = (x.inputs[:probe_sentences] for x in (dataset.train, dataset.test))
    models, names, scores = [], [], []
    for label, found in networks.items():
        layers, accuracy = _probed(found, fit, judge, probe_members)
        models += [label] * len(layers)
        names += layers
        scores += list(accuracy)
    data = xr.merge([_by_kind(dataset.test, logits), _embeddings(networks)])
    if scores:
        data["probe_accuracy"] = (("layer", "probed", "when", "probe"), np.stack(scores))
        data["probe_baseline"] = (("probe",), baselines(fit, judge))
        data = data.assign_coords(
            layer_model=(("layer",), np.array(models, object)),
            layer_name=(("layer",), np.array(names, object)),
            when=list(WHEN),
            probe=list(PROBES),
        )
    return described(data, word_results)


def _by_kind(test: Split, logits: np.ndarray) -> xr.Dataset:
    """Accuracy for each construction, and for each number of modified noun phrases."""
    right = np.where(np.isfinite(logits).all(-1), logits.argmax(-1) == test.labels, np.nan)
    names = np.array(list(grammar.CONSTRUCTIONS), object)
    kinds = {"construction": names, "modifiers": np.arange(3)}
    data = xr.Dataset(coords=kinds)
    examples = {"construction": list(grammar.CONSTRUCTIONS.values()), "modifiers": list(MODIFIED)}
    for kind, values in kinds.items():
        data[f"{kind}_example"] = ((kind,), np.array(examples[kind], object))
        rows = [test.factors[kind] == k for k in range(len(values))]
        means = [right[..., row].mean(-1) if row.any() else right[..., 0] * np.nan for row in rows]
        data[f"accuracy_by_{kind}"] = (("model", "member", kind), np.stack(means, -1))
        data[f"num_by_{kind}"] = ((kind,), np.array([row.sum() for row in rows]))
    return data.assign({f"factor_{name}": (("example",), x) for name, x in test.factors.items()})


def _embeddings(networks: Mapping[str, Networks]) -> xr.Dataset:
    """The vectors of all words, and which words lie next to one another."""
    tables = {}
    for label, found in networks.items():
        both = [[_table(found.moment(m, w)) for m in range(len(found.alive))] for w in (0, 1)]
        if both[0][0] is not None:
            tables[label] = np.array(both, np.float32)
    if not tables:
        return xr.Dataset()
    widest = max(table.shape[-1] for table in tables.values())
    padded, rows = [], []
    for table in tables.values():
        missing = [(0, 0), (0, 0), (0, 0), (0, widest - table.shape[-1])]
        padded.append(np.pad(table, missing, constant_values=np.nan))
        rows.append([[nearest_words(m, NEIGHBOURS) for m in both] for both in table])
    vectors, nearest = np.stack(padded), np.array(rows, np.int32)
    planes = np.full((len(tables), *vectors.shape[2:4], 2), np.nan, np.float32)
    explained = np.full((len(tables), vectors.shape[2], 2), np.nan, np.float32)
    for n, (label, table) in enumerate(tables.items()):
        if table.shape[-1] > 1:
            alive = networks[label].alive
            planes[n, alive], explained[n, alive] = word_planes(table[1, alive])
    each = ("embedded", "when", "member")
    overlaps = [[neighbour_overlap(both) for both in one] for one in nearest]
    cats, dogs = (np.isin(WORDS, GROUPS[animal]) for animal in ("cats", "dogs"))
    group_of = {word: name for name, words in GROUPS.items() for word in words}
    groups = [group_of.get(word, "other words") for word in WORDS]
    same = [group[nearest[..., group, :]].mean(axis=(-2, -1)) for group in (cats, dogs)]
    return xr.Dataset(
        {
            "embedding": ((*each, "word", "number"), vectors),
            "nearest_word": ((*each, "word", "rank"), nearest),
            "neighbour_overlap": ((*each, "other_member"), np.array(overlaps)),
            "same_animal": (each, np.mean(same, axis=0)),
            "word_plane": (("embedded", "member", "word", "axis"), planes),
            "word_plane_explained": (("embedded", "member", "axis"), explained),
            "word_group": (("word",), np.array(groups, object)),
        },
        {"embedded": np.array(list(tables), object), "when": list(WHEN), "word": list(WORDS)},
    )


def word_planes(
    vectors: Float[np.ndarray, "M V D"],
) -> tuple[Float[np.ndarray, "M V 2"], Float[np.ndarray, "M 2"]]:
    """Draw the words of every member in its own best plane, all planes turned alike.

    Turning and mirroring change no distance within a plane: members are free to use any axes.

    Args:
      vectors: [M, V, D], the words' vectors; D ≥ 2.

    Returns:
      Coordinates [M, V, 2] float64, around the mean word, in units of the vectors, every plane
      after the first turned, and mirrored where that helps, to lie on the first; and [M, 2]
      float64, the fraction of the variance along the two components, in 0..1, descending; zero
      where all words are alike.

    Source: Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem".
    """
    coordinates = np.zeros((*vectors.shape[:2], 2))
    explained = np.zeros((len(vectors), 2))
    for member in range(len(vectors)):
        plane, explained[member] = principal_plane(vectors[[member]])
        coordinates[member] = plane[0]
        if member:
            first, _, second = np.linalg.svd(plane[0].T @ coordinates[0])
            coordinates[member] = plane[0] @ first @ second
    return coordinates, explained


def nearest_words(vectors: Float[np.ndarray, "V D"], count: int) -> Int[np.ndarray, "V {count}"]:
    """Find the words whose vectors point most nearly the same way.

    Args:
      vectors: [V, D].
      count: k, 1..V-1.

    Returns:
      [V, k] indices, the nearest first by cosine similarity, never the word itself; of equally
      near ones the first. A vector of zeros is as near to one as to another.
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]


def neighbour_overlap(nearest: Integer[np.ndarray, "M V k"]) -> Float[np.ndarray, "M M"]:
    """Measure which share of a word's nearest words two members have in common.

    Args:
      nearest: [M, V, k], as `nearest_words` gives them.

    Returns:
      [M, M] float64 in 0..1, mean over the words; 1 on the diagonal. Two members whose neighbours
      have nothing to do with each other have k / (V - 1) in common on average.
    """
    same = nearest[:, None, :, :, None] == nearest[None, :, :, None, :]
    return same.any(axis=-1).mean(axis=(2, 3))


def _table(params: Params) -> np.ndarray | None:
    """Find the vectors of the words in the weights of a formula, [..., V, D]."""
    if isinstance(params, dict) and "table" in params.get("embedding", {}):
        return np.asarray(params["embedding"]["table"])
    return None


def _probed(
    found: Networks, fit: np.ndarray, judge: np.ndarray, most: int
) -> tuple[list[str], np.ndarray]:
    """Probe the layers of a model that have a vector per word: names, and [L, members, 2, P]."""
    layers = layer_shapes(found.model, found.moment(0, 0), fit[:1])
    kept = [k for k, (_, shape) in enumerate(layers) if len(shape) == 2]
    members = min(most, len(found.alive))
    scores = np.full((len(kept), members, len(WHEN), len(PROBES)), np.nan)

    @jax.jit
    def vectors(params: Params, tokens: Any) -> list[jax.Array]:
        features = named_features(found.model, params, tokens)
        return [features[k][1] for k in kept]

    for member, when in np.ndindex(members, len(WHEN)):
        if found.alive[member]:
            params = found.moment(member, when)
            seen, unseen = (jax.device_get(vectors(params, x)) for x in (fit, judge))
            if all(np.isfinite(x).all() for x in (*seen, *unseen)):
                for n, (x, y) in enumerate(zip(seen, unseen, strict=True)):
                    scores[n, member, when] = probe_layer(x, y, fit, judge)
    return [layers[k][0] for k in kept], scores


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
    accuracies = []
    pairs = zip(_questions(fit), _questions(judge), strict=True)
    for (answers, folds), (wanted, wanted_folds) in pairs:
        right = np.zeros(wanted.shape, bool)
        one_hot = np.eye(answers.max() + 1)
        for fold in np.unique(wanted_folds[wanted > 0]):
            learn = (answers > 0) & ((folds != fold) | (folds < 0))
            test = (wanted > 0) & (wanted_folds == fold)
            targets = one_hot[answers[learn]]
            probe = fit_probe(fitted_on[learn], targets, np.zeros(len(one_hot), int))
            right[test] = probe.predict(judged_on[test]).argmax(-1) == wanted[test]
        accuracies.append(right[wanted > 0].mean())
    return np.array(accuracies)


def baselines(fit: np.ndarray, judge: np.ndarray) -> np.ndarray:
    """Accuracy of always saying what is most frequent in `fit`, [P]."""
    found = []
    for (answers, _), (wanted, _) in zip(_questions(fit), _questions(judge), strict=True):
        most = np.bincount(answers[answers > 0]).argmax()
        found.append(np.mean(wanted[wanted > 0] == most))
    return np.array(found)


def _questions(tokens: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give what each probe asks of sentences: (answers, folds), each [N, T].

    Answers are 0 where nothing is asked. A word of fold f ≥ 0 is judged by a probe that was fitted
    on the words of other folds; fold -1: on all.
    """
    found, folds = annotate(tokens), _FOLD_OF[tokens]
    chaser = np.where(found.role > 0, 1 + found.chaser[:, None], 0)
    unseen = np.where(folds >= 0, found.word_class, 0)
    answers = (found.word_class, unseen, found.number, found.role, chaser)
    return [(one, folds if one is unseen else np.full_like(folds, -1)) for one in answers]


# The words of every class of at least FOLDS words are dealt to folds; -1 for the other words.
_FOLD_OF = np.full(len(grammar.VOCABULARY), -1)
for _k in range(1, len(grammar.WORD_CLASSES)):
    if (_words := np.flatnonzero(_k == grammar.CLASS_OF)).size >= FOLDS:
        _FOLD_OF[_words] = np.arange(_words.size) % FOLDS
