"""How alike are two layers? Linear centred kernel alignment: of the same pictures, not of weights.

Two layers are alike where the same pairs of examples lie close together in both, whichever way the
units are turned or scaled; the layers may have different sizes and belong to different networks.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

FORMS = ("auto", "gram", "features")
_BLOCK = 4096  # columns turned into float64 at a time


def linear_cka(
    x: Float[np.ndarray, "N P"],
    y: Float[np.ndarray, "N Q"],
    *,
    debiased: bool = False,
    form: str = "auto",
) -> float:
    """Compare what two layers make of the same examples.

    Biased: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) with centred columns and Frobenius norms. For features that have
    nothing to do with one another it lies above 0, the more so the fewer the examples: about
    1 / (√(1 + N/P) √(1 + N/Q)) for independent Gaussian ones. Debiased: each ‖·‖² becomes the
    unbiased estimate HSIC₁, so that it lies around 0 there, on either side.

    Args:
      x: [N, P], the examples in one layer.
      y: [N, Q], the same examples in another, in the same order.
      debiased: which of the two.
      form: 'gram' works on [N, N] similarities, 'features' on [P, Q]; 'auto' takes the smaller.
        They differ by rounding only.

    Returns:
      A scalar: 1 where y is x turned and scaled; biased in 0..1, debiased ≤ 1; nan where a layer
      says the same of all examples.

    Raises:
      ValueError: different numbers of examples, fewer than 2 (debiased: 4), or an unknown form.

    Source:
      Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations
      revisited", sec. 3; HSIC₁: Song et al. 2012, "Feature selection via dependence maximization",
      eq. 4; its use here: Nguyen, Raghu, Kornblith 2021, "Do wide and deep networks learn the same
      things?", eq. 3.
    """
    _check(x, y, debiased, form)
    if form == "gram" or (form == "auto" and len(x) < max(x.shape[1], y.shape[1])):
        a, b = centred_gram(x, debiased=debiased), centred_gram(y, debiased=debiased)
        return float(_aligned(np.vdot(a, b), np.vdot(a, a), np.vdot(b, b)))
    hsic = _unbiased if debiased else _biased
    x, y = (z.astype(np.float64) - z.mean(axis=0, dtype=np.float64) for z in (x, y))
    return float(_aligned(hsic(x, y), hsic(x, x), hsic(y, y)))


def cka_matrix(
    layers: Sequence[Float[np.ndarray, "N _"]], *, debiased: bool = False
) -> Float[np.ndarray, "L L"]:
    """Compare every layer with every other.

    Args:
      layers: L ≥ 1 of them, each [N, its size].
      debiased: see `linear_cka`.

    Returns:
      [L, L] float64, symmetric; the rows and columns of a layer that says the same of all examples
      are nan.

    Raises:
      ValueError: as `linear_cka`.
    """
    for layer in layers:
        _check(layers[0], layer, debiased, "gram")
    grams = [centred_gram(layer, debiased=debiased) for layer in layers]
    return gram_cka(np.stack(grams).reshape(len(grams), -1))


def gram_cka(grams: Float[np.ndarray, "L NN"]) -> Float[np.ndarray, "L L"]:
    """Compare every layer with every other, from their centred Gram matrices, each in one row.

    Args:
      grams: [L, N²], of `centred_gram`.

    Returns:
      As `cka_matrix`.
    """
    products = (grams @ grams.T).astype(np.float64)
    norms = np.diag(products)
    return np.asarray(_aligned(products, norms[:, None], norms[None, :]))


def centred_gram(
    features: Float[np.ndarray, "N D"], *, debiased: bool = False
) -> Float[np.ndarray, "N N"]:
    """Compute the similarities of all pairs of examples, less what each has with all on average.

    The alignment of two layers is the cosine between their centred Gram matrices. Debiased, the
    similarity of an example with itself is left out (the U-centred matrix of Székely and Rizzo
    2014): the inner product of two of those, over N(N − 3), is HSIC₁.

    Args:
      features: [N, D], N ≥ 2 (debiased: 4).
      debiased: which of the two.

    Returns:
      [N, N] float64, symmetric, rows and columns sum to 0.
    """
    num = len(features)
    gram = np.zeros((num, num))
    for start in range(0, features.shape[1], _BLOCK):
        block = features[:, start : start + _BLOCK].astype(np.float64)
        block -= block.mean(axis=0)
        gram += block @ block.T
    if not debiased:
        return gram
    np.fill_diagonal(gram, 0.0)
    sums = gram.sum(axis=0)
    gram -= (sums[:, None] + sums[None, :]) / (num - 2)
    gram += sums.sum() / ((num - 1) * (num - 2))
    np.fill_diagonal(gram, 0.0)
    return gram


def _check(x, y, debiased, form):
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} examples: give the same ones in both layers")
    if len(x) < (4 if debiased else 2):
        raise ValueError(f"{len(x)} examples are too few; give {4 if debiased else 2} or more")
    if form not in FORMS:
        raise ValueError(f"form {form!r}; allowed: {', '.join(FORMS)}")


def _aligned(cross, own, other):
    """Divide by the two norms; nan where one is zero."""
    scale = np.sqrt(np.maximum(own, 0.0)) * np.sqrt(np.maximum(other, 0.0))
    return np.where(scale > 0, cross / np.where(scale > 0, scale, 1.0), np.nan)


def _biased(x, y):
    """Return ‖YᵀX‖², columns centred."""
    return np.sum((y.T @ x) ** 2)


def _unbiased(x, y):
    """Return N(N − 3) HSIC₁ without any [N, N] matrix."""
    num = len(x)
    own_x, own_y = np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)
    # Row sums of the Gram matrices without their diagonals; the columns of x and y sum to 0.
    rows_x, rows_y = x @ x.sum(axis=0) - own_x, y @ y.sum(axis=0) - own_y
    trace = np.sum((y.T @ x) ** 2) - own_x @ own_y
    product = rows_x.sum() * rows_y.sum() / ((num - 1) * (num - 2))
    return trace + product - 2.0 * (rows_x @ rows_y) / (num - 2)
