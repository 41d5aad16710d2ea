"""A member's three keys, from integer seeds."""

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp

from catdog_jax.registry import unknown
from catdog_jax.train import MemberKeys
from catdog_jax.types import InputError, Key

STREAMS = MemberKeys._fields  # 'init', 'order', 'augment'


class Seeds(NamedTuple):
    """The integers a person types, one per stream, each 0..2**32-1."""

    init: int = 0
    order: int = 0
    augment: int = 0


DEFAULT_SEEDS = Seeds()


def parse_vary(text: str) -> tuple[str, ...]:
    """Read 'init' or 'init,order,augment': the streams that differ between members.

    Returns:
      The names in the order of STREAMS.

    Raises:
      InputError: an unknown stream, or one given twice.
    """
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in STREAMS:
            raise unknown("stream", name, STREAMS, "--vary takes a list of them")
    if len(set(names)) < len(names):
        raise InputError(f"--vary={text}: a stream is given twice; give each once")
    return tuple(name for name in STREAMS if name in names)


def member_keys(
    seeds: Seeds, start: int, stop: int, vary: Collection[str] = ("init",)
) -> MemberKeys:
    """Derive the keys of members start..stop-1.

    Member i of a varied stream has fold_in(stream key, i): the same in any population, wave and
    process. A stream that is not varied is member 0's for everyone, and comes as one single key.

    Args:
      seeds: one integer per stream.
      start, stop: member numbers, 0 <= start < stop.
      vary: names of the streams that differ between members.

    Returns:
      Threefry keys [stop - start] for varied streams, a single key [] for shared ones.
    """
    members = jnp.arange(start, stop, dtype=jnp.uint32)

    def stream(tag: int, seed: int, varied: bool) -> Key:
        # Threefry by name: under 'rbg' a vmapped draw uses the first member's key for all.
        base = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), tag)
        if varied:
            return jax.vmap(lambda member: jax.random.fold_in(base, member))(members)
        return jax.random.fold_in(base, 0)

    return MemberKeys(*(stream(tag, seeds[tag], name in vary) for tag, name in enumerate(STREAMS)))
