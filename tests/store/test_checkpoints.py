"""Checkpoints come back bit by bit, and damage is named and stepped over."""

import logging

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from catdog_jax.store import StoreError


def steps(folder):
    place = folder.path / "checkpoints" / "00_mlp" / "wave_00000"
    return sorted(entry.name for entry in place.iterdir())


@pytest.mark.parametrize(
    "array",
    [
        np.linspace(-1, 1, 7, dtype=np.float32),
        np.array([1.5, np.nan, -0.0, np.inf], np.float32),
        np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
        np.array([-(2**31), 2**31 - 1], np.int32),
        np.array([0, 2**32 - 1], np.uint32),
        np.array([[True], [False]]),
        np.array(3, np.int32),
        np.array(2.5, ml_dtypes.bfloat16),
        np.zeros((4, 0), np.float32),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(10, dtype=np.float32)[::2],
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_every_dtype_comes_back(folder, scenario, array):
    folder.save_checkpoint("00_mlp", 0, 5, {"a": array})
    step, tree = folder.load_checkpoint("00_mlp", 0, {"a": np.zeros_like(array)})
    assert step == 5
    assert isinstance(tree["a"], np.ndarray)
    assert scenario.same(tree, {"a": array})


def test_training_state_comes_back_into_its_structure(folder, scenario):
    folder.save_checkpoint("00_mlp", 0, 3, scenario.state(3))
    assert folder.load_checkpoint("00_mlp", 0, scenario.state(0))[0] == 3
    tree = folder.load_checkpoint("00_mlp", 0, scenario.state(0))[1]
    assert type(tree["params"]["dense"]).__name__ == "Linear"
    assert tree["nothing"] is None
    assert tree["empty"] == ()
    assert scenario.same(tree, scenario.state(3))


def test_adam_state_comes_back_and_steps_on_alike(folder, scenario):
    params = {"a.b": jnp.ones((3, 2)), "a": {"b": jnp.zeros(2)}}
    labels = {"a.b": "on", "a": {"b": "off"}}  # partition leaves MaskedNodes in the state
    tx = optax.partition({"on": optax.adam(0.1), "off": optax.set_to_zero()}, labels)
    grads = jax.tree.map(jnp.ones_like, params)
    _, opt_state = tx.update(grads, tx.init(params), params)
    folder.save_checkpoint("00_mlp", 0, 1, jax.device_get((params, opt_state)))
    _, (_, loaded) = folder.load_checkpoint("00_mlp", 0, (params, tx.init(params)))
    assert scenario.same(loaded, opt_state)
    assert scenario.same(tx.update(grads, loaded, params), tx.update(grads, opt_state, params))


def test_like_may_be_abstract(folder, scenario):
    folder.save_checkpoint("00_mlp", 0, 1, scenario.state(1))
    like = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, scenario.state(0)))
    assert scenario.same(folder.load_checkpoint("00_mlp", 0, like)[1], scenario.state(1))


@pytest.mark.parametrize("tree", [{}, (), None, {"a": optax.EmptyState()}], ids=str)
def test_a_tree_without_leaves_comes_back(folder, tree):
    folder.save_checkpoint("00_mlp", 0, 0, tree)
    assert folder.load_checkpoint("00_mlp", 0, tree) == (0, tree)


def test_last_two_are_kept(folder):
    for step in (2, 9, 10, 100):
        folder.save_checkpoint("00_mlp", 0, step, {"a": np.float32(step)})
    assert steps(folder) == ["10", "100"]
    assert folder.load_checkpoint("00_mlp", 0, {"a": np.float32(0)}) == (100, {"a": 100.0})


def test_a_step_may_be_saved_again(folder):
    for value in (1.0, 2.0):
        folder.save_checkpoint("00_mlp", 0, 7, {"a": np.float32(value)})
    assert steps(folder) == ["7"]
    assert folder.load_checkpoint("00_mlp", 0, {"a": np.float32(0)}) == (7, {"a": 2.0})


def test_waves_and_parts_are_apart(folder):
    for part, wave, value in [("00_a", 0, 1), ("00_a", 1, 2), ("01_a", 0, 3)]:
        folder.save_checkpoint(part, wave, 1, {"a": np.int32(value)})
    like = {"a": np.int32(0)}
    assert folder.load_checkpoint("00_a", 1, like) == (1, {"a": 2})
    assert folder.load_checkpoint("01_a", 0, like) == (1, {"a": 3})
    assert folder.load_checkpoint("01_a", 1, like) is None


