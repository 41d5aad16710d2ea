"""One row of the table that says where the members of each model ended."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from catdog_jax.analysis import agreement


class Summary(NamedTuple):
    """Where the members of one model ended; diverged members are counted and left out.

    A number that needs more members than there are (a spread or a pair needs two) is nan.

    Attributes:
      model: the entry of `--models`.
      num_parameters: weights of one member.
      num_members: members that were trained, diverged ones included.
      num_diverged: members that diverged (a loss that was not finite), left out below.
      mean_accuracy, sd_accuracy, min_accuracy, max_accuracy: test accuracy over members, 0..1; the
        standard deviation is that of a sample (ddof = 1).
      balanced_accuracy: mean over members of the mean recall of the classes, 0..1.
      ensemble_accuracy: of the mean probability, 0..1.
      disagreement: mean over pairs of the fraction of examples told apart, 0..1.
      weight_distance: mean over pairs of ‖wᵢ − wⱼ‖.
      relative_weight_distance: mean over pairs of ‖wᵢ − wⱼ‖ / ½(‖wᵢ‖ + ‖wⱼ‖), 0..2.
    """

    model: str
    num_parameters: int
    num_members: int
    num_diverged: int
    mean_accuracy: float
    sd_accuracy: float
    min_accuracy: float
    max_accuracy: float
    balanced_accuracy: float
    ensemble_accuracy: float
    disagreement: float
    weight_distance: float
    relative_weight_distance: float


def summary(
    model: str,
    num_parameters: int,
    *,
    test_accuracy: Float[np.ndarray, " M"],
    logits: Float[np.ndarray, "M N K"],
    labels: Int[np.ndarray, " N"],
    diverged_step: Int[np.ndarray, " M"],
    disagreement: Float[np.ndarray, "M M"],
    weight_distance: Float[np.ndarray, "M M"],
    relative_weight_distance: Float[np.ndarray, "M M"],
) -> Summary:
    """Sum up where the members of one model ended.

    Args:
      model: its name.
      num_parameters: weights of one member.
      test_accuracy: [M], at the last step, 0..1.
      logits: [M, N, K], on the test examples.
      labels: [N].
      diverged_step: [M], -1 for a member that never diverged.
      disagreement: [M, M], of `agreement.pairwise_disagreement`.
      weight_distance, relative_weight_distance: [M, M], of `distance`.

    Returns:
      Summary.
    """
    alive = diverged_step < 0
    accuracy = test_accuracy[alive].astype(np.float64)
    any_alive = accuracy.size > 0
    balanced = agreement.balanced_accuracy(agreement.predictions(logits[alive]), labels)
    return Summary(
        model=model,
        num_parameters=num_parameters,
        num_members=alive.size,
        num_diverged=int((~alive).sum()),
        mean_accuracy=float(accuracy.mean()) if any_alive else np.nan,
        sd_accuracy=float(accuracy.std(ddof=1)) if accuracy.size > 1 else np.nan,
        min_accuracy=float(accuracy.min()) if any_alive else np.nan,
        max_accuracy=float(accuracy.max()) if any_alive else np.nan,
        balanced_accuracy=float(balanced.mean()) if any_alive else np.nan,
        ensemble_accuracy=(
            agreement.ensemble_accuracy(logits[alive], labels) if any_alive else np.nan
        ),
        disagreement=mean_over_pairs(disagreement, alive),
        weight_distance=mean_over_pairs(weight_distance, alive),
        relative_weight_distance=mean_over_pairs(relative_weight_distance, alive),
    )


def mean_over_pairs(values: Float[np.ndarray, "M M"], alive: np.ndarray) -> float:
    """Average a symmetric matrix over the pairs of different members.

    Args:
      values: [M, M].
      alive: [M] bool, the members to use.

    Returns:
      The mean; nan where there are fewer than two members.
    """
    kept = values[np.ix_(alive, alive)].astype(np.float64)
    above = kept[np.triu_indices(len(kept), k=1)]
    return float(above.mean()) if above.size else np.nan
