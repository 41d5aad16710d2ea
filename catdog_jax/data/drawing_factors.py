"""What a drawing of a cat or a dog is made of: about forty numbers, none of which decides.

Twelve *cues* (ears, muzzle, whiskers, …) each lean towards cat or dog. In every picture a few of
them, chosen at random, lean the wrong way (a dog with upright ears, a cat with folded ones), but
the true ones always outnumber the false: one cue says little, all of them together nearly all.
"""

import numpy as np
from jaxtyping import Float, Int

DEFAULT_DIFFICULTY = 0.5

Scalar = Float[np.ndarray, "..."]  # one number a picture
Factors = dict[str, Scalar]

# Rows of three: cues of one row seldom mislead in the same picture.
CUES = (
    *("ear_hang", "muzzle", "whiskers"),
    *("nose", "head", "mouth"),
    *("pupils", "eyes", "nose_colour"),
    *("ear_shape", "body", "coat"),
)

# name: (cue it follows, value on the dog's side, value on the cat's side, own spread)
CUED = {
    "ear_hang": ("ear_hang", 0.92, 0.0, 0.08),
    "ear_angle": ("ear_hang", 0.55, 0.30, 0.10),
    "ear_length": ("ear_shape", 1.25, 0.85, 0.12),
    "ear_round": ("ear_shape", 0.75, 0.05, 0.12),
    "muzzle_length": ("muzzle", 1.0, 0.05, 0.12),
    "muzzle_width": ("muzzle", 0.50, 0.36, 0.04),
    "nose_size": ("nose", 0.245, 0.105, 0.02),
    "nose_triangle": ("nose", 0.15, 0.95, 0.12),
    "nose_pink": ("nose_colour", 0.0, 0.9, 0.10),
    "pupil_width": ("pupils", 0.92, 0.22, 0.10),
    "eye_slant": ("pupils", -0.08, 0.30, 0.08),
    "eye_size": ("eyes", 0.165, 0.245, 0.015),
    "iris_hue": ("eyes", 0.08, 0.26, 0.025),
    "whisker_length": ("whiskers", 0.05, 0.80, 0.10),
    "head_width": ("head", 0.84, 1.04, 0.04),
    "cheek_width": ("head", 0.62, 0.98, 0.05),
    "tongue": ("mouth", 0.75, 0.0, 0.10),
    "body_width": ("body", 1.25, 0.80, 0.08),
}

# Furs that people know: hue, saturation, value.
FURS = (
    (0.075, 0.78, 0.90),  # ginger
    (0.085, 0.55, 0.62),  # brown
    (0.060, 0.62, 0.42),  # chocolate
    (0.110, 0.42, 0.88),  # golden
    (0.100, 0.16, 0.94),  # cream
    (0.600, 0.08, 0.62),  # grey
    (0.610, 0.14, 0.46),  # slate
    (0.080, 0.10, 0.24),  # black
)
FUR_ODDS = ((1.5, 0.8, 0.5, 0.7, 1.0, 1.3, 1.1, 1.1), (0.8, 1.4, 1.2, 1.4, 1.0, 0.7, 0.7, 0.8))
PATTERNS = ("solid", "tabby", "patches", "spots")
PATTERN_ODDS = ((0.24, 0.46, 0.20, 0.10), (0.34, 0.14, 0.32, 0.20))


NUM_UNIFORM = len(CUED) + 25 + len(CUES) // 3 + len(CUES)  # random numbers of a picture


def sample_factors(
    u: Float[np.ndarray, "59 ..."],
    label: Int[np.ndarray, "..."],
    difficulty: float = DEFAULT_DIFFICULTY,
) -> Factors:
    """Make the numbers that describe each picture.

    Args:
      u: random, uniform in 0..1, NUM_UNIFORM of each picture.
      label: 0 cat, 1 dog.
      difficulty: 0 (every cue true, calm background, upright pose) to 1.

    Returns:
      name -> float32, shaped like `label`. Lengths are in head radii, positions in half pictures (x
      right, y up), angles in radians, colours and strengths in 0..1, `pattern` an index into
      PATTERNS.
    """
    own, u = 4.0 * u[: len(CUED)] - 2.0, u[len(CUED) :]
    hard = np.float32(difficulty)
    cues = _lean(u[24], u[25 : -len(CUES)], u[-len(CUES) :], label, hard)
    factors = {}
    for i, (name, (cue, dog, cat, spread)) in enumerate(CUED.items()):
        towards_cat = 0.5 + 0.5 * cues[CUES.index(cue)]
        factors[name] = dog + (cat - dog) * towards_cat + spread * own[i]
    for name in ("ear_hang", "ear_round", "nose_pink", "nose_triangle", "tongue", "muzzle_length"):
        factors[name] = np.clip(factors[name], 0.0, 1.0)
    factors["whisker_length"] = np.maximum(factors["whisker_length"], 0.0)
    factors["pupil_width"] = np.clip(factors["pupil_width"], 0.15, 1.0)
    factors |= _coat(u[:8], cues[CUES.index("coat")])
    return factors | _scene(2.0 * u[8:15] - 1.0, u[15:24], hard)


