"""What does every member of a run say of a picture of your own?

Reads pictures (JPEG, PNG, WEBP, GIF, BMP, of any size), cuts and scales them as the run's own were,
and prints for each model how many members vote for each class, the ensemble's probability, and
every member's vote in order.

  python -m experiments.predict --run=runs/init_convergence/NAME cat.jpg dog.png
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.data.pictures import decode
from catdog_jax.models.build import build_model
from catdog_jax.store import Run, open_run
from catdog_jax.train import normaliser
from catdog_jax.types import InputError
from experiments.shared import launcher
from experiments.shared.config import setting
from experiments.shared.report import aligned


@dataclass(frozen=True)
class Config:
    """Settings of predict."""

    run: str = setting("", "folder of a finished run of init_convergence")
    pictures: tuple[str, ...] = setting((), "the picture files, after the flags")


class Verdict(NamedTuple):
    """What one model's population says of one picture.

    Attributes:
      model: its entry.
      votes: [M] int, the class each member votes for.
      probability: [K] float, mean softmax probability over members.
    """

    model: str
    votes: np.ndarray
    probability: np.ndarray


def run(config: Config) -> None:
    """Print every member's vote on every picture."""
    if not config.run:
        raise InputError("--run is missing; give the run folder that a finished command printed")
    if not config.pictures:
        raise InputError("no picture given; name one or more files after the flags")
    finished = open_run(config.run)
    inputs = finished.manifest["inputs"]
    if len(inputs["shape"]) != 3 or "model" not in finished.data.dims:
        raise InputError(
            f"--run={config.run}: no members trained on pictures in it; give a run folder of "
            "init_convergence or layers"
        )
    size = inputs["shape"][0]
    images = np.stack([read_picture(path, size) for path in config.pictures])
    names = inputs["class_names"]
    for path, verdicts in zip(config.pictures, judge(finished, images), strict=True):
        print(f"\n{path} (as {size} × {size} pixels)")
        print("\n".join(describe(verdicts, names)))


def read_picture(path: str, size: int) -> np.ndarray:
    """Decode one picture as a run's own pictures are.

    Raises:
      InputError: no such file, or not a picture.
    """
    if not Path(path).is_file():
        raise InputError(f"no picture {path!r}; name a file that exists")
    try:
        return decode(Path(path), size)[0]
    except (OSError, ValueError) as error:
        raise InputError(f"{path!r} cannot be read as a picture ({error})") from error


def judge(finished: Run, images: np.ndarray) -> list[list[Verdict]]:
    """Apply every member of every model to pictures.

    Args:
      finished: a run.
      images: [B, H, W, 3] uint8.

    Returns:
      For each picture one verdict per model that has members left; diverged members have no vote.
    """
    inputs: Mapping[str, Any] = finished.manifest["inputs"]
    pixels = normaliser(tuple(inputs["mean"]), tuple(inputs["std"]))(jnp.asarray(images))
    by_model = []
    entries = {
        part["model"]: part.get("entry", part["model"]) for part in finished.manifest["parts"]
    }
    for entry in finished.params:
        model = build_model(entries[entry], tuple(inputs["shape"]), len(inputs["class_names"]))
        alive = finished.data["diverged_step"].sel(model=entry).values < 0
        if not alive.any():
            continue
        params = finished.params_like(entry, jax.eval_shape(model.init, jax.random.key(0)))
        params = jax.tree.map(lambda x, alive=alive: x[alive], params)
        logits = jax.jit(
            lambda p, apply=model.apply: jax.lax.map(lambda one: apply(one, pixels), p)
        )(params)
        votes, probability = jnp.argmax(logits, -1), jax.nn.softmax(logits).mean(0)
        by_model.append((entry, np.asarray(votes), np.asarray(probability)))
    return [
        [Verdict(entry, votes[:, i], probability[i]) for entry, votes, probability in by_model]
        for i in range(len(images))
    ]


def describe(verdicts: Sequence[Verdict], names: Sequence[str]) -> list[str]:
    """Set the verdicts on one picture in columns."""
    rows = [["model", *(f"votes {name}" for name in names), "ensemble says", "member by member"]]
    for verdict in verdicts:
        counts = np.bincount(verdict.votes, minlength=len(names))
        best = int(verdict.probability.argmax())
        rows.append(
            [
                verdict.model,
                *map(str, counts),
                f"{names[best]} {verdict.probability[best]:.2f}",
                "".join(_letters(names)[vote] for vote in verdict.votes),
            ]
        )
    return aligned(rows)


def _letters(names: Sequence[str]) -> list[str]:
    first = [name[0] for name in names]
    return (
        first if len(set(first)) == len(first) else [chr(ord("A") + i) for i in range(len(names))]
    )


main = functools.partial(launcher.main, "experiments.predict", Config, run)

if __name__ == "__main__":
    main()
