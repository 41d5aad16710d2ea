"""Sentences in which a cat runs after a dog or a dog after a cat, and only the order says which.

Six constructions say it ('the cat chased the dog', 'the dog was chased by the cat', …). A sentence
is a construction with two noun phrases, one of cats and one of dogs; exchange the two, and the
words are the same while the answer is the other one. So the grammar consists of pairs of sentences
with one bag of words and both answers: whatever bag of words one is given, either answer is equally
likely, and no formula that counts words can be right more often than a coin.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

CATS = ("cat", "kitten", "tomcat", "tabby")
DOGS = ("dog", "puppy", "hound", "terrier")
_PLURAL = {"tabby": "tabbies", "puppy": "puppies"}
CATS_PLURAL, DOGS_PLURAL = (tuple(_PLURAL.get(n, n + "s") for n in x) for x in (CATS, DOGS))
CHASING = ("chased", "followed", "hunted", "pursued")
RESTING = ("slept", "waited", "jumped", "returned")
ADJECTIVES = ("small", "big", "hungry", "happy", "black", "white")
ADVERBS = ("suddenly", "quietly", "yesterday", "again")
PREPOSITIONS = ("from", "in", "near")
PLACES = ("London", "Paris", "Rome", "Tokyo")
_CLASSES = {
    "noun": (*CATS, *DOGS, *CATS_PLURAL, *DOGS_PLURAL, *PLACES),
    "verb": (*CHASING, *RESTING),
    "adjective": ADJECTIVES,
    "adverb": ADVERBS,
    "preposition": (*PREPOSITIONS, "by"),
    "determiner": ("the", "a", "some"),
    "auxiliary": ("was", "were", "got"),
    "relativiser": ("that",),
}
WORD_CLASSES = ("", *_CLASSES)
VOCABULARY = ("", *(word for words in _CLASSES.values() for word in words))
CLASS_OF = np.array([0, *(k for k, words in enumerate(_CLASSES.values(), 1) for _ in words)])
ID = {word: index for index, word in enumerate(VOCABULARY)}

# Each with 'the cats' running after 'the dogs'.
CONSTRUCTIONS = {
    "active": "the cats chased the dogs",
    "passive": "the dogs were chased by the cats",
    "get passive": "the dogs got chased by the cats",
    "subject relative": "the cats that chased the dogs slept",
    "object relative": "the dogs that the cats chased slept",
    "passive relative": "the dogs that got chased by the cats slept",
}
MODIFIED = ("neither", "cat", "dog", "both")  # the noun phrases with a modifier
NUM_VARIANTS = len(CONSTRUCTIONS) * len(MODIFIED)
LENGTH = 16  # words of the longest sentence

_NOUNS = {
    "cat": np.array([[ID[word] for word in words] for words in (CATS, CATS_PLURAL)]),
    "dog": np.array([[ID[word] for word in words] for words in (DOGS, DOGS_PLURAL)]),
}
_DETERMINERS = np.array([[ID["the"], ID["the"]], [ID["a"], ID["some"]]])  # choice, number
_ADJECTIVES = np.array([0, *(ID[word] for word in ADJECTIVES)])
_MODIFIERS = np.array(
    [[ID[preposition], ID[place]] for preposition in PREPOSITIONS for place in PLACES]
    + [[ID["that"], ID[verb]] for verb in RESTING]
)


class Sentences(NamedTuple):
    """Sentences and how each was made.

    Attributes:
      tokens: [N, LENGTH] int32, ids of VOCABULARY, 0 where a sentence has ended.
      construction: [N], index of CONSTRUCTIONS.
      modified: [N], index of MODIFIED.
      choices: name -> [N], the choice made of each digit of `digits`.
    """

    tokens: Int[np.ndarray, "N T"]
    construction: Int[np.ndarray, " N"]
    modified: Int[np.ndarray, " N"]
    choices: dict[str, Int[np.ndarray, " N"]]


def digits(variant: int) -> dict[str, int]:
    """List what is chosen in a variant, and among how many.

    Args:
      variant: 0..NUM_VARIANTS-1: a construction and which noun phrase is modified.

    Returns:
      Name of the choice -> number of possibilities. 'was' and 'were' agree with the one chased
      and would tell it apart, so that in the passive both noun phrases have one number.
    """
    construction, modified = _divided(variant)
    found = {f"{x}_noun": len(CATS) for x in ("cat", "dog")}
    found |= {"cat_plural": 2} | ({} if construction == "passive" else {"dog_plural": 2})
    found |= {f"{x}_determiner": 2 for x in ("cat", "dog")}
    found |= {f"{x}_adjective": 1 + len(ADJECTIVES) for x in ("cat", "dog")}
    found |= {f"{x}_modifier": len(_MODIFIERS) for x in ("cat", "dog") if modified in (x, "both")}
    found |= {"resting": len(RESTING)} if construction.endswith("relative") else {}
    return found | {"chasing": len(CHASING), "adverb": 1 + 2 * len(ADVERBS)}


def num_pairs(variant: int) -> int:
    """Count the pairs of mirrored sentences of a variant."""
    return math.prod(digits(variant).values())


def write(variant: int, code: Int[np.ndarray, " N"], chaser: Int[np.ndarray, " N"]) -> Sentences:
    """Write sentences of one variant.

    Args:
      variant: 0..NUM_VARIANTS-1.
      code: [N], each in 0..num_pairs(variant)-1: the choices, in mixed radix.
      chaser: [N], 0 where the cat runs after the dog, 1 where the dog runs after the cat; the two
        sentences of one code are each other's mirror.

    Returns:
      Different sentences for different (variant, code, chaser).
    """
    construction, modified = _divided(variant)
    choices, rest = {}, np.asarray(code, np.int64)
    for name, count in digits(variant).items():
        rest, choices[name] = np.divmod(rest, count)
    choices.setdefault("dog_plural", choices["cat_plural"])
    zero = np.zeros_like(rest)
    cats, dogs = _noun_phrase("cat", choices), _noun_phrase("dog", choices)
    agent_first = construction in ("active", "subject relative")
    # The chaser comes first in two of the constructions.
    first_is_cat = ((chaser == 0) == agent_first)[:, None]
    first, second = np.where(first_is_cat, cats, dogs), np.where(first_is_cat, dogs, cats)
    relative = construction.endswith("relative")
    chasing = ID[CHASING[0]] + choices["chasing"]
    adverb = np.where(choices["adverb"], ID[ADVERBS[0]] + (choices["adverb"] - 1) // 2, 0)
    at_front = choices["adverb"] % 2 == 1
    auxiliary = zero
    if construction == "passive":
        auxiliary = np.where(choices["cat_plural"], ID["were"], ID["was"])
    elif construction in ("get passive", "passive relative"):
        auxiliary = zero + ID["got"]
    verb_last = construction == "object relative"
    columns = [
        np.where(at_front, adverb, 0),
        first,
        zero + (ID["that"] if relative else 0),
        auxiliary,
        zero if verb_last else chasing,
        zero + (0 if agent_first or verb_last else ID["by"]),
        second,
        chasing if verb_last else zero,
        ID[RESTING[0]] + choices["resting"] if relative else zero,
        np.where(at_front, 0, adverb),
    ]
    slots = np.concatenate([c if c.ndim == 2 else c[:, None] for c in columns], axis=1)
    places = np.argsort(slots == 0, axis=1, kind="stable")[:, :LENGTH]
    tokens = np.take_along_axis(slots, places, axis=1).astype(np.int32)
    first_index = list(CONSTRUCTIONS).index(construction)
    return Sentences(tokens, zero + first_index, zero + MODIFIED.index(modified), choices)


def text(tokens: Int[np.ndarray, " T"]) -> str:
    """Write one sentence of ids as words."""
    return " ".join(VOCABULARY[i] for i in tokens if i)


def _divided(variant: int) -> tuple[str, str]:
    modified, construction = divmod(variant, len(CONSTRUCTIONS))
    return list(CONSTRUCTIONS)[construction], MODIFIED[modified]


def _noun_phrase(name: str, choices: dict[str, np.ndarray]) -> np.ndarray:
    """Write [N, 5] ids: determiner, adjective or 0, noun, and a modifier of two words or 0."""
    plural = choices[f"{name}_plural"]
    phrase = np.zeros((len(plural), 5), np.int64)
    phrase[:, 0] = _DETERMINERS[choices[f"{name}_determiner"], plural]
    phrase[:, 1] = _ADJECTIVES[choices[f"{name}_adjective"]]
    phrase[:, 2] = _NOUNS[name][plural, choices[f"{name}_noun"]]
    if f"{name}_modifier" in choices:
        phrase[:, 3:] = _MODIFIERS[choices[f"{name}_modifier"]]
    return phrase
