"""Sentences about cats and dogs, as many as one likes: who ran after whom?

Sentence `i` of seed `s` is a function of (s, i), nothing else; `grammar` says what there is to say.
"""

import numpy as np
from jaxtyping import Float, Int

from catdog_jax.data import grammar
from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.permutation import permuted
from catdog_jax.types import Dataset, DatasetSpec, InputError, Split

CLASS_NAMES = ("cat", "dog")  # who runs after the other
# Sentences of the smallest variant, times the variants: what every seed has, without repetition.
NUM_SENTENCES = 2 * grammar.NUM_VARIANTS * min(map(grammar.num_pairs, range(grammar.NUM_VARIANTS)))
# Where each part's sentence numbers begin. Different numbers are different sentences.
FIRST = {"train": 0, "valid": NUM_SENTENCES // 8 * 4, "test": NUM_SENTENCES // 8 * 6}
MOST = {"train": FIRST["valid"], "valid": FIRST["test"] - FIRST["valid"],
        "test": NUM_SENTENCES - FIRST["test"]}  # fmt: skip


def generate(
    num: int, *, seed: int, first: int = 0
) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, " N"], dict[str, Float[np.ndarray, " N"]]]:
    """Write sentences `first` to `first + num - 1`; in even ones a cat is the chaser.

    Sentences 2p and 2p + 1 are each other's mirror: the same words, the other answer. The variants
    of the grammar take turns; which sentence of a variant comes when is a permutation of all of
    them, so that none comes twice.

    Args:
      num: N ≥ 1.
      seed: 0..2³²-1.
      first: number of the first sentence, 0..NUM_SENTENCES - num.

    Returns:
      tokens [N, 16] int32; labels [N] int32, 0 where a cat runs after a dog, 1 where a dog runs
      after a cat; factors, name -> [N] float32: 'construction' (index of
      `grammar.CONSTRUCTIONS`), 'passive', 'relative', 'agent_first', 'agent_plural' and
      'patient_plural' (0 or 1), 'adjectives' and 'modifiers' (0 to 2), 'adverb' (0 none, 1 in
      front, 2 at the end), 'words' (length).
    """
    number = np.arange(first, first + num)
    pair, labels = number // 2, (number % 2).astype(np.int32)
    tokens = np.zeros((num, grammar.LENGTH), np.int32)
    factors: dict[str, np.ndarray] = {}
    for variant in range(grammar.NUM_VARIANTS):
        here = np.flatnonzero(pair % grammar.NUM_VARIANTS == variant)
        code = permuted(
            pair[here] // grammar.NUM_VARIANTS, grammar.num_pairs(variant),
            seed=seed, stream=variant,
        )  # fmt: skip
        written = grammar.write(variant, code, labels[here])
        tokens[here] = written.tokens
        for name, values in _factors(written, labels[here]).items():
            factors.setdefault(name, np.empty(num, np.float32))[here] = values
    return tokens, labels, factors


def _factors(written: grammar.Sentences, labels: np.ndarray) -> dict[str, np.ndarray]:
    names = np.array(list(grammar.CONSTRUCTIONS))[written.construction]
    choices = written.choices
    cat_plural, dog_plural = choices["cat_plural"], choices["dog_plural"]
    agent_first = np.isin(names, ("active", "subject relative"))
    return {
        "construction": written.construction,
        "passive": np.char.find(names, "passive") >= 0,
        "relative": np.char.find(names, "relative") >= 0,
        "agent_first": agent_first,
        "agent_plural": np.where(labels == 0, cat_plural, dog_plural),
        "patient_plural": np.where(labels == 0, dog_plural, cat_plural),
        "adjectives": (choices["cat_adjective"] > 0).astype(int) + (choices["dog_adjective"] > 0),
        "modifiers": np.array([0, 1, 1, 2])[written.modified],
        "adverb": np.where(choices["adverb"] == 0, 0, 2 - choices["adverb"] % 2),
        "words": (written.tokens > 0).sum(axis=1),
    }


def load(
    *,
    classes: tuple[str, ...] = (),
    image_size: int = 0,
    num_train: int = 4000,
    num_valid: int = 500,
    num_test: int = 1000,
    seed: int = 0,
) -> Dataset:
    """Write train, validation and test sentences; no two of them are alike.

    Args:
      classes: () or ('cat', 'dog').
      image_size: 0; sentences have no pixels.
      num_train, num_valid, num_test: counts, even and ≥ 2: every sentence comes with its mirror,
        so that in every part each bag of words has both answers equally often.
      seed: 0..2³²-1; another seed is another data set.

    Returns:
      The data set; class 0 where a cat is the chaser, 1 where a dog is.

    Raises:
      InputError: a setting out of range.
    """
    if tuple(classes) not in ((), CLASS_NAMES):
        raise InputError(
            f"classes {','.join(classes)!r}: the sentences ask for cat,dog in this order; "
            "leave the classes out or give cat,dog"
        )
    if image_size:
        raise InputError(
            f"--image_size={image_size}: sentences have no pixels; leave --image_size out"
        )
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed} is out of range; give 0 to {2**32 - 1}")
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    parts = {}
    for part, num in counts.items():
        if num < 2 or num % 2 or num > MOST[part]:
            raise InputError(
                f"num_{part}={num} is not allowed: every sentence comes with its mirror; "
                f"give an even number from 2 to {MOST[part]}"
            )
        tokens, labels, factors = generate(num, seed=seed, first=FIRST[part])
        ids = tuple(f"{part}/{i:07d}" for i in range(num))
        parts[part] = Split(tokens, labels, ids, factors)
    provenance = {
        "source": "words",
        "seed": seed,
        **{f"num_{part}": num for part, num in counts.items()},
        "fingerprint": fingerprint(*parts.values()),
    }
    return Dataset(
        "words",
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        class_names=CLASS_NAMES,
        provenance=provenance,
        vocabulary=grammar.VOCABULARY,
    )


DATASETS = {
    "words": DatasetSpec(
        load=load, models="bag_of_words,word_average,word_conv,word_conv:depth=2,word_attention"
    )
}
