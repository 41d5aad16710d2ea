"""Arrays come back bit by bit, and a file that is not what was written is never believed."""

import jax
import ml_dtypes
import numpy as np
import pytest
import scenario

from catdog_jax.store import StoreError, arrays

KINDS = {
    "float32": np.array([1.5, np.nan, -0.0, np.inf], np.float32),
    "bfloat16": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
    "scalar": np.array(2.5, ml_dtypes.bfloat16),
    "int32": np.array([-(2**31), 2**31 - 1], np.int32),
    "bool": np.array([[True], [False]]),
    "empty": np.zeros((4, 0), np.float32),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "text": np.array(["cat", "ü"]),
}


def test_every_kind_of_array_comes_back(tmp_path):
    arrays.write(tmp_path / "x.npz", {"a": KINDS, "b": np.float32(1), "none": None})
    tree = arrays.read(tmp_path / "x.npz")
    assert scenario.same(tree, {"a": KINDS, "b": np.float32(1)})
    with np.load(tmp_path / "x.npz") as found:
        assert np.array_equal(found["a/int32"], KINDS["int32"])
        assert found["a/scalar"]["bfloat16"] == 0x4020
    # The layout in memory leaves no trace in the bytes.
    one, other = (tmp_path / name / "of" / "this" / "x.npz" for name in "yz")
    arrays.write(one, jax.tree.map(np.ascontiguousarray, tree["a"]["fortran"][None]))
    arrays.write(other, KINDS["fortran"][None])
    assert one.read_bytes() == other.read_bytes()


def test_arrays_come_back_into_their_structure(tmp_path):
    tree = ({"a": np.ones((3, 2))}, scenario.params(0), [None, ()])
    arrays.write(tmp_path / "x.npz", tree)
    found = arrays.read(tmp_path / "x.npz")
    assert scenario.same(arrays.restructured(found, tree, "x"), tree)
    for like, words in (({"a": 0}, "holds 0/a"), ((*tree, 0), "lacks 3")):
        with pytest.raises(StoreError, match=f"x {words}: another version of the program"):
            arrays.restructured(found, like, "x")


def test_what_cannot_be_kept_is_refused(tmp_path):
    for leaf, error in ((jax.random.key(0), TypeError), (object(), ValueError)):
        with pytest.raises(error):
            arrays.write(tmp_path / "x.npz", {"a": leaf})
    assert not list(tmp_path.iterdir())


def test_any_damage_is_found_or_harmless(tmp_path):
    path, tree = tmp_path / "x.npz", {"params": {"dense": KINDS["bfloat16"]}, "count": np.int32(7)}
    arrays.write(path, tree)
    content = path.read_bytes()
    messages = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert scenario.same(arrays.read(path), tree)
        except arrays.Damaged as error:
            messages.append(str(error))
    assert len(messages) > len(content) / 2
    assert all(m.startswith(f"{path} is damaged (") and "\n" not in m for m in messages)
    for damaged in (content[: len(content) // 2], content[:-1], b""):
        path.write_bytes(damaged)
        with pytest.raises(arrays.Damaged):
            arrays.read(path)
    path.unlink()
    with pytest.raises(arrays.Damaged, match=r"x\.npz is damaged \(No such file"):
        arrays.read(path)
