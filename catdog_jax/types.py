"""The few structures that every room of the house shares.

Axis letters: M members, T steps, E evaluations, B batch, H W C image, K classes, N examples,
L layers, D weights.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

Key = Array  # one typed key of jax.random.key (Threefry)
Params = Any  # a pytree of float arrays
Inputs = Array  # images [B, H, W, C] 0..255, uint8 or float32; token ids [B, T] int32; vectors
Logits = Array  # [B, K] float32


class InputError(ValueError):
    """Something a person typed cannot be used.

    The message is one line that names the value, what is allowed, and what to do. The launcher
    prints it on standard error and leaves with exit status 2.
    """


class First(NamedTuple):
    """The first layer of a formula, of which those of several members can be computed as one.

    Its output channels have nothing to do with each other, so that layers whose params are joined
    along the last axis are one layer of more channels.

    Attributes:
      name: of its params, `params[name]`.
      apply: (these params, inputs [B, ...]) -> [B, ..., channels].
      rest: (params, that) -> logits; `rest(params, apply(params[name], inputs))` is the formula.
    """

    name: str
    apply: Callable[[Params, Inputs], Array]
    rest: Callable[[Params, Array], Logits]


class Units(NamedTuple):
    """The hidden units of a formula: they may be numbered in any order, group by group.

    Attributes:
      axes: path of an array of weights, 'hidden1/kernel' -> what its last axes count, apart by
        spaces: the name of a group of units, or '-'. Axes of one name are numbered alike; one of n
        times as many numbers as the group has units counts n places of all of them, units fastest
        (a flattened image). An array that is not named counts no units. In the order in which the
        layers are computed.
      outputs: (params, inputs) -> path of each layer -> what it makes of them, before norm and
        activation, [B, ..., units].
      first: the first layer, where it is linear in its weights and apart; else None.
    """

    axes: Mapping[str, str]
    outputs: Callable[[Params, Inputs], Mapping[str, Array]]
    first: First | None = None


class Model(NamedTuple):
    """A formula: how weights are drawn and how they turn inputs into logits.

    Attributes:
      init: key -> params.
      apply: (params, inputs [B, ...]) -> logits [B, K] float32.
      features: (params, inputs) -> ((name, array [B, ...]), ...), input first, logits last;
        None where a person gave only `init` and `apply`.
      first: its first layer apart; None where there is no such layer.
      units: its hidden units; None where they are not known, or cannot be numbered anew.
    """

    init: Callable[[Key], Params]
    apply: Callable[[Params, Inputs], Logits]
    features: Callable[[Params, Inputs], tuple[tuple[str, Array], ...]] | None = None
    first: First | None = None
    units: Units | None = None


class Data(NamedTuple):
    """Examples as the engine sees them: pictures or words, it does not know which.

    Attributes:
      inputs: [N, ...], any dtype (pictures: uint8 [N, H, W, 3]).
      labels: [N] int32 in 0..K-1; float32 where numbers are to be predicted (regression); or
        [N, K] float32, a probability of each class.
    """

    inputs: Num[Array, "N ..."] | Num[np.ndarray, "N ..."]
    labels: Num[Array, "N *K"] | Num[np.ndarray, "N *K"]


def input_kind(inputs: Num[np.ndarray, "N ..."] | Num[Array, "N ..."]) -> str:
    """Return 'images' for [N, H, W, C], 'tokens' for integers [N, T], 'vectors' for [N, D]."""
    if inputs.ndim == 4:
        return "images"
    return "tokens" if np.issubdtype(inputs.dtype, np.integer) else "vectors"


@dataclass(frozen=True)
class Split:
    """One part of a data set, in memory.

    Attributes:
      inputs: pictures [N, H, W, 3] uint8; sentences [N, T] int32, 0 where one has ended; or
        vectors [N, D] float32.
      labels: [N] int32 in 0..K-1; to learn from, [N, K] float32 too, a probability of each class.
      ids: N stable names, one per example (file path, record id, or drawing number).
      factors: what is known about each example besides its class, each [N] float32
        (drawn pictures and written sentences only).
    """

    inputs: UInt8[np.ndarray, "N H W 3"] | Int[np.ndarray, "N T"] | Float[np.ndarray, "N D"]
    labels: Int[np.ndarray, " N"] | Float[np.ndarray, "N K"]
    ids: tuple[str, ...]
    factors: Mapping[str, Float[np.ndarray, " N"]] = field(default_factory=dict)

    @property
    def data(self) -> Data:
        """The arrays that the engine trains on."""
        return Data(self.inputs, self.labels)


class FileNote(NamedTuple):
    """One file that was not used as it is.

    Attributes:
      path: relative to the data folder, with forward slashes.
      action: 'skipped', 'converted' or 'reported'.
      reason: one line for a person.
    """

    path: str
    action: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test pictures, the same whatever the source.

    Attributes:
      name: the data set as a person names it.
      train, valid, test: the parts; `valid` may be empty (N = 0). Nothing is chosen on `test`.
      class_names: K names, in label order.
      provenance: JSON-ready facts: source, settings, counts, and `fingerprint`, a hex digest of
        the arrays.
      files: what happened to files that were not used as they are (photographs only).
      vocabulary: the word of each token id, '' first (sentences only).
      constants: what a builder is told of the inputs, see `build_model`: of pictures `mean` and
        `std`, of each channel of the training ones, pixels in 0..1; of sentences `vocabulary`, the
        number of token ids. `load_dataset` fills it in.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    class_names: tuple[str, ...]
    provenance: Mapping[str, Any]
    files: Sequence[FileNote] = ()
    vocabulary: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What the examples are, see `input_kind`."""
        return input_kind(self.train.inputs)


