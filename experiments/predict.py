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

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from catdog_jax.data.pictures import decode
from catdog_jax.store import Run
from catdog_jax.types import InputError
from experiments.shared import launcher
from experiments.shared.attribution_results import build, final_params, open_pictures
from experiments.shared.config import setting
from experiments.shared.report import aligned


@dataclass(frozen=True)
class Config:
    """Settings of predict."""

    run: str = setting("", "folder of a finished run of init_convergence")
    pictures: tuple[str, ...] = setting((), "the picture files, after the flags")


def run(config: Config) -> None:
    """Print every member's vote on every picture."""
    if config.run and not config.pictures:
        raise InputError("no picture given; name one or more files after the flags")
    finished = open_pictures(config.run, "init_convergence or layers")
    inputs = finished.manifest["inputs"]
    size = inputs["shape"][0]
    images = np.stack([read_picture(path, size) for path in config.pictures])
    names = inputs["class_names"]
    answers = judge(finished, images)
    for i, path in enumerate(config.pictures):
        print(f"\n{path} (as {size} × {size} pixels)")
        one = {model: logits[:, i] for model, logits in answers.items()}
        print("\n".join(describe(one, names)))


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


def judge(finished: Run, images: np.ndarray) -> dict[str, Array]:
    """Apply every member of every model to pictures.

    Args:
      finished: a run.
      images: [B, H, W, 3] uint8.

    Returns:
      Model -> [M, B, K], logits of its members that did not diverge; no model without any.
    """
    answers, pixels = {}, jnp.asarray(images)
    for label in finished.params:
        alive = finished.data["diverged_step"].sel(model=label).values < 0
        if alive.any():
            model = build(finished, label)
            params = final_params(finished, label, model, alive)
            answers[label] = jax.jit(
                lambda p, apply=model.apply: jax.lax.map(lambda one: apply(one, pixels), p)
            )(params)
    return answers


def describe(answers: Mapping[str, Array], names: Sequence[str]) -> list[str]:
    """Set what the members say of one picture in columns.

    Args:
      answers: model -> [M, K], their logits.
      names: of the K classes.
    """
    letters = [name[0] for name in names]
    if len(set(letters)) < len(letters):
        letters = [chr(ord("A") + i) for i in range(len(names))]
    rows = [["model", *(f"votes {name}" for name in names), "ensemble says", "member by member"]]
    for model, logits in answers.items():
        votes = np.asarray(jnp.argmax(logits, -1))
        probability = np.asarray(jax.nn.softmax(logits).mean(0))
        best = int(probability.argmax())
        counts = map(str, np.bincount(votes, minlength=len(names)))
        says = f"{names[best]} {probability[best]:.2f}"
        rows.append([model, *counts, says, "".join(letters[vote] for vote in votes)])
    return aligned(rows)


main = functools.partial(launcher.main, "experiments.predict", Config, run)

if __name__ == "__main__":
    main()
