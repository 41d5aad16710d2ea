"""What lies on the straight line between two trained networks?

`mixing` is the share of the second: the network at it has the weights (1−α) A + α B. All losses are
cross-entropies in nats, all errors shares of wrong answers.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int
from scipy.special import logsumexp

from catdog_jax.analysis.alignment import layer_groups, member, numbered, over, permuted, waves
from catdog_jax.types import Model, Params, Units


def barrier(line: Float[np.ndarray, "*B T"], mixing: Float[np.ndarray, " T"]) -> Any:
    """Measure the highest rise above the straight line between the ends' losses (or errors).

    max over α of L((1−α)A + αB) − (1−α) L(A) − α L(B).

    Args:
      line: at every point, both ends among them.
      mixing: α of each point, from 0 to 1.

    Returns:
      [*B], ≥ 0, in the unit of the line; 0 where L is convex; nan where a point is.

    Source:
      Entezari et al. 2022, "The role of permutation invariance in linear mode connectivity of
      neural networks", def. 1. (Others subtract the mean of the ends, which is more where these
      differ: Frankle et al. 2020, Ainsworth et al. 2023.)
    """
    chord = (1.0 - mixing) * line[..., :1] + mixing * line[..., -1:]
    return np.max(line - chord, axis=-1)


def judged(
    logits: Float[np.ndarray, "*B N K"], labels: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "*B N"], Bool[np.ndarray, "*B N"]]:
    """Give the cross-entropy of each example, float64, and whether its answer is wrong."""
    logits = logits.astype(np.float64)
    own = logits[..., np.arange(len(labels)), labels]
    return logsumexp(logits, axis=-1) - own, logits.argmax(axis=-1) != labels


def decomposed(
    middle: Float[np.ndarray, "*B N K"],
    one: Float[np.ndarray, "*B N K"],
    other: Float[np.ndarray, "*B N K"],
    mixing: Float[np.ndarray, "*B"],
    labels: Int[np.ndarray, " N"],
) -> Float[np.ndarray, "3 *B N"]:
    """Divide the gap of each example: its loss on the line less what the ends' losses average to.

    With ẑ = (1−α) z_A + α z_B and E = z_α − ẑ the gap is D − J − E_y:
    D = LSE(z_α) − LSE(ẑ), J = (1−α) LSE(z_A) + α LSE(z_B) − LSE(ẑ) ≥ 0, y the label.

    Args:
      middle, one, other: logits of the network at α, of A and of B.
      mixing: α.
      labels: of the examples.

    Returns:
      D, −J and −E_y, nats: their sum is the gap.

    Source:
      A preprint of 2026 on barriers in logit space, not refereed; it is an identity.
    """
    share = np.asarray(mixing)[..., None]
    middle, one, other = (x.astype(np.float64) for x in (middle, one, other))
    mean = (1 - share[..., None]) * one + share[..., None] * other
    low, mixed, first, second = (logsumexp(x, axis=-1) for x in (mean, middle, one, other))
    moved = (middle - mean)[..., np.arange(len(labels)), labels]
    return np.stack([mixed - low, low - (1 - share) * first - share * second, -moved])


def cooled(
    logits: Float[np.ndarray, "B N K"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, " B"]:
    """Fit what logits are to be multiplied by, one over the temperature, to have the least loss.

    The loss is convex in it: its slope is halved down to where it is 0, between e⁻⁷ and e⁷.

    Returns:
      [B]; nan where there is no example.

    Source:
      Guo et al. 2017, "On calibration of modern neural networks", sec. 4.2.
    """
    logits = logits.astype(np.float64)
    if not logits.shape[1]:
        return np.full(len(logits), np.nan)
    own = logits[:, np.arange(len(labels)), labels].mean(axis=1)
    low, high = np.full(len(logits), -7.0), np.full(len(logits), 7.0)
    for _ in range(50):
        middle = (low + high) / 2
        scaled = np.exp(middle)[:, None, None] * logits
        share = np.exp(scaled - logsumexp(scaled, axis=-1, keepdims=True))
        rising = (share * logits).sum(axis=-1).mean(axis=1) > own
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.exp((low + high) / 2)


def repaired(
    units: Units, params: Params, inputs: Any, targets: Mapping[str, tuple[Array, Array]]
) -> tuple[Params, dict[str, Callable[[Array], Array]]]:
    """Give the outputs of each layer the mean and standard deviation they should have.

    One layer after another, in the order of computation: each is measured when those before it are
    repaired, then its kernel and its bias are scaled and the bias is shifted. Layers without a bias
    (shortcuts of a residual network) and the head stay.

    Args:
      units: of the formula.
      params: of the network between two others.
      inputs: training examples.
      targets: layer -> mean and standard deviation of each unit, over examples and places; of
        Jordan et al. those of the ends, averaged: (1−α) μ_A + α μ_B, (1−α) σ_A + α σ_B.

    Returns:
      The params; and of each layer what its outputs would be changed by.

    Source:
      Jordan et al. 2023, "REPAIR: renormalizing permuted activations for interpolation repair".
    """
    changes: dict[str, Callable[[Array], Array]] = {}
    for layer in (x for x in layer_groups(units) if x in targets):
        mean, deviation = targets[layer]
        now, spread = _moments(units.outputs(params, inputs)[layer])
        scale = jnp.where(spread > 0, deviation / jnp.where(spread > 0, spread, 1.0), 1.0)
        change = functools.partial(_affine, scale, mean - now * scale)
        own = {f"{layer}/kernel": functools.partial(_affine, scale, 0.0), f"{layer}/bias": change}
        changes[layer] = change

        def one(path: tuple, leaf: Array, own: Any = own) -> Array:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return own[name](leaf) if name in own else leaf

        params = jax.tree_util.tree_map_with_path(one, params)
    return params, changes


def _affine(scale: Array, shift: Array | float, x: Array) -> Array:
    wide = (1,) * (x.ndim - 1) + (-1,)
    return x * scale.reshape(wide) + jnp.reshape(shift, wide)


def _moments(x: Array) -> tuple[Array, Array]:
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(axis=0)
    return mean, jnp.sqrt(jnp.square(flat - mean[None]).mean(axis=0))


class Lines:
    """The lines between members: what the networks on them say, a wave of pairs at a time.

    Args:
      model: a formula with units.
      params: of all members, [M, ...].
      mesh: the devices.
      examples: training examples [n, ...] that REPAIR measures layers on.
    """

    def __init__(self, model: Model, params: Params, mesh: Mesh, examples: Any):
        self._put = functools.partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec()))
        self._shared = self._put({"params": params, "examples": jnp.asarray(examples)})
        self.count, self.num_devices = len(jax.tree.leaves(params)[0]), mesh.size
        units: Any = model.units
        first, groups = units.first, layer_groups(units)
        biased = [layer for layer in groups if f"{layer}/bias" in units.axes]
        in_turn = mesh.devices.flat[0].platform == "cpu"

        def ends(shared: Any, pair: Any) -> list[Params]:
            a, b = (member(shared["params"], pair[end]) for end in ("first", "second"))
            return [a, permuted(units, b, pair["order"])]

        def own(shared: Any, index: Array) -> tuple[Array, Any]:
            params, inputs = member(shared["params"], index), shared["inputs"]
            made = first.apply(params[first.name], inputs) if first else 0.0
            return model.apply(params, inputs), made

        def line(repair: bool, shared: Any, pair: Any) -> Array:
            both, begun, targets = ends(shared, pair), list[Array](), list[Any]()
            if first:  # it is linear: its outputs are mixed, and not computed anew
                begun = [shared["made"][pair[end]] for end in ("first", "second")]
                own = pair["order"][groups[first.name]]
                begun[1] = numbered(begun[1], begun[1].ndim - 1, own)
            if repair:
                said = (units.outputs(x, shared["examples"]) for x in both)
                targets = [{x: _moments(made[x]) for x in biased} for made in said]

            def at(share: Array) -> Array:
                def mix(one: Any, other: Any) -> Any:
                    return jax.tree.map(lambda x, y: (1 - share) * x + share * y, one, other)

                params, changes = mix(*both), dict[str, Any]()
                if repair:
                    params, changes = repaired(units, params, shared["examples"], mix(*targets))
                if not first:
                    return model.apply(params, shared["inputs"])
                made = mix(*begun)
                if repair:
                    made = changes[first.name](made)
                return first.rest(params, made)

            return jax.lax.map(at, pair["mixing"]) if in_turn else jax.vmap(at)(pair["mixing"])

        def apart(shared: Any, pair: Any) -> Array:
            squares = jax.tree.map(lambda x, y: jnp.sum(jnp.square(x - y)), *ends(shared, pair))
            return jnp.sqrt(sum(jax.tree.leaves(squares)))

        self._own, self._apart = over(mesh, own), over(mesh, apart)
        self._line = [over(mesh, functools.partial(line, repair)) for repair in (False, True)]

    def see(self, inputs: Any) -> Float[np.ndarray, "M n K"]:
        """Show examples [n, ...], of which `logits` tells from now on; give the members' logits."""
        self._shared |= self._put({"inputs": jnp.asarray(inputs)})
        rows = [*waves(self.count, self.num_devices)]
        found = [self._own(self._shared, x) for x in rows]
        places = np.unique(np.concatenate(rows), return_index=True)[1]
        logits, made = jax.tree.map(lambda *x: np.concatenate(x)[places], *found)
        self._shared |= self._put({"made": made})
        return logits

    def logits(self, pairs: Any, repair: bool = False) -> Float[np.ndarray, "b T n K"]:
        """Ask a wave of pairs.

        Args:
          pairs: `first`, `second` [b]; `mixing` [b, T]; `order`, group -> [b, P].
          repair: whether the networks between the ends are `repaired`.
        """
        found: np.ndarray = self._line[repair](self._shared, pairs)
        return found

    def distances(self, pairs: Any) -> Float[np.ndarray, " b"]:
        """Measure how far apart the weights of each pair are, Euclidean, over all of them."""
        found: np.ndarray = self._apart(self._shared, pairs)
        return found
