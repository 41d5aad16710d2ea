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
from typing import Annotated, Any, TypeAlias

import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from catdog_jax.registry import Range, parse_entry, typed_settings, unknown
from catdog_jax.types import InputError

Tx: TypeAlias = optax.GradientTransformation
Number = float | Array  # an array where members have values of their own
Share = Annotated[float, Range(0, below=1)]
Momentum = Annotated[Number, Range(0, below=1)]


def sgd(
    learning_rate: Array, weight_decay: Number, *, momentum: Momentum = 0.9, nesterov: bool = False
) -> Tx:
    """Gradient descent with momentum and an L2 penalty."""
    plain = isinstance(momentum, float) and momentum == 0
    step = optax.sgd(learning_rate, None if plain else momentum, nesterov)
    return optax.chain(optax.add_decayed_weights(weight_decay), step)


def adam(learning_rate: Array, weight_decay: Number, *, b1: Share = 0.9, b2: Share = 0.999) -> Tx:
    """Adam with an L2 penalty in the gradient (Kingma and Ba 2015)."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate, b1, b2))


def adamw(learning_rate: Array, weight_decay: Number, *, b1: Share = 0.9, b2: Share = 0.999) -> Tx:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    return optax.adamw(learning_rate, b1, b2, weight_decay=weight_decay)


def nadamw(learning_rate: Array, weight_decay: Number, *, b1: Share = 0.9, b2: Share = 0.999) -> Tx:
    """AdamW with Nesterov momentum (Dozat 2016)."""
    return optax.nadamw(learning_rate, b1, b2, weight_decay=weight_decay)


def lion(learning_rate: Array, weight_decay: Number, *, b1: Share = 0.9, b2: Share = 0.99) -> Tx:
    """Lion: the sign of a momentum (Chen et al. 2023)."""
    return optax.lion(learning_rate, b1, b2, weight_decay=weight_decay)


def rmsprop(learning_rate: Array, weight_decay: Number, *, decay: Share = 0.9) -> Tx:
    """RMSProp with an L2 penalty in the gradient (Tieleman and Hinton 2012)."""
    penalty = optax.add_decayed_weights(weight_decay)
    return optax.chain(penalty, optax.rmsprop(learning_rate, decay))


def lamb(learning_rate: Array, weight_decay: Number) -> Tx:
    """LAMB: Adam with a trust ratio per layer (You et al. 2020)."""
    return optax.lamb(learning_rate, weight_decay=weight_decay)


def muon(learning_rate: Array, weight_decay: Number, *, momentum: Momentum = 0.95) -> Tx:
    """Muon: orthogonalised momentum for matrices, Adam for the rest (Jordan et al. 2024)."""
    decays = {"weight_decay": weight_decay, "adam_weight_decay": weight_decay}
    return optax.contrib.muon(learning_rate, beta=momentum, **decays)


OPTIMIZERS: dict[str, Callable[..., Tx]] = {
    build.__name__: build for build in (sgd, adam, adamw, nadamw, lion, rmsprop, lamb, muon)
}

# Those that treat a matrix and its transpose alike; muon's step depends on which side is longer.
NUMBERWISE = frozenset(OPTIMIZERS) - {"muon"}

# How the learning rate falls, as a function of the progress, 0 to 1, after the warm-up.
SCHEDULES: dict[str, Callable[[Array], Array]] = {
    "constant": jnp.ones_like,
    "cosine": lambda progress: 0.5 * (1 + jnp.cos(math.pi * progress)),
    "linear": lambda progress: 1.0 - progress,
}


def make_schedule(
    fall: Callable[[Array], Array],
    num_steps: int,
    *,
    warmup: Share = 0.0,
    cycles: Annotated[int, Range(1)] = 1,
) -> optax.Schedule:
    """Rise over the first `warmup` share of the steps, then fall; so in each of `cycles` parts.

    Source: Loshchilov and Hutter 2017, "SGDR", eq. 5 (the cosine, and its restarts).
    """
    num_steps = max(num_steps // cycles, 1)
    rising = round(warmup * num_steps)

    def shape(step: Array) -> Array:
        step = step % num_steps if cycles > 1 else step
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
) -> Tx:
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
    build, fixed = OPTIMIZERS[name], set(inspect.signature(OPTIMIZERS[name]).parameters)
    if "momentum" in own and "momentum" not in fixed:
        raise InputError(f"{entry!r} has no momentum that members could differ in; give sgd")
    fall, fall_settings = parse_entry(schedule)
    if fall not in SCHEDULES:
        raise unknown("schedule", fall, SCHEDULES)
    warmup = typed_settings(schedule, make_schedule, fall_settings)

    inject = optax.inject_hyperparams(build, static_args=fixed - {"learning_rate", *own})
    chain = [
        inject(learning_rate, weight_decay, **typed_settings(entry, build, settings)),
        optax.scale_by_schedule(make_schedule(SCHEDULES[fall], num_steps, **warmup)),
    ]
    if "clip_norm" in own:
        chain.insert(0, optax.inject_hyperparams(_clip)(clip_norm=clip_norm or math.inf))
    elif clip_norm > 0:
        chain.insert(0, _clip(clip_norm))
    return optax.chain(*chain)


def _clip(clip_norm: Any) -> Tx:
    return optax.clip_by_global_norm(clip_norm)
