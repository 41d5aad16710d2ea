"""What does every member of a run say of a picture of your own?

Reads pictures (JPEG, PNG, WEBP, GIF, BMP, of any size), cuts and scales them as the run's own were,
and prints for each model how many members vote for each class, the ensemble's probability, and
every member's vote in order.

  python -m experiments.predict --run=runs/init_convergence/NAME cat.jpg dog.png
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from catdog_jax import run
from catdog_jax.analysis.unlike import unlike
from catdog_jax.data.pictures import decode
from catdog_jax.registry import printable, split_list
from catdog_jax.run import Run, open_run
from catdog_jax.run.summary import aligned
from catdog_jax.types import InputError
from experiments import _cli
from experiments._experiment import run_folder


@dataclass(frozen=True)
class Config(_cli.Settings):
    """Settings of predict.

    Attributes:
      run: folder of a finished run of init_convergence; latest: the newest in out_dir
      out_dir: where run folders are
      models: list of the run's models that are code of your own, if any
      pictures: the picture files, after the flags
    """

    run: str = ""
    out_dir: _cli.Operational[str] = "runs"
    models: str = ""
    pictures: tuple[str, ...] = ()


def predict(config: Config) -> None:
    """Print every member's vote on every picture."""
    if not config.run:
        raise InputError("--run is missing; give the run folder that a finished command printed")
    if not config.pictures:
        raise InputError("no picture given; name one or more files after the flags")
    folder = run_folder(config.run, config.out_dir)
    own = split_list("models", config.models) if config.models else ()
    run.begin()
    found = open_run(folder, own=own)
    inputs = found.manifest.get("inputs", {})
    if inputs.get("kind") != "images" or not found.populations:
        raise InputError(
            f"--run={config.run}: no members trained on pictures in it; give a run folder of "
            "init_convergence or layers"
        )
    size, width, _ = inputs["shape"]
    names = [printable(name) or "''" for name in inputs["class_names"]]
    if size != width:
        raise InputError(
            f"--run={config.run}: its pictures are {size} × {width}, and only square ones are cut "
            "out of others; give a run on square pictures"
        )
    images = np.stack([read_picture(path, size) for path in config.pictures])
    known = found.data["picture"].values if "picture" in found.data else images[:0]
    answers, strange = judge(found, images), unlike(images, known)
    for i, path in enumerate(config.pictures):
        print(f"\n{printable(path)} (as {size} × {size} pixels)")
        one = {model: logits[:, i] for model, logits in answers.items()}
        print("\n".join(describe(one, names)))
        if strange[i]:
            print("note: unlike all pictures that the run knows; what is said of it means little")


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


def judge(found: Run, images: np.ndarray) -> dict[str, Array]:
    """Apply every member of every model to pictures.

    Args:
      found: a run.
      images: [B, H, W, 3] uint8.

    Returns:
      Model -> [M, B, K], logits of its members that did not diverge; no model without any.
    """
    answers, pictures = {}, jnp.asarray(images)
    for label, members in found.populations.items():
        if members.alive.any():
            apply = members.model.apply
            params = jax.tree.map(lambda x, own=members.alive: jnp.asarray(x[own]), members.params)
            answers[label] = jax.jit(
                lambda p, apply=apply: jax.lax.map(lambda one: apply(one, pictures), p)
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


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    return _cli.run(argv, Config, predict)


if __name__ == "__main__":
    _cli.command(main)
