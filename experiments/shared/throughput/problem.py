"""What one competitor is asked to train: the very same for all of them, ready for JSON."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from catdog_jax.models.build import model_spec, recipe_for
from catdog_jax.registry import parse_entry, typed_settings
from catdog_jax.types import Dataset, InputError, Recipe, Split
from experiments.shared.config import TrainConfig

SIDE, CLASSES, EXAMPLES = 32, 2, 10_000
BATCH = {"linear": 128, "mlp": 128, "cnn": 64, "resnet": 64}
# What every competitor can build; other settings keep their defaults.
SETTINGS = {
    "linear": (),
    "mlp": ("depth", "width"),
    "cnn": ("widths", "convs", "kernel_size", "head"),
    "resnet": ("widths", "blocks", "stem_stride", "head"),
}
CHECK_STEPS = 3


class Problem(NamedTuple):
    """One model, so many members of it, and how the engine is to train them.

    Attributes:
      entry: as typed in --models.
      members: how many train.
      seconds: what one sample should last, about.
      precision, strategy: as in an experiment.
      conv: a form of `ops.conv`, or '' for the plan's own.
      side, examples: of the pictures: pixels a side, and how many.
    """

    entry: str
    members: int
    seconds: float
    precision: str = "float32"
    strategy: str = "auto"
    conv: str = ""
    side: int = SIDE
    examples: int = EXAMPLES

    @property
    def family(self) -> str:
        """The model's name without its settings."""
        return parse_entry(self.entry)[0]

    @property
    def has_conv(self) -> bool:
        """Whether the model convolves."""
        return self.family in ("cnn", "resnet")

    @property
    def batch_size(self) -> int:
        """Examples a step."""
        return min(BATCH[self.family], self.examples)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture."""
        return self.side, self.side, 3

    @property
    def recipe(self) -> Recipe:
        """What the model proposes for CIFAR-10: optimiser, learning rate, decay."""
        return recipe_for(self.entry, "cifar10")

    def settings(self) -> Mapping[str, Any]:
        """All settings of the model that a competitor can build, defaults filled in."""
        build = model_spec(self.entry).build
        given = typed_settings(self.entry, build, parse_entry(self.entry)[1])
        defaults = {k: p.default for k, p in inspect.signature(build).parameters.items()}
        found = {name: given.get(name, defaults[name]) for name in SETTINGS[self.family]}
        if self.family == "cnn" and not found["widths"]:
            stages = max(self.side.bit_length() - 1, 1)
            found["widths"] = (32, 64, 128, 128)[:stages]
        return found


def check_entry(entry: str) -> None:
    """Refuse a model that the competitors cannot build.

    Raises:
      InputError: an unknown model, or a setting that is not compared.
    """
    name, given = parse_entry(entry)
    model_spec(entry)
    if name not in SETTINGS:
        raise InputError(f"model {name!r} is not compared; allowed: {', '.join(SETTINGS)}")
    for setting in given:
        if setting not in SETTINGS[name]:
            allowed = ", ".join(SETTINGS[name]) or "none"
            raise InputError(
                f"{entry!r}: {setting} is not compared; settings that every competitor can "
                f"build: {allowed}"
            )


def train_config(problem: Problem) -> TrainConfig:
    """Write the config with which init_convergence would train the problem on CIFAR-10."""
    return TrainConfig(
        dataset="cifar10",
        models=problem.entry,
        num_members=problem.members,
        batch_size=problem.batch_size,
        augment="none",
        precision=problem.precision,
        strategy=problem.strategy,
    )


def random_dataset(problem: Problem) -> Dataset:
    """Draw noise of the size and type of CIFAR-10's cats and dogs; the labels are noise, too."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        inputs = rng.integers(0, 256, (count, *problem.shape), np.uint8)
        labels = rng.integers(0, CLASSES, count).astype(np.int32)
        return Split(inputs, labels, tuple(map(str, range(count))))

    train, test = split(problem.examples), split(min(64, problem.examples))
    return Dataset(
        name="cifar10",
        train=train,
        valid=split(0),
        test=test,
        class_names=("cat", "dog"),
        provenance={"source": "noise", "fingerprint": "noise"},
    )
