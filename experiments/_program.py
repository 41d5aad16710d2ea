"""Writes a classifier of a finished ladder as a program, and compares the two."""

import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from catdog_jax.models.linear import LinearParams
from catdog_jax.rules.program import check_writable, program_text
from catdog_jax.run import Population, Run
from catdog_jax.store.atomic import replacing
from catdog_jax.types import Dataset, InputError

COMPARED = 200  # test pictures


def check_program(model: str, names: Collection[str]) -> None:
    """Check that a classifier is there, and can be written.

    Raises:
      InputError: it is not among the names, or is no linear formula and no MLP.
    """
    if model not in names:
        raise InputError(
            f"--program_model={model!r} is no rung of this ladder; give one of {', '.join(names)}"
        )
    check_writable(model)


def check_program_path(path: str) -> Path:
    """Check, before any work, that a program may be written at a path.

    Raises:
      InputError: a folder in place of the file, or no folder to put it in.
    """
    file = Path(os.path.abspath(os.path.expanduser(path)))
    if path.endswith(("/", "\\")) or file.is_dir():
        raise InputError(f"--write_program={path} is a folder; give the name of a file in it")
    if not file.parent.is_dir():
        raise InputError(
            f"--write_program={path}: there is no folder {file.parent}; make it, or give a path in "
            "one that exists"
        )
    return file


def write_program(path: str, text: str) -> Path:
    """Write a program whole or not at all; a file of other content is never replaced.

    Args:
      path: as a person typed it; its folder must exist.
      text: of `program_text`.

    Returns:
      The file.

    Raises:
      InputError: as `check_program_path`, a file of other content, or a place that cannot be
        written to.
    """
    file, content = check_program_path(path), text.encode()
    try:
        if file.exists() and file.read_bytes() != content:
            raise InputError(
                f"--write_program={path}: this file exists and holds something else; nothing was "
                "changed; move it away or give another path"
            )
        with replacing(file) as out:
            out.write(content)
    except OSError as error:
        raise InputError(
            f"--write_program={path} cannot be written ({error.strerror}); give another path"
        ) from error
    return file


def save_program(
    path: str, name: str, run: Run, populations: Mapping[str, Population], data: Dataset
) -> str:
    """Write one classifier down and compare it with the formula it came from.

    Args:
      path: of the program.
      name: the classifier; of a population, its first living member is written.
      run: a finished ladder.
      populations: label -> its learned classifiers.
      data: its pictures.

    Returns:
      One line: where it is, and how far its logits are from the formula's.

    Raises:
      InputError: see `check_program`; or the path cannot be written.
    """
    assert run.data is not None
    check_program(name, [str(rung) for rung in run.data["rung"].values])
    images, params = data.test.inputs[:COMPARED], None
    mean, std = (0.0,) * 3, (1.0,) * 3
    if name in run.data.get("linear_rung", ()):
        found = run.data.sel(linear_rung=name)
        weights = found["weights"].values.reshape(len(data.class_names), -1)
        params = LinearParams(weights.T, found["bias"].values)
        logits = found["linear_logits"].values[: len(images)]
    else:
        learned = populations[name]
        mean, std = learned.entry["inputs"]["mean"], learned.entry["inputs"]["std"]
        params = learned.member(int(np.argmax(learned.alive)))
        logits = np.asarray(learned.model.apply(params, jnp.asarray(images)))
    flags = f" --write_program={shlex.quote(Path(path).name)} --program_model={shlex.quote(name)}"
    text = program_text(
        params,
        model=name,
        input_shape=images.shape[1:],
        class_names=data.class_names,
        mean=mean,
        std=std,
        command=str(run.manifest["command"]) + flags,
    )
    file = write_program(path, text)
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, str(file), "exec"), program)
    typed = program["logits"](images)
    same = int((typed.argmax(1) == logits.argmax(1)).sum())
    return (
        f"program: {file}; the same answer as {name} to {same} of {len(images)} test pictures, "
        f"logits at most {np.abs(typed - logits).max():.1e} apart"
    )