def _lean(
    u_count: Scalar,
    u_rows: Float[np.ndarray, "rows ..."],
    u_size: Float[np.ndarray, "cues ..."],
    label: Int[np.ndarray, "..."],
    hard: np.float32,
) -> Float[np.ndarray, "cues ..."]:
    """Draw how far each cue leans: near 1 towards cat, near -1 towards dog."""
    # 0 at difficulty 0; 1 to 4, seldom 5, at 0.5; 2 to 5 of twelve at 1.
    spread = np.minimum(1.0 + 6.4 * hard, 4.4 - 0.4 * hard)
    false_cues = np.floor(2.0 * hard + spread * u_count)
    # Three points a third apart: at most one of a row is low, each as often as the others.
    thirds = np.arange(3, dtype=np.float32).reshape(-1, *[1] * label.ndim) / 3
    u_which = ((u_rows[:, None] + thirds) % 1.0).reshape(-1, *label.shape)
    rank = np.sum(u_which[:, None] > u_which[None, :], axis=1)
    true = np.where(rank < false_cues, np.float32(-1), np.float32(1))
    size = 1.0 - 0.8 * hard * u_size
    return np.where(label == 0, np.float32(1), np.float32(-1)) * true * size


def _choose(u: Scalar, odds: Float[np.ndarray, "K ..."]) -> Int[np.ndarray, "..."]:
    """Pick an index with the given odds."""
    return np.sum(u * odds.sum(0) >= odds.cumsum(0)[:-1], axis=0)


def _coat(u: Float[np.ndarray, "8 ..."], lean: Scalar) -> Factors:
    """Draw fur and pattern; the cue only shifts the odds."""
    dog_like = np.where(lean > 0.0, 0, 1)
    fur = _choose(u[0], np.array(FUR_ODDS, np.float32).T[:, dog_like])
    hue, saturation, value = np.array(FURS, np.float32).T[:, fur]
    jitter = 2.0 * u[1:4] - 1.0
    pattern = _choose(u[4], np.array(PATTERN_ODDS, np.float32).T[:, dog_like])
    return {
        "fur_hue": hue + 0.015 * jitter[0],
        "fur_saturation": np.clip(saturation + 0.08 * jitter[1], 0.0, 1.0),
        "fur_value": np.clip(value + 0.07 * jitter[2], 0.1, 0.97),
        "pattern": pattern.astype(np.float32),
        "pattern_strength": 0.55 + 0.45 * u[5],
        "white": np.where(u[6] < 0.55, 0.5 + 0.5 * u[7], 0.0),
    }


def _scene(
    pose: Float[np.ndarray, "7 ..."], u: Float[np.ndarray, "9 ..."], hard: np.float32
) -> Factors:
    """Place and turn the head; set light, background, noise and what stands in the way."""
    occluded = u[5] < 0.6 * hard
    return {
        "head_x": (0.06 + 0.60 * hard) * pose[0],
        "head_y": -0.02 + (0.04 + 0.44 * hard) * pose[1],
        "scale": 0.52 * np.exp((0.06 + 0.50 * hard) * pose[2]),
        "tilt": (0.06 + 0.90 * hard) * pose[3],
        "yaw": (0.10 + 1.10 * hard) * pose[4],
        "ear_asymmetry": (0.04 + 0.30 * hard) * pose[5],
        "eye_open": 0.98 - (0.04 + 0.30 * hard) * 0.5 * (1.0 + pose[6]),
        "light_angle": np.pi * (2.0 * u[0] - 1.0),
        "light_strength": (0.25 + 0.9 * hard) * (0.2 + 0.8 * u[1]),
        "background_hue": u[2],
        "background_value": 0.62 + (0.15 + 0.65 * hard) * (u[3] - 0.5),
        "clutter": np.minimum(1.6 * hard, 1.0) * u[4],
        "occlusion": np.where(occluded, 0.15 + 0.5 * hard * u[6], 0.0),
        "noise": 0.005 + 0.09 * hard * u[7],
        "collar": np.where(u[8] < 0.5, 2.0 * u[8], 0.0),
    }
