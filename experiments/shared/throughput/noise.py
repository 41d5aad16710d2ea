"""A data set of noise as large as CIFAR-10's cats and dogs, for jobs of which only the time counts.

It is a data set of one's own for an experiment: --dataset=experiments.shared.throughput.noise.load
"""

import numpy as np

from catdog_jax.types import Dataset, Split

TESTED = 5  # training pictures to each test picture, as in CIFAR-10


def load(*, examples: int = 10_000, side: int = 32) -> Dataset:
    """Draw noise; the labels are noise, too.

    Args:
      examples: training pictures, >= 5; a fifth as many again are for the test.
      side: pixels a side.
    """
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        inputs = rng.integers(0, 256, (count, side, side, 3), np.uint8)
        labels = rng.integers(0, 2, count).astype(np.int32)
        return Split(inputs, labels, tuple(map(str, range(count))))

    train, test = split(examples), split(examples // TESTED)
    return Dataset("noise", train, split(0), test, ("cat", "dog"), {"source": "noise"})
