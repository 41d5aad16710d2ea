"""A small run, for the tests in this process and for those that kill one."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import xarray as xr

from catdog_jax.store import RunFolder

MODEL = "00_mlp"
RECIPE = {"dataset": "procedural", "learning_rate": 0.1, "num_members": 4, "models": "mlp"}


class Linear(NamedTuple):
    """Stands for a NamedTuple of params."""

    weights: Any
    bias: Any


def params(wave: int, members: int = 2) -> dict[str, Any]:
    """The final params of a wave."""
    rng = np.random.default_rng(200 + wave)
    weights = rng.normal(size=(members, 3, 2)).astype(np.float32)
    return {"dense": Linear(weights, rng.normal(size=(members, 2)).astype(ml_dtypes.bfloat16))}


def state(step: int) -> dict[str, Any]:
    """A training state; its numbers depend on the step."""
    return {"params": params(step), "count": np.array(step, np.int32), "nothing": None}


def observed(wave: int) -> dict[str, np.ndarray]:
    """What a wave observed."""
    logits = np.random.default_rng(100 + wave).normal(size=(2, 5, 2)).astype(np.float32)
    steps = np.array([0, 3], np.int32)
    return {"logits": logits, "diverged_step": np.full(2, -1, np.int32), "steps": steps}


def wave(number: int) -> dict[str, Any]:
    """A wave as it is read back: in nested dicts."""
    return {"observed": observed(number), "params": {"dense": params(number)["dense"]._asdict()}}


def results(folder: RunFolder, waves: int) -> xr.Dataset:
    """The results, from the waves on the disk as the engine does it."""
    kept = [folder.await_wave(MODEL, wave)["observed"] for wave in range(waves)]
    logits = np.concatenate([observed["logits"] for observed in kept])
    return xr.Dataset(
        {"logits": (("model", "member", "example", "class"), logits[None])},
        coords={"model": ["mlp"]},
        attrs={"experiment": "demo", "num_steps": 3},
    )


def same(a: Any, b: Any) -> bool:
    """Whether two pytrees are equal in structure, dtype, shape and every bit."""
    leaves = [[np.asarray(leaf) for leaf in jax.tree.leaves(tree)] for tree in (a, b)]
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
        for x, y in zip(*leaves, strict=True)
    )


def train(out_dir: Path, members: int = 4) -> RunFolder:
    """Carry out, or resume, a run of waves of two members and three steps; returns it closed.

    A step that is not on the disk is "trained" again; what is there is checked bit by bit.
    """
    recipe = RECIPE | {"num_members": members}
    with RunFolder.open_or_create(out_dir / "demo", "x", recipe) as folder:
        if folder.finished:
            return folder
        folder.update_manifest(parts=[{"model": "mlp", "part": MODEL}])
        for wave in range(members // 2):
            if folder.load_wave(MODEL, wave) is not None:
                continue
            begin, tree = folder.load_checkpoint(MODEL, wave, state(0)) or (0, state(0))
            assert same(tree, state(begin))
            for step in range(begin + 1, 4):
                folder.save_checkpoint(MODEL, wave, step, state(step))
            folder.save_wave(MODEL, wave, observed(wave), params(wave))
        folder.write_files([])
        folder.write_results(results(folder, members // 2))
        return folder
