"""How far the members of a population agree: with the truth, and with one another."""

import numpy as np
from jaxtyping import Float, Int


def predictions(logits: Float[np.ndarray, "*B N K"]) -> Int[np.ndarray, "*B N"]:
    """Name the class of the largest logit.

    Args:
      logits: [..., N, K].

    Returns:
      [..., N] int64 in 0..K-1; the lowest class of an exact tie; -1 where a logit is not finite.
    """
    return np.where(np.isfinite(logits).all(axis=-1), logits.argmax(axis=-1), -1)


def pairwise_disagreement(logits: Float[np.ndarray, "M N K"]) -> Float[np.ndarray, "M M"]:
    """Count, for every two members, the examples that they put into different classes.

    One matrix product of indicators per class: a thousand members take a second.

    Args:
      logits: [M, N, K].

    Returns:
      [M, M] float64, fraction of the N examples in 0..1, symmetric, zero on the diagonal. The row
      and the column of a member with a logit that is not finite are nan.

    Source:
      Fort, Hu, Lakshminarayanan 2019, "Deep ensembles: a loss landscape perspective", sec. 4.
    """
    predicted = predictions(logits)
    num_members, num_examples = predicted.shape
    agreed = np.zeros((num_members, num_members))
    for k in range(logits.shape[-1]):
        chosen = (predicted == k).astype(np.float32)  # counts are exact up to 2**24 examples
        agreed += chosen @ chosen.T
    disagreement = 1.0 - agreed / num_examples
    lost = (predicted < 0).any(axis=1)
    disagreement[lost, :] = np.nan
    disagreement[:, lost] = np.nan
    return disagreement


def ensemble_accuracy(logits: Float[np.ndarray, "M N K"], labels: Int[np.ndarray, " N"]) -> float:
    """Judge the ensemble: the class of the largest mean probability over members.

    Args:
      logits: [M, N, K], finite.
      labels: [N] in 0..K-1.

    Returns:
      Fraction in 0..1; nan where there is no member.

    Source:
      Lakshminarayanan, Pritzel, Blundell 2017, "Simple and scalable predictive uncertainty
      estimation using deep ensembles", sec. 2.4.
    """
    from scipy.special import softmax  # takes 0.2 s to import, before a run begins

    total = np.zeros(logits.shape[1:])
    for member in logits:  # one member at a time: a thousand members need no second copy
        total += softmax(member.astype(np.float64), axis=-1)
    return float((total.argmax(axis=-1) == labels).mean()) if len(logits) else np.nan


def balanced_accuracy(
    predicted: Int[np.ndarray, "*M N"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "*M"]:
    """Average the recall of the classes, so that a rare class counts as much as a common one.

    Args:
      predicted: [N] or [M, N], classes.
      labels: [N]; a class without any example is left out of the average.

    Returns:
      [] or [M] float64 in 0..1.
    """
    recalls = [(predicted[..., labels == k] == k).mean(axis=-1) for k in np.unique(labels)]
    return np.asarray(np.mean(recalls, axis=0))


def votes(logits: Float[np.ndarray, "M N K"]) -> Float[np.ndarray, "N K"]:
    """Count the members that vote for each class.

    Args:
      logits: [M, N, K].

    Returns:
      [N, K] float64, fraction of the members in 0..1; a row sums to 1 where all logits are finite.
    """
    predicted = predictions(logits)
    return np.stack([(predicted == k).mean(axis=0) for k in range(logits.shape[-1])], axis=-1)
