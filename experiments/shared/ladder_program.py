"""Writes a rung of a finished ladder as a program, and proves that nothing was lost on the way."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.models import linear
from catdog_jax.models.build import build_model
from catdog_jax.models.linear import LinearParams
from catdog_jax.registry import parse_entry
from catdog_jax.store import Run
from catdog_jax.train import normaliser
from catdog_jax.types import Dataset, InputError
from experiments.shared.jobs import Job
from experiments.shared.program import (
    check_program_path,
    check_writable,
    program_text,
    write_program,
)
from experiments.shared.rungs import Rung

COMPARED = 200  # test pictures
NOT_LINEAR = ("knn", "qda")  # of the estimators


def check_program(path: str, name: str, rules: Sequence[Rung], jobs: Sequence[Job]) -> None:
    """Refuse, before any work, a program that could not be written in the end.

    Args:
      path: of the program.
      name: of the rung.
      rules: the programmed rungs.
      jobs: the rungs to be learned.

    Raises:
      InputError: no file can be written there, or the rung's formula is too much to type in.
    """
    check_program_path(path)
    known = {rung.name: rung.is_linear for rung in rules}
    known |= {job.label: job.model.apply is linear.apply for job in jobs}
    known |= {name: False} if parse_entry(name)[0] in NOT_LINEAR else {}
    if not known.get(name, True):
        check_writable(name)


def save_program(path: str, name: str, run: Run, dataset: Dataset) -> str:
    """Write one rung down and compare it with the formula it came from.

    Args:
      path: of the program.
      name: the rung; of a population, its first living member is written.
      run: a finished ladder.
      dataset: of the run.

    Returns:
      One line: where it is, and how far its logits are from the formula's.

    Raises:
      InputError: the rung is no linear classifier and no MLP, or the path cannot be written.
    """
    inputs = run.manifest["inputs"]
    images = dataset.test.inputs[:COMPARED]
    params, mean, std, logits = _found(name, run, images)
    flags = f" --write_program={shlex.quote(Path(path).name)} --program_model={shlex.quote(name)}"
    text = program_text(
        params,
        entry=name,
        input_shape=inputs["shape"],
        class_names=inputs["class_names"],
        mean=mean,
        std=std,
        title=f"The rung {name} of a ladder of {run.data.attrs['dataset']}, as a program",
        command=str(run.manifest["command"]) + flags,
    )
    file = write_program(path, text)
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, str(file), "exec"), program)
    typed = program["logits"](images)
    apart = float(np.abs(typed - logits).max())
    same = int((typed.argmax(1) == logits.argmax(1)).sum())
    return (
        f"program: {file}; the same answer as {name} to {same} of {len(images)} test pictures, "
        f"logits at most {apart:.1e} apart"
    )


def _found(name: str, run: Run, images: np.ndarray) -> tuple[Any, Any, Any, np.ndarray]:
    """Give the params of a rung, the normalisation they expect, and its logits on pictures."""
    if "linear_rung" in run.data and name in run.data["linear_rung"].values:
        one = run.data.sel(linear_rung=name)
        weights = one["weights"].values
        params: Any = LinearParams(weights.reshape(len(weights), -1).T, one["bias"].values)
        pixels = images.astype(np.float32) / np.float32(255)
        return params, None, None, np.asarray(linear.apply(params, jnp.asarray(pixels)))
    inputs = run.manifest["inputs"]
    entry = next((p["entry"] for p in run.manifest["parts"] if p["model"] == name), "")
    if entry and np.isnan(run.data["test_accuracy"].sel(rung=name).values).all():
        raise InputError(f"--program_model={name}: all its members diverged; choose another rung")
    if parse_entry(entry or name)[0] != "mlp":  # `program_text` says what can be written
        return {}, None, None, np.zeros((len(images), 0))
    model = build_model(entry, tuple(inputs["shape"]), len(inputs["class_names"]))
    like = jax.eval_shape(model.init, jax.random.key(0))
    member = int(np.argmin(np.isnan(run.data["test_accuracy"].sel(rung=name).values)))
    params = jax.tree.map(lambda x: x[member], run.params_like(name, like))
    normalised = normaliser(tuple(inputs["mean"]), tuple(inputs["std"]))(jnp.asarray(images))
    return params, inputs["mean"], inputs["std"], np.asarray(model.apply(params, normalised))
