"""Which hidden unit of one network is which of another? Permutations, and ways to find them.

A network computes the same function when its hidden units are numbered anew, group by group (see
`types.Units`). An *order* says how: group -> [P] int, the unit that comes to each place.
"""

import functools
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int
from scipy.optimize import linear_sum_assignment

from catdog_jax.types import Model, Params, Units

Order = Mapping[str, Any]  # group -> [P] int, of one network; [B, P] of several
WAVE = 32  # pairs at once, at most
LEAST_GAIN = 1e-12  # squared weights
MOST_SWEEPS, MOST_STEPS = 100, 100


def unit_axes(units: Units, path: tuple, ndim: int) -> list[tuple[int, str]]:
    """List the axes of an array of weights that count units: (axis, group)."""
    names = units.axes.get(jax.tree_util.keystr(path, simple=True, separator="/"), "").split()
    return [(axis, name) for axis, name in enumerate(names, ndim - len(names)) if name != "-"]


def group_sizes(units: Units, params: Params) -> dict[str, int]:
    """Count the units P of every group, of the params of one network."""
    found: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        for axis, name in unit_axes(units, path, leaf.ndim):
            found[name] = min(found.get(name, leaf.shape[axis]), leaf.shape[axis])
    return found


def layer_groups(units: Units) -> dict[str, str]:
    """Give the layers whose outputs are units, in the order of computation: path -> group."""
    made = {path: text.split()[-1] for path, text in units.axes.items()}
    kernels = {path.removesuffix("/kernel"): x for path, x in made.items() if "/kernel" in path}
    return {layer: group for layer, group in kernels.items() if group != "-"}


def permuted(units: Units, params: Params, order: Order) -> Params:
    """Number the units of one network anew; those of groups that `order` lacks stay.

    Args:
      units: of the formula.
      params: numpy or jax arrays.
      order: of one network.
    """

    def one(path: tuple, leaf: Any) -> Any:
        for axis, name in unit_axes(units, path, leaf.ndim):
            leaf = numbered(leaf, axis, order[name]) if name in order else leaf
        return leaf

    return jax.tree_util.tree_map_with_path(one, params)


def numbered(leaf: Any, axis: int, rows: Any) -> Any:
    """Number one axis anew; of n times as many numbers, n places of all units each."""
    before, after = leaf.shape[:axis], leaf.shape[axis + 1 :]
    apart = leaf.reshape(*before, -1, len(rows), *after)
    return apart.take(rows, axis=axis + 1, mode="clip").reshape(leaf.shape)


