"""Sentences about cats and dogs, as many as one likes: who ran after whom?

Sentence `i` of seed `s` is a function of (s, i), nothing else; `grammar` says what there is to say.
"""

import functools
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int

from catdog_jax.data import grammar
from catdog_jax.data.assemble import check_cat_dog, generated
from catdog_jax.registry import Range
from catdog_jax.types import Dataset, DatasetSpec, InputError

ROUNDS = 6  # of a permutation's network
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # the step of splitmix64
# Sentences of the smallest variant, times the variants: what every seed has, without repetition.
NUM_SENTENCES = 2 * grammar.NUM_VARIANTS * min(map(grammar.num_pairs, range(grammar.NUM_VARIANTS)))
# Where each part's sentence numbers begin. Different numbers are different sentences.
FIRST = {"train": 0, "valid": NUM_SENTENCES // 8 * 4, "test": NUM_SENTENCES // 8 * 6}
MOST = dict(zip(FIRST, np.diff([*FIRST.values(), NUM_SENTENCES]).tolist(), strict=True))


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
        place, size = pair[here] // grammar.NUM_VARIANTS, grammar.num_pairs(variant)
        code = permuted(place, size, seed=seed, stream=variant)
        tokens[here], choices = grammar.write(variant, code, labels[here])
        name, modified = grammar.divided(variant)
        is_cat, plurals = labels[here] == 0, (choices["cat_plural"], choices["dog_plural"])
        known = {
            "construction": list(grammar.CONSTRUCTIONS).index(name),
            "passive": "passive" in name,
            "relative": "relative" in name,
            "agent_first": name in ("active", "subject relative"),
            "agent_plural": np.where(is_cat, *plurals),
            "patient_plural": np.where(is_cat, *plurals[::-1]),
            "adjectives": np.sign(choices["cat_adjective"]) + np.sign(choices["dog_adjective"]),
            "modifiers": {"neither": 0, "both": 2}.get(modified, 1),
            "adverb": np.where(choices["adverb"] == 0, 0, 2 - choices["adverb"] % 2),
            "words": (tokens[here] > 0).sum(axis=1),
        }
        for factor, values in known.items():
            factors.setdefault(factor, np.empty(num, np.float32))[here] = values
    return tokens, labels, factors


def permuted(
    index: Int[np.ndarray, " N"], size: int, *, seed: int, stream: int
) -> Int[np.ndarray, " N"]:
    """Give the places of some numbers in a fixed pseudo-random order of 0..size-1.

    A Feistel network on the smallest even number of bits that holds `size`, repeated where it
    leaves the range: a bijection of 0..size-1, without a table of it.

    Args:
      index: [N], each in 0..size-1.
      size: 1..2⁶².
      seed: 0..2³²-1.
      stream: 0..2³¹-1; another stream of a seed is another order.

    Returns:
      [N] int64, different for different indices.

    Source: Black, Rogaway 2002, "Ciphers with arbitrary finite domains", sec. 4 (cycle walking).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    key = _finalised(np.array([(stream << 32) + seed], np.uint64) + GOLDEN) + GOLDEN
    values = _feistel(index.astype(np.uint64), half, key)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, key)
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half: np.uint64, key: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for number in range(ROUNDS):
        word = _finalised(right + (np.uint64(number) << half) + key)
        left, right = right, left ^ (word & mask)
    return (left << half) | right


def _finalised(word: np.ndarray) -> np.ndarray:
    """Scramble 64 bits (Steele et al. 2014, splitmix64)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def load(
    *,
    classes: tuple[str, ...] = (),
    image_size: int = 0,
    num_train: Annotated[int, Range(2, MOST["train"])] = 4000,
    num_valid: Annotated[int, Range(2, MOST["valid"])] = 500,
    num_test: Annotated[int, Range(2, MOST["test"])] = 1000,
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0,
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
    check_cat_dog(classes)
    if image_size:
        raise InputError(f"--image_size={image_size}: sentences have no pixels; leave it out")
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    for part, num in counts.items():
        if num % 2:
            why = "every sentence comes with its mirror; give an even number"
            raise InputError(f"num_{part}={num} is not allowed: {why}")
    write = functools.partial(generate, seed=seed)
    return generated("words", write, FIRST, counts, {"seed": seed}, grammar.VOCABULARY)


DATASETS = {
    "words": DatasetSpec(
        load=load, models="bag_of_words,word_average,word_conv,word_conv:depth=2,word_attention"
    )
}
