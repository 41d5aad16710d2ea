"""Optimisers and schedules by name, from optax.

The learning rate is data in the optimiser's state (optax.inject_hyperparams), one per member: a
change of it compiles nothing anew. So are other HYPERPARAMS where members have values of their own.
A schedule is a shape between 0 and 1 that multiplies the learning rate.

Weight decay: 'sgd' and 'adam' add `weight_decay * w` to the gradient, the gradient of the penalty
weight_decay/2 * |w|^2 over all parameters; the others decay as their papers say (decoupled).
"""

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from catdog_jax.registry import parse_entry, typed_settings, unknown
from catdog_jax.types import InputError

Number = float | Array  # an array where members have values of their own


def sgd(
    learning_rate: Array, weight_decay: Number, *, momentum: Number = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """Gradient descent with momentum and an L2 penalty."""
    plain = isinstance(momentum, float) and momentum == 0
    step = optax.sgd(learning_rate, None if plain else momentum, nesterov)
    return optax.chain(optax.add_decayed_weights(weight_decay), step)


def adam(
    learning_rate: Array, weight_decay: Number, *, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with an L2 penalty in the gradient (Kingma and Ba 2015)."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate, b1, b2))


def adamw(
    learning_rate: Array, weight_decay: Number, *, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    return optax.adamw(learning_rate, b1, b2, weight_decay=weight_decay)


def nadamw(
    learning_rate: Array, weight_decay: Number, *, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """AdamW with Nesterov momentum (Dozat 2016)."""
    return optax.nadamw(learning_rate, b1, b2, weight_decay=weight_decay)


def lion(
    learning_rate: Array, weight_decay: Number, *, b1: float = 0.9, b2: float = 0.99
) -> optax.GradientTransformation:
    """Lion: the sign of a momentum (Chen et al. 2023)."""
    return optax.lion(learning_rate, b1, b2, weight_decay=weight_decay)


def rmsprop(
    learning_rate: Array, weight_decay: Number, *, decay: float = 0.9
) -> optax.GradientTransformation:
    """RMSProp with an L2 penalty in the gradient (Tieleman and Hinton 2012)."""
    step = optax.rmsprop(learning_rate, decay)
    return optax.chain(optax.add_decayed_weights(weight_decay), step)


def lamb(learning_rate: Array, weight_decay: Number) -> optax.GradientTransformation:
    """LAMB: Adam with a trust ratio per layer (You et al. 2020)."""
    return optax.lamb(learning_rate, weight_decay=weight_decay)


def muon(
    learning_rate: Array, weight_decay: Number, *, momentum: Number = 0.95
) -> optax.GradientTransformation:
    """Muon: orthogonalised momentum for matrices, Adam for the rest (Jordan et al. 2024)."""
    return optax.contrib.muon(
        learning_rate, beta=momentum, weight_decay=weight_decay, adam_weight_decay=weight_decay
    )


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "nadamw": nadamw,
    "lion": lion,
    "rmsprop": rmsprop,
    "lamb": lamb,
    "muon": muon,
}

# Those that treat a matrix and its transpose alike; muon's step depends on which side is longer.
NUMBERWISE = frozenset(OPTIMIZERS) - {"muon"}


def constant(num_steps: int, *, warmup: float = 0.0) -> optax.Schedule:
    """Rise over the first `warmup` share of the steps, then stay."""
    return _after_warmup(num_steps, warmup, lambda progress: jnp.ones_like(progress))


def cosine(num_steps: int, *, warmup: float = 0.0) -> optax.Schedule:
    """Fall to 0 along half a cosine (Loshchilov and Hutter 2017, eq. 5)."""
    return _after_warmup(
        num_steps, warmup, lambda progress: 0.5 * (1 + jnp.cos(math.pi * progress))
    )


def linear(num_steps: int, *, warmup: float = 0.0) -> optax.Schedule:
    """Fall to 0 along a line."""
    return _after_warmup(num_steps, warmup, lambda progress: 1.0 - progress)


SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
}


def _after_warmup(num_steps: int, warmup: float, fall: Callable[[Array], Array]) -> optax.Schedule:
    if not 0.0 <= warmup < 1.0:
        raise InputError(f"warmup={warmup} of a schedule must be a share of the steps, 0 to 1")
    rising = round(warmup * num_steps)

    def shape(step: Array) -> Array:
        progress = jnp.clip((step - rising) / max(num_steps - rising, 1), 0.0, 1.0)
        return jnp.where(step < rising, (step + 1) / (rising + 1), fall(progress))

    return shape


HYPERPARAMS = ("learning_rate", "weight_decay", "momentum", "clip_norm")


def set_hyperparams(opt_state: PyTree, settings: Mapping[str, Array]) -> PyTree:
    """Put a member's own values in the place of those that its optimiser was made with.

    Args:
      opt_state: of an optimiser made with these names as `own`.
      settings: name -> number; those that are none of HYPERPARAMS are passed over.
    """
    values = {name: settings[name] for name in HYPERPARAMS if name in settings}
    if "clip_norm" in values:  # 0 is typed for: any
        values["clip_norm"] = jnp.where(values["clip_norm"] > 0, values["clip_norm"], jnp.inf)
    return optax.tree.set(opt_state, **values) if values else opt_state


def make_optimizer(
    entry: str,
    learning_rate: float,
    *,
    num_steps: int,
    schedule: str = "constant",
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    own: Collection[str] = (),
) -> optax.GradientTransformation:
    """Build an optimiser from its name, with the learning rate carried as data.

    Args:
      entry: a name of OPTIMIZERS, with settings: 'adam', 'sgd:momentum=0.95:nesterov=true'.
      learning_rate: at the top of the schedule, > 0.
      num_steps: the schedule's length.
      schedule: a name of SCHEDULES, with settings: 'cosine', 'cosine:warmup=0.1'.
      weight_decay: >= 0; see the head of this file.
      clip_norm: longest gradient let through, in the L2 norm over all parameters; 0 for any.
      own: names of HYPERPARAMS that members have values of their own of: they too become data.

    Raises:
      InputError: an unknown name or setting, a setting out of range, or `own` momentum of an
        optimiser without.
    """
    name, settings = parse_entry(entry)
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    build = OPTIMIZERS[name]
    options = typed_settings(entry, build, settings)
    for key, value in options.items():
        if not 0.0 <= value < 1.0 and not isinstance(value, bool):
            raise InputError(f"{entry!r}: {key}={value} must be at least 0 and below 1")
    shape_name, shape_settings = parse_entry(schedule)
    if shape_name not in SCHEDULES:
        raise unknown("schedule", shape_name, SCHEDULES)
    make_shape = SCHEDULES[shape_name]
    shape = make_shape(num_steps, **typed_settings(schedule, make_shape, shape_settings))

    if "momentum" in own:
        if "momentum" not in inspect.signature(build).parameters:
            raise InputError(f"{entry!r} has no momentum that members could differ in; give sgd")
        options.setdefault("momentum", 0.0)

    def transformation(
        learning_rate: Array, weight_decay: Any, momentum: Any
    ) -> optax.GradientTransformation:
        given = {} if momentum is None else {"momentum": momentum}
        return build(learning_rate, weight_decay, **options | given)

    baked = {"weight_decay", "momentum"} - set(own)
    chain = [
        optax.inject_hyperparams(transformation, static_args=baked)(
            learning_rate, weight_decay, options.get("momentum")
        ),
        optax.scale_by_schedule(shape),
    ]
    if "clip_norm" in own:
        chain.insert(0, optax.inject_hyperparams(_clip)(clip_norm=clip_norm or math.inf))
    elif clip_norm > 0:
        chain.insert(0, _clip(clip_norm))
    return optax.chain(*chain)


def _clip(clip_norm: Any) -> optax.GradientTransformation:
    return optax.clip_by_global_norm(clip_norm)