class Recipe(NamedTuple):
    """Training settings. A model file proposes the first six; a person's flags override each one.

    Attributes:
      num_steps, batch_size: training steps, and examples of each.
      optimizer: a name of OPTIMIZERS, with settings.
      learning_rate: at the top of the schedule.
      weight_decay, augment: see `make_optimizer`, `parse_augment`.
      schedule, clip_norm: see `make_optimizer`.
      label_smoothing: see `losses.cross_entropy`.
      sample: of the training examples, for each member; see `parse_sample`. '': all.
      eval_every: steps between evaluations.
    """

    num_steps: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float = 0.0
    augment: str = "none"
    schedule: str = "cosine:warmup=0.1"
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    sample: str = ""
    eval_every: int = 100


class Classifier(NamedTuple):
    """A formula together with its weights: what every origin ends as.

    Attributes:
      params: a pytree of arrays, typed in, estimated or learned.
      apply: (params, inputs) -> logits [B, K] float32.
    """

    params: Params
    apply: Callable[[Params, Inputs], Logits]


class Spec(NamedTuple):
    """What a file of `models/`, `rules/` or `estimators/` registers under a name.

    Attributes:
      build: of models (input_shape, num_classes, **settings) -> Model; of rules (input_shape,
        **settings) -> Classifier of cat (0) and dog (1), which sees no data; of estimators
        (inputs [N, ...], labels [N], num_classes, **settings) -> Classifier, deterministic. The
        keyword-only settings, with their annotations and defaults, are what `name:setting=value`
        may set. Pictures reach a registered one as floats, models normalised, rules in 0..1,
        estimators as rows [N, D] in 0..1; one of a person's own gets them as the data set holds
        them. Raises InputError for a setting out of range, or data that do not fit.
      recipes: data set name -> Recipe; the entry 'default' serves every other data set.
      reads: kinds of inputs the formula takes, of `input_kind`; or 'factors', the drawing factors
        [B, F] float32 in the sorted order of their names. The builder of a model that reads tokens
        has the keyword `vocabulary`, the number of token ids.
      origin: of an estimator, 'estimated', or 'learned' where the one step is the solution of an
        optimisation.
    """

    build: Callable[..., Any]
    recipes: Mapping[str, Recipe] = types.MappingProxyType({})
    reads: tuple[str, ...] = ("images",)
    origin: str = "estimated"


class DatasetSpec(NamedTuple):
    """What a file of `data/` registers under a name.

    Attributes:
      load: (*, data_dir, classes, image_size, download, **settings) -> Dataset. `data_dir` is a
        str or None, `classes` a tuple of names (empty: the data set's default), `image_size` an
        int or 0 (the data set's default), `download` a bool.
      models, num_members: the values of `--models` and `--num_members` where none are given.
    """

    load: Callable[..., Dataset]
    models: str = "linear,mlp,cnn,resnet"
    num_members: int = 32
