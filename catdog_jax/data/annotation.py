"""What a person who knows the grammar says of every word of a sentence, and of who chased whom.

These are rules typed in: they read tokens and see no label.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from catdog_jax.data import grammar
from catdog_jax.data.grammar import CLASS_OF, ID, VOCABULARY

NUMBERS = ("", "singular", "plural")
ROLES = ("", "agent", "patient")


class Annotation(NamedTuple):
    """Facts on every word.

    Attributes:
      word_class: [N, T], index of `grammar.WORD_CLASSES`; 0 where a sentence has ended.
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
    """Annotate sentences of the grammar.

    The second animal is the agent where there is a 'by', or where 'that' comes right before its
    noun phrase; everywhere else it is the first.

    Args:
      tokens: [N, T], as `grammar.write` makes them.
    """
    rows = np.arange(len(tokens))
    word_class = CLASS_OF[tokens]
    animal = _IS_CAT[tokens] | _IS_DOG[tokens]
    first = animal.argmax(axis=1)
    second = animal.shape[1] - 1 - animal[:, ::-1].argmax(axis=1)
    adjective = grammar.WORD_CLASSES.index("adjective")
    determiner = second - 1 - (word_class[rows, second - 1] == adjective)
    second_is_agent = (tokens == ID["by"]).any(axis=1)
    second_is_agent |= tokens[rows, determiner - 1] == ID["that"]
    agent = np.where(second_is_agent, second, first)
    patient = np.where(second_is_agent, first, second)
    role = np.zeros_like(tokens)
    role[rows, agent], role[rows, patient] = 1, 2
    return Annotation(word_class, _number(tokens, word_class), role,
                      _IS_DOG[tokens[rows, agent]].astype(np.int32))  # fmt: skip


def _number(tokens: np.ndarray, word_class: np.ndarray) -> np.ndarray:
    number = _NUMBER_OF[tokens]
    classes = grammar.WORD_CLASSES
    for name in ("adjective", "determiner"):  # each agrees with the word behind it
        here = word_class[:, :-1] == classes.index(name)
        number[:, :-1] = np.where(here, number[:, 1:], number[:, :-1])
    return number


_IS_CAT = np.isin(VOCABULARY, grammar.CATS + grammar.CATS_PLURAL)
_IS_DOG = np.isin(VOCABULARY, grammar.DOGS + grammar.DOGS_PLURAL)
_NUMBER_OF = np.select(
    [
        np.isin(VOCABULARY, (*grammar.CATS_PLURAL, *grammar.DOGS_PLURAL, "were")),
        np.isin(VOCABULARY, (*grammar.CATS, *grammar.DOGS, *grammar.PLACES, "was")),
    ],
    [2, 1],
    0,
)
