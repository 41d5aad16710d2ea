"""A member's keys are a function of its number and three integers."""

import jax
import numpy as np
import pytest

from catdog_jax.population import Seeds, member_keys, parse_vary
from catdog_jax.types import InputError


def words(key):
    return np.asarray(jax.random.key_data(key))


def test_member_7_is_the_same_in_every_population():
    alone = member_keys(Seeds(), 7, 8)
    for size in (8, 100):
        np.testing.assert_array_equal(
            words(member_keys(Seeds(), 0, size).init)[7], words(alone.init)[0]
        )


def test_shared_streams_are_one_key_and_that_of_member_0():
    shared, varied = member_keys(Seeds(), 0, 3), member_keys(Seeds(), 0, 3, ("order", "augment"))
    assert shared.order.shape == ()
    assert varied.init.shape == ()
    assert varied.order.shape == (3,)
    np.testing.assert_array_equal(words(shared.order), words(varied.order)[0])
    np.testing.assert_array_equal(words(varied.init), words(shared.init)[0])


def test_streams_of_equal_seeds_differ():
    keys = member_keys(Seeds(5, 5, 5), 0, 4, ("init", "order", "augment"))
    together = np.concatenate([words(key) for key in keys])
    assert len(np.unique(together, axis=0)) == 12


@pytest.mark.parametrize("changed", ["init", "order", "augment"])
def test_a_seed_changes_its_own_stream_only(changed):
    before = member_keys(Seeds(), 0, 2)
    after = member_keys(Seeds()._replace(**{changed: 2**32 - 1}), 0, 2)
    for name in before._fields:
        same = np.array_equal(words(getattr(before, name)), words(getattr(after, name)))
        assert same == (name != changed)


def test_threefry_whatever_the_default(monkeypatch):
    with jax.default_prng_impl("rbg"):
        keys = member_keys(Seeds(), 0, 3)
    draws = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys.init)
    assert len(np.unique(np.asarray(draws)[:, 0])) == 3


def test_parse_vary():
    assert parse_vary("augment, init") == ("init", "augment")
    with pytest.raises(InputError, match="unknown stream 'ordr'.*did you mean 'order'"):
        parse_vary("ordr")
    with pytest.raises(InputError, match="twice"):
        parse_vary("init,init")
