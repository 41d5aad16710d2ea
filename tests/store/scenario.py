"""A small run, for the tests in this process and for those that kill one."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import xarray as xr

from catdog_jax.store import RunFolder

PART = "00_mlp"
RECIPE = {"dataset": "procedural", "learning_rate": 0.1, "num_members": 4, "models": "mlp"}


class Linear(NamedTuple):
    """Stands for a NamedTuple of params."""

    weights: Any
    bias: Any


def state(step: int, members: int = 4) -> dict[str, Any]:
    """A training state of every dtype that is checkpointed; its numbers depend on the step."""
    rng = np.random.default_rng(step)
    return {
        "params": {
            "dense": Linear(
                rng.normal(size=(members, 3, 2)).astype(np.float32),
                rng.normal(size=(members, 2)).astype(ml_dtypes.bfloat16),
            )
        },
        "count": np.array(step, np.int32),
        "key": rng.integers(0, 2**32, size=(members, 2), dtype=np.uint32),
        "diverged": np.array([True, False] * (members // 2)),
        "nothing": None,
        "empty": (),
    }


def wave_arrays(wave: int, members: int = 2) -> dict[str, np.ndarray]:
    """What a wave observed."""
    rng = np.random.default_rng(100 + wave)
    return {
        "logits": rng.normal(size=(members, 5, 2)).astype(np.float32),
        "diverged_step": np.full(members, -1, np.int32),
    }


def wave_params(wave: int, members: int = 2) -> dict[str, Any]:
    """The final params of a wave."""
    rng = np.random.default_rng(200 + wave)
    return {
        "dense": Linear(
            rng.normal(size=(members, 3, 2)).astype(np.float32),
            rng.normal(size=(members, 2)).astype(ml_dtypes.bfloat16),
        )
    }


def results(folder: RunFolder, waves: int = 2) -> xr.Dataset:
    """The results, from the waves on the disk as the engine does it."""
    loaded = [folder.load_wave(PART, wave) for wave in range(waves)]
    joined = np.concatenate([arrays["logits"] for arrays in loaded if arrays is not None])
    return xr.Dataset(
        {"logits": (("model", "member", "example", "class"), joined[None])},
        coords={"model": ["mlp"]},
        attrs={"experiment": "demo", "num_steps": 3},
    )


def same(a: Any, b: Any) -> bool:
    """Whether two pytrees are equal in structure, dtype, shape and every bit."""
    flat_a, def_a = jax.tree.flatten(a)
    flat_b, def_b = jax.tree.flatten(b)
    return def_a == def_b and all(
        np.asarray(x).dtype == np.asarray(y).dtype
        and np.shape(x) == np.shape(y)
        and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(flat_a, flat_b, strict=True)
    )


def train(out_dir: Path, members: int = 4) -> RunFolder:
    """Carry out, or go on with, a run of two waves of three steps; returns it closed.

    A step that is not on the disk is "trained" again; what is there is checked bit by bit.
    """
    recipe = RECIPE | {"num_members": members}
    with RunFolder.open(out_dir, "demo", "x", recipe) as folder:
        if folder.finished:
            return folder
        folder.update_manifest(parts=[{"model": "mlp", "part": PART}])
        for wave in range(members // 2):
            if folder.load_wave(PART, wave) is not None:
                continue
            saved = folder.load_checkpoint(PART, wave, state(0))
            begin = 0
            if saved is not None:
                begin, tree = saved
                assert same(tree, state(begin))
            for step in range(begin + 1, 4):
                folder.save_checkpoint(PART, wave, step, state(step))
            folder.save_wave(PART, wave, wave_arrays(wave), wave_params(wave))
        folder.write_files([])
        folder.write_results(results(folder, members // 2))
        return folder