def test_typed_keys_and_objects_are_refused(folder):
    with pytest.raises(TypeError):
        folder.save_checkpoint("00_mlp", 0, 1, {"key": jax.random.key(0)})
    with pytest.raises(TypeError, match="leaf a/0 is object"):
        folder.save_checkpoint("00_mlp", 0, 1, {"a": [object()]})


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"a": np.zeros(3, np.float32)}, r"holds b: another version"),
        ({"a": np.zeros(3, np.float32), "b": 0, "c": 0}, r"lacks c: another version"),
        ({"a": np.zeros(4, np.float32), "b": 0}, r"holds a as float32\[3\], not float32\[4\]"),
        ({"a": np.zeros(3, np.int32), "b": 0}, r"holds a as float32\[3\], not int32\[3\]"),
    ],
)
def test_another_structure_is_refused_and_kept(folder, like, message):
    folder.save_checkpoint("00_mlp", 0, 1, {"a": np.zeros(3, np.float32), "b": 0})
    with pytest.raises(StoreError, match=message):
        folder.load_checkpoint("00_mlp", 0, like)
    assert steps(folder) == ["1"]


def test_orbax_is_quiet(folder, caplog, scenario):
    with caplog.at_level(logging.DEBUG, "absl"):
        folder.save_checkpoint("00_mlp", 0, 1, scenario.state(1))
        folder.load_checkpoint("00_mlp", 0, scenario.state(0))
        logging.getLogger("absl").info("someone else")
    assert caplog.messages == ["someone else"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def files_of(checkpoint):
    return sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.stat().st_size)


def damage_leaves(checkpoint):
    flip(max(files_of(checkpoint / "arrays"), key=lambda p: p.stat().st_size))


def truncate_leaves(checkpoint):
    largest = max(files_of(checkpoint / "arrays"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])


def remove_index(checkpoint):
    (checkpoint / "index.json").unlink()


def change_index(checkpoint):
    index = checkpoint / "index.json"
    index.write_text(index.read_text().replace('"count"', '"cound"'))


def halve(checkpoint):
    for path in files_of(checkpoint)[::2]:
        path.unlink()


def empty(checkpoint):
    for path in files_of(checkpoint):
        path.unlink()


def another_step(checkpoint):
    for path in files_of(checkpoint):
        path.unlink()
    source = checkpoint.with_name("1")
    for path in files_of(source):
        target = checkpoint / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


DAMAGES = [
    damage_leaves, truncate_leaves, remove_index, change_index, halve, empty, another_step
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(folder, scenario, caplog, damage):
    for step in (1, 2):
        folder.save_checkpoint("00_mlp", 0, step, scenario.state(step))
    newest = folder.path / "checkpoints/00_mlp/wave_00000/2"
    damage(newest)
    step, tree = folder.load_checkpoint("00_mlp", 0, scenario.state(0))
    assert step == 1
    assert scenario.same(tree, scenario.state(1))
    (record,) = [r for r in caplog.records if r.name == "catdog_jax.store"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"checkpoint {newest} is damaged (")
    assert "\n" not in record.getMessage()
    # The damaged one no longer counts as one of the two.
    folder.save_checkpoint("00_mlp", 0, 2, scenario.state(2))
    assert steps(folder) == ["1", "2", "damaged-2"]


def test_a_flipped_byte_in_any_file_is_found(folder, scenario):
    folder.save_checkpoint("00_mlp", 0, 1, scenario.state(1))
    checkpoint = folder.path / "checkpoints/00_mlp/wave_00000/1"
    damaged = 0
    for path in files_of(checkpoint):
        before = path.read_bytes()
        flip(path)
        loaded = folder.load_checkpoint("00_mlp", 0, scenario.state(0))
        assert loaded is None
        damaged += 1
        checkpoint.with_name("damaged-1").rename(checkpoint)
        path.write_bytes(before)
    assert damaged == len(files_of(checkpoint)) > 3


def test_without_a_usable_checkpoint_the_wave_starts_again(folder, scenario, caplog):
    for step in (1, 2):
        folder.save_checkpoint("00_mlp", 0, step, scenario.state(step))
        remove_index(folder.path / f"checkpoints/00_mlp/wave_00000/{step}")
    assert folder.load_checkpoint("00_mlp", 0, scenario.state(0)) is None
    assert [r.getMessage().split(" ")[0] for r in caplog.records] == ["checkpoint"] * 2 + ["no"]