def waves(count: int, num_devices: int) -> Iterator[Int[np.ndarray, " b"]]:
    """Cut so many pairs into waves of equal size, shared evenly by devices.

    The last is filled up by its last pair, so that one program serves all.
    """
    size = -(-count // -(-count // WAVE)) if count else 1
    size = -(-size // num_devices) * num_devices
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)


def over(mesh: Mesh, function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make (shared, many [B, ...]) -> function(shared, one) of each, apart on the devices.

    On a CPU one after another, else together; products are of full float32. B is a multiple of the
    number of devices.
    """
    one_by_one = mesh.devices.flat[0].platform == "cpu"
    whole, cut = P(), P(mesh.axis_names[0])

    @jax.jit
    @jax.default_matmul_precision("highest")
    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(whole, cut), out_specs=cut, check_vma=False
    )
    def mapped(shared: Any, many: Any) -> Any:
        each = functools.partial(function, shared)
        return jax.lax.map(each, many) if one_by_one else jax.vmap(each)(many)

    return lambda shared, many: jax.device_get(mapped(shared, many))


def member(params: Params, index: Any) -> Params:
    """Take one member's params [...] of [M, ...]."""
    return jax.tree.map(operator.itemgetter(index), params)


def assign(scores: Float[np.ndarray, "B P P"]) -> Int[np.ndarray, "B P"]:
    """Give to each row the column, every one once, for which the sum of scores is largest.

    By scipy, in threads, for it lets go of Python meanwhile. On one busy core a product of two
    normal matrices of 512 units took it 21 ms, lapx 37 ms (permuted weights with noise: 1.7 and
    0.4), and 64 units 0.25 ms, lapx 0.13 and optax's on the device 2.

    Source:
      Crouse 2016, "On implementing 2D rectangular assignment algorithms".
    """
    solve = functools.partial(linear_sum_assignment, maximize=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack([columns for _, columns in pool.map(solve, scores)])


def identity(sizes: Mapping[str, int], count: int) -> dict[str, Int[np.ndarray, "B P"]]:
    """Give the order that changes nothing, of so many networks."""
    return {name: np.tile(np.arange(size), (count, 1)) for name, size in sizes.items()}


def match_weights(
    units: Units,
    params: Params,
    first: Int[np.ndarray, " B"],
    second: Int[np.ndarray, " B"],
    mesh: Mesh,
    told: Callable[[int], object] = lambda done: None,
) -> dict[str, Int[np.ndarray, "B P"]]:
    """Number the units of the second of every pair so that its weights are like the first's.

    Coordinate ascent on the sum of products of all weights, biases and norms included, from the
    identity: one group after another, in an order that is random and the same for all pairs, until
    no group of a pair gains more than LEAST_GAIN. So the distance is never larger than it was; but
    with two groups and more it depends on how the second was numbered before.

    Args:
      units: of the formula; an array counts a group at most once.
      params: of all members, [M, ...].
      first, second: members of each pair.
      mesh: the devices.
      told: called with the number of pairs that are done.

    Returns:
      The order of every second.

    Source:
      Ainsworth, Hayase, Srinivasa 2023, "Git re-basin", algorithm 1.
    """
    sizes = group_sizes(units, member(params, 0))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    together = [{name for _, name in unit_axes(units, p, x.ndim - 1)} for p, x in leaves]
    beside = {g: {x for names in together if g in names for x in names} - {g} for g in sizes}

    def likeness(name: str, alone: bool, shared: Any, pair: Any) -> Array:
        """Score every unit of the second for each of the first: [P, P]."""
        a, b = (member(shared, pair[end]) for end in ("first", "second"))
        b = permuted(units, b, {x: pair[x] for x in beside[name] if not alone})
        total = jnp.zeros((sizes[name],) * 2)
        for (path, _), x, y in zip(leaves, *map(jax.tree.leaves, (a, b)), strict=True):
            axes = {group: axis for axis, group in unit_axes(units, path, x.ndim)}
            if name in axes and alone == (len(axes) == 1):
                x, y = (_rows(z, axes[name], sizes[name]) for z in (x, y))
                total += x @ y.T
        return total

    def alone(shared: Any, pair: Any) -> dict[str, Array]:
        return {name: likeness(name, True, shared, pair) for name in sizes}

    fixed_of = over(mesh, alone)
    rest_of = {g: over(mesh, functools.partial(likeness, g, False)) for g in sizes if beside[g]}
    found, rng = identity(sizes, len(first)), np.random.default_rng(0)
    shared = jax.device_put(params, NamedSharding(mesh, P()))
    for rows in waves(len(first), mesh.size) if sizes else ():
        pairs, order = {"first": first[rows], "second": second[rows]}, identity(sizes, len(rows))
        fixed = fixed_of(shared, pairs)
        asked = {name: np.ones(len(rows), bool) for name in sizes}
        for _ in range(MOST_SWEEPS):
            if not any(one.any() for one in asked.values()):
                break
            for name in rng.permutation(list(sizes)):
                todo = np.flatnonzero(asked[name])
                if not todo.size:
                    continue
                asked[name][:] = False
                scores = fixed[name][todo]
                if name in rest_of:
                    near = {x: order[x] for x in beside[name]}
                    scores = scores + rest_of[name](shared, pairs | near)[todo]
                best = assign(scores)
                now, then = (_sums(scores, x) for x in (order[name][todo], best))
                better = then - now > LEAST_GAIN
                order[name][todo[better]] = best[better]
                for other in beside[name]:
                    asked[other][todo[better]] = True
        for name in sizes:
            found[name][rows] = order[name]
        told(int(rows[-1]) + 1)
    return found


def _rows(x: Array, axis: int, size: int) -> Array:
    """Lay the numbers of each unit out in one row, [P, ...]."""
    apart = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    return jnp.moveaxis(apart, axis + 1, 0).reshape(size, -1)


def _sums(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Sum the scores of an assignment in float64, [B]."""
    chosen = np.take_along_axis(scores, order[..., None], axis=-1)
    return chosen[..., 0].sum(axis=-1, dtype=np.float64)


def match_activations(
    model: Model,
    params: Params,
    first: Int[np.ndarray, " B"],
    second: Int[np.ndarray, " B"],
    inputs: Any,
    mesh: Mesh,
) -> dict[str, Int[np.ndarray, "B P"]]:
    """Number the units of the second of every pair so that they say what the first's say.

    For each group the largest sum of correlations over examples and places of what its layers make,
    before the activation; layers of one group (of a residual network) are added up.

    Args:
      model: a formula with units.
      params, first, second, mesh: see `match_weights`.
      inputs: [n, ...] training examples.

    Source:
      Li et al. 2016, "Convergent learning"; Ainsworth et al. 2023, sec. 3.1.
    """
    units: Any = model.units
    groups, sizes = layer_groups(units), group_sizes(units, member(params, 0))

    def correlated(shared: Any, pair: Any) -> dict[str, Array]:
        members, examples = shared
        ends = (member(members, pair[end]) for end in ("first", "second"))
        a, b = (units.outputs(x, examples) for x in ends)
        total = {name: jnp.zeros((size, size)) for name, size in sizes.items()}
        for layer, name in groups.items():
            x, y = (_standard(z[layer]) for z in (a, b))
            total[name] += x.T @ y / x.shape[0]
        return total

    found, score = identity(sizes, len(first)), over(mesh, correlated)
    shared = jax.device_put((params, jnp.asarray(inputs)), NamedSharding(mesh, P()))
    for rows in waves(len(first), mesh.size) if sizes else ():
        scores = score(shared, {"first": first[rows], "second": second[rows]})
        for name in sizes:
            found[name][rows] = assign(scores[name])
    return found


def _standard(x: Array) -> Array:
    flat = x.reshape(-1, x.shape[-1])
    flat = flat - flat.mean(axis=0, keepdims=True)
    scale = jnp.sqrt(jnp.square(flat).mean(axis=0, keepdims=True))
    return flat / jnp.where(scale > 0, scale, 1.0)


def match_many(
    units: Units, params: Params, start: Order | None = None
) -> dict[str, Int[np.ndarray, "M P"]]:
    """Number the units of all members so that all weights are alike: one order for each of them.

    Frank and Wolfe's ascent on the sum of products of the weights of all pairs, over all groups at
    once: each step goes towards the permutations that the gradient likes best,
    as far as is best (the sum is a polynomial of degree 4 in the step). The order of one member
    relative to another is consistent: from a to b and on to c is from a to c.

    Args:
      units: of the formula.
      params: of all members, [M, ...].
      start: group -> [M, P], where it begins, for only a local best is found; the identity.

    Source:
      Crisostomi et al. 2024, "C²M³: Cycle-consistent multi-model merging", alg. 1.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    count, sizes = len(leaves[0][1]), group_sizes(units, member(params, 0))

    def mixed(mixing: Any) -> list[Any]:
        def one(path: tuple, leaf: Any, mine: Any) -> Any:
            for axis, name in unit_axes(units, path, leaf.ndim):
                apart = leaf.reshape(*leaf.shape[:axis], -1, sizes[name], *leaf.shape[axis + 1 :])
                turned = jnp.tensordot(mine[name], apart, (1, axis + 1), precision="highest")
                leaf = jnp.moveaxis(turned, 0, axis + 1).reshape(leaf.shape)
            return leaf

        each = [functools.partial(one, path) for path, _ in leaves]
        return [jax.vmap(f)(leaf, mixing) for f, (_, leaf) in zip(each, leaves, strict=True)]

    @jax.jit
    def objective(mixing: Any) -> Any:
        made = mixed(mixing)
        whole = sum(jnp.sum(jnp.square(x.sum(axis=0))) for x in made)
        return (whole - sum(jnp.sum(jnp.square(x)) for x in made)) / 2

    slope = jax.jit(jax.grad(objective))
    eyes = {name: np.eye(size, dtype=np.float32) for name, size in sizes.items()}
    begin = start or identity(sizes, count)
    now = {name: eye[begin[name]] for name, eye in eyes.items()}
    points = np.linspace(0.0, 1.0, 5)
    for _ in range(MOST_STEPS if sizes else 0):
        towards = {x: eyes[x][assign(np.asarray(s))] for x, s in slope(now).items()}

        def part(step: Any, now: Any = now, towards: Any = towards) -> dict[str, np.ndarray]:
            between = {x: (1 - step) * now[x] + step * towards[x] for x in now}
            return {x: mixing.astype(np.float32) for x, mixing in between.items()}

        values = np.array([float(objective(part(x))) for x in points])
        curve: Any = np.polynomial.Polynomial.fit(points, values, 4)
        turns = curve.deriv().roots()
        steps = turns.real[(abs(turns.imag) < 1e-9) & (turns.real > 0) & (turns.real < 1)]
        step = max([*steps, 1.0], key=curve)
        if curve(step) - values[0] <= 1e-6 * abs(values[0]):
            break
        now = part(step)
    return {name: assign(x) for name, x in now.items()}


def between(order: Order, one: int, other: int) -> dict[str, Int[np.ndarray, " P"]]:
    """Give the order that numbers the units of `other` like those of `one`; see `match_many`."""
    return {name: rows[other][np.argsort(rows[one])] for name, rows in order.items()}
