"""A member's keys are a function of its number and three integers."""

import jax
import numpy as np
import pytest

from catdog_jax.population import Members, Seeds, member_keys, parse_vary, varied
from catdog_jax.population.members import STREAMS
from catdog_jax.types import InputError


def words(key):
    return np.asarray(jax.random.key_data(key))


def test_member_7_is_the_same_in_every_population():
    alone = member_keys(Seeds(), varied(8).rows(7, 8))
    for size in (8, 100):
        np.testing.assert_array_equal(
            words(member_keys(Seeds(), varied(size)).init)[7], words(alone.init)[0]
        )


def test_shared_streams_are_one_key_and_that_of_member_0():
    init = member_keys(Seeds(), varied(3))
    others = member_keys(Seeds(), varied(3, ("order", "augment")))
    assert init.order.shape == ()
    assert others.init.shape == ()
    assert others.order.shape == (3,)
    np.testing.assert_array_equal(words(init.order), words(others.order)[0])
    np.testing.assert_array_equal(words(others.init), words(init.init)[0])


def test_streams_of_equal_seeds_differ():
    keys = member_keys(Seeds(5, 5, 5, 5), varied(4, STREAMS))
    together = np.concatenate([words(key) for key in keys[:4]])
    assert len(np.unique(together, axis=0)) == 16


@pytest.mark.parametrize("changed", STREAMS)
def test_a_seed_changes_its_own_stream_only(changed):
    before = member_keys(Seeds(), varied(2))
    after = member_keys(Seeds()._replace(**{changed: 2**32 - 1}), varied(2))
    for name in STREAMS:
        same = np.array_equal(words(getattr(before, name)), words(getattr(after, name)))
        assert same == (name != changed)


def test_threefry_whatever_the_default(monkeypatch):
    with jax.default_prng_impl("rbg"):
        keys = member_keys(Seeds(), varied(3))
    draws = jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys.init)
    assert len(np.unique(np.asarray(draws)[:, 0])) == 3


def test_rows_beyond_the_table_go_on_counting_or_repeat_the_last():
    table = Members(3, {"init": np.arange(3), "order": np.array([0, 0, 5])}, {"gain": np.ones(3)})
    wave = table.rows(2, 5)
    assert wave.streams["init"].tolist() == [2, 3, 4]
    assert wave.streams["order"].tolist() == [5, 5, 5]
    assert wave.settings["gain"].tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="gain has 2 rows"):
        Members(3, {}, {"gain": np.ones(2)})


def test_parse_vary():
    assert parse_vary("augment, init") == ("init", "augment")
    with pytest.raises(InputError, match="unknown entry of --vary: 'ordr'.*did you mean 'order'"):
        parse_vary("ordr")
    with pytest.raises(InputError, match="twice"):
        parse_vary("init,init")
