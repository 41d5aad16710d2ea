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

NUMBERS = ("", "singular", "plural")
ROLES = ("", "agent", "patient")
_IS_CAT = np.isin(VOCABULARY, CATS + CATS_PLURAL)
_IS_DOG = np.isin(VOCABULARY, DOGS + DOGS_PLURAL)
_NUMBER_OF = 2 * np.isin(VOCABULARY, (*CATS_PLURAL, *DOGS_PLURAL, "were"))
_NUMBER_OF += np.isin(VOCABULARY, (*CATS, *DOGS, *PLACES, "was"))

# Each with 'the cats' running after 'the dogs': the pattern that `write` follows.
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


def divided(variant: int) -> tuple[str, str]:
    """Name the construction of a variant, and which noun phrases are modified."""
    modified, construction = divmod(variant, len(CONSTRUCTIONS))
    return list(CONSTRUCTIONS)[construction], MODIFIED[modified]


def digits(variant: int) -> dict[str, int]:
    """List what is chosen in a variant, and among how many.

    Args:
      variant: 0..NUM_VARIANTS-1: a construction and which noun phrase is modified.

    Returns:
      Name of the choice -> number of possibilities. 'was' and 'were' agree with the one chased
      and would tell it apart, so that in the passive both noun phrases have one number.
    """
    construction, modified = divided(variant)
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


def write(
    variant: int, code: Int[np.ndarray, " N"], chaser: Int[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, "N T"], dict[str, Int[np.ndarray, " N"]]]:
    """Write sentences of one variant.

    Args:
      variant: 0..NUM_VARIANTS-1.
      code: [N], each in 0..num_pairs(variant)-1: the choices, in mixed radix.
      chaser: [N], 0 where the cat runs after the dog, 1 where the dog runs after the cat; the two
        sentences of one code are each other's mirror.

    Returns:
      tokens [N, LENGTH] int32, ids of VOCABULARY, 0 where a sentence has ended, different for
      different (variant, code, chaser); name -> [N], the choice made of each digit of `digits`.
    """
    construction, _ = divided(variant)
    choices, rest = {}, np.asarray(code, np.int64)
    for name, count in digits(variant).items():
        rest, choices[name] = np.divmod(rest, count)
    choices.setdefault("dog_plural", choices["cat_plural"])
    cats, dogs = _noun_phrase("cat", choices), _noun_phrase("dog", choices)
    cat_runs = (chaser == 0)[:, None]
    adverb = np.where(choices["adverb"], ID[ADVERBS[0]] + (choices["adverb"] - 1) // 2, 0)
    at_front = choices["adverb"] % 2 == 1
    chosen = {
        "cats": np.where(cat_runs, cats, dogs),
        "dogs": np.where(cat_runs, dogs, cats),
        "chased": ID[CHASING[0]] + choices["chasing"],
        "slept": ID[RESTING[0]] + choices.get("resting", np.zeros_like(adverb)),
        "were": np.where(choices["cat_plural"], ID["were"], ID["was"]),
    }
    words = [word for word in CONSTRUCTIONS[construction].split() if word != "the"]
    columns = [np.where(at_front, adverb, 0)]
    columns += [chosen.get(word, np.full_like(adverb, ID[word])) for word in words]
    columns += [np.where(at_front, 0, adverb), np.zeros((len(adverb), LENGTH), np.int64)]
    slots = np.concatenate([c if c.ndim == 2 else c[:, None] for c in columns], axis=1)
    places = np.argsort(slots == 0, axis=1, kind="stable")[:, :LENGTH]
    return np.take_along_axis(slots, places, axis=1).astype(np.int32), choices


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


class Annotation(NamedTuple):
    """Facts on every word.

    Attributes:
      word_class: [N, T], index of WORD_CLASSES; 0 where a sentence has ended.
      number: [N, T], index of NUMBERS: of nouns, of the determiner and adjective before them, and
        of 'was' and 'were'; 0 elsewhere.
      role: [N, T], index of ROLES: of the two animals, agent (who runs after) or patient; 0
        elsewhere.
      chaser: [N], 0 where the agent is a cat, 1 where it is a dog.
    """

    word_class: Int[np.ndarray, "N T"]
    number: Int[np.ndarray, "N T"]
    role: Int[np.ndarray, "N T"]
    chaser: Int[np.ndarray, " N"]


def annotate(tokens: Int[np.ndarray, "N T"]) -> Annotation:
    """Annotate sentences as a person who knows the grammar would, by rules that see no label.

    The second animal is the agent where there is a 'by', or where 'that' comes right before its
    noun phrase; everywhere else it is the first.

    Args:
      tokens: [N, T], as `write` makes them.
    """
    rows = np.arange(len(tokens))
    word_class = CLASS_OF[tokens]
    animal = _IS_CAT[tokens] | _IS_DOG[tokens]
    first = animal.argmax(axis=1)
    second = animal.shape[1] - 1 - animal[:, ::-1].argmax(axis=1)
    adjective = WORD_CLASSES.index("adjective")
    determiner = second - 1 - (word_class[rows, second - 1] == adjective)
    second_is_agent = (tokens == ID["by"]).any(axis=1)
    second_is_agent |= tokens[rows, determiner - 1] == ID["that"]
    agent = np.where(second_is_agent, second, first)
    patient = np.where(second_is_agent, first, second)
    role = np.zeros_like(tokens)
    role[rows, agent], role[rows, patient] = 1, 2
    number = _NUMBER_OF[tokens]
    for name in ("adjective", "determiner"):  # each agrees with the word behind it
        here = word_class[:, :-1] == WORD_CLASSES.index(name)
        number[:, :-1] = np.where(here, number[:, 1:], number[:, :-1])
    chaser = _IS_DOG[tokens[rows, agent]].astype(np.int32)
    return Annotation(word_class, number, role, chaser)
