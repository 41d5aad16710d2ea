"""The table of a population: which index each member uses of each stream, and settings of its own.

A member is a function of its row: the same in any population, wave and process.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from catdog_jax.registry import split_list, unknown
from catdog_jax.train import MemberKeys
from catdog_jax.types import InputError, Key

STREAMS = ("init", "order", "augment", "data")


class Seeds(NamedTuple):
    """The integers a person types, one per stream, each 0..2**32-1."""

    init: int = 0
    order: int = 0
    augment: int = 0
    data: int = 0


DEFAULT_SEEDS = Seeds()
MOST_MEMBERS = 10_000_000


@dataclass(frozen=True, eq=False)
class Members:
    """One row a member.

    A crossed grid of streams, a sweep of settings × starts, one start under several recipes are
    tables; none of them compiles anything anew but for the set of names.

    Attributes:
      count: M >= 1, rows.
      streams: name of STREAMS -> [M] indices >= 0. Of a stream that is left out all members use
        index 0, and the program shares what it decides (the batches of 'order' above all).
      settings: name -> [M] numbers, carried as data: 'learning_rate', 'weight_decay', 'momentum'
        (of 'sgd' and 'muon'), 'clip_norm' (0: off), 'label_smoothing', 'gain' (times what `init`
        draws), or what a `start` of a person's own reads. Others are those of the learner.
    """

    count: int
    streams: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and lengths.

        Raises:
          InputError: an unknown stream, or a column of another length than `count`.
        """
        for name in self.streams:
            if name not in STREAMS:
                raise unknown("stream", name, STREAMS)
        for name, column in {**self.streams, **self.settings}.items():
            if np.shape(column) != (self.count,):
                raise InputError(f"{name} has {np.size(column)} rows; give one for each member")

    def rows(self, start: int, stop: int) -> "Members":
        """Take some rows; those beyond the end fill the last wave, and repeat the last one.

        A stream that counts 0, 1, 2, … goes on counting there, so that a table of more members
        finds the wave as it needs it.
        """
        numbers = np.arange(start, stop)
        clipped = np.minimum(numbers, self.count - 1)
        counting = np.arange(self.count)
        return Members(
            stop - start,
            {
                name: numbers if np.array_equal(x, counting) else np.asarray(x)[clipped]
                for name, x in self.streams.items()
            },
            {name: np.asarray(x)[clipped] for name, x in self.settings.items()},
        )


def varied(count: int, vary: Collection[str] = ("init",)) -> Members:
    """Make the usual table: member i uses index i of the streams that vary.

    Args:
      count: M.
      vary: names of STREAMS.

    Raises:
      InputError: more than MOST_MEMBERS.
    """
    if count > MOST_MEMBERS:
        raise InputError(f"{count:,} members are too many; give at most {MOST_MEMBERS:,}")
    return Members(count, {name: np.arange(count) for name in vary})


def parse_vary(text: str) -> tuple[str, ...]:
    """Read 'init' or 'init,order,augment': the streams that differ between members.

    Returns:
      The names in the order of STREAMS.

    Raises:
      InputError: an unknown stream, or one given twice.
    """
    names = split_list("vary", text, STREAMS)
    return tuple(name for name in STREAMS if name in names)


def member_keys(seeds: Seeds, members: Members) -> MemberKeys:
    """Derive what the rows of a table stand for.

    Index i of a stream is fold_in(stream key, i).

    Args:
      seeds: one integer per stream.
      members: the table, or some of its rows.

    Returns:
      Threefry keys [M] for the streams of the table, a single key [] for those that all share; the
      settings as float32 [M].
    """

    indices = {name: np.asarray(x, np.uint32) for name, x in members.streams.items()}
    settings = {name: jnp.asarray(x, jnp.float32) for name, x in members.settings.items()}
    return MemberKeys(**_keys(np.array(seeds, np.uint32), indices), settings=settings)


@jax.jit  # as one program, which the compilation cache keeps
def _keys(seeds: Array, indices: Mapping[str, Array]) -> dict[str, Key]:
    def stream(tag: int, name: str) -> Key:
        # Threefry by name: under 'rbg' a vmapped draw uses the first member's key for all.
        base = jax.random.fold_in(jax.random.key(seeds[tag], impl="threefry2x32"), tag)
        each = jax.vmap(jax.random.fold_in, (None, 0)) if name in indices else jax.random.fold_in
        return each(base, indices.get(name, 0))

    return {name: stream(tag, name) for tag, name in enumerate(STREAMS)}
