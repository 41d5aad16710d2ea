"""How alike are two layers? Linear centred kernel alignment: of the same pictures, not of weights.

Two layers are alike where the same pairs of examples lie close together in both, whichever way the
units are turned or scaled; the layers may have different sizes and belong to different networks.
"""

import numpy as np
from jaxtyping import Float

_BLOCK = 4096  # columns turned into float64 at a time


def centred_gram(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N N"]:
    """Compute the similarities of all pairs of examples, less what each has with all on average.

    The similarity of an example with itself is left out (the U-centred matrix of Székely and Rizzo
    2014): the inner product of two of those, over N(N − 3), is the unbiased estimate HSIC₁.

    Args:
      features: [N, D], N ≥ 4.

    Returns:
      [N, N] float64, symmetric, rows and columns sum to 0.

    Source:
      Song et al. 2012, "Feature selection via dependence maximization", eq. 4.
    """
    num = len(features)
    gram = np.zeros((num, num))
    for start in range(0, features.shape[1], _BLOCK):
        block = features[:, start : start + _BLOCK].astype(np.float64)
        block -= block.mean(axis=0)
        gram += block @ block.T
    np.fill_diagonal(gram, 0.0)
    sums = gram.sum(axis=0)
    gram -= (sums[:, None] + sums[None, :]) / (num - 2)
    gram += sums.sum() / ((num - 1) * (num - 2))
    np.fill_diagonal(gram, 0.0)
    return gram


def gram_cka(grams: Float[np.ndarray, "L NN"]) -> Float[np.ndarray, "L L"]:
    """Compare what every layer makes of the same examples with what every other makes of them.

    The alignment of two layers is the cosine between their centred Gram matrices. As these are
    unbiased, it lies around 0, on either side, for features that have nothing in common.

    Args:
      grams: [L, N²], of `centred_gram`, each in one row.

    Returns:
      [L, L] float64 ≤ 1, symmetric: 1 where one layer is the other turned and scaled; the rows and
      columns of a layer that says the same of all examples are nan.

    Source:
      Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations
      revisited", sec. 3; Nguyen, Raghu, Kornblith 2021, "Do wide and deep networks learn the same
      things?", eq. 3.
    """
    products = (grams @ grams.T).astype(np.float64)
    norms = np.sqrt(np.diag(products))
    scale = norms[:, None] * norms[None, :]
    return np.divide(products, scale, out=np.full_like(products, np.nan), where=scale > 0)
