"""Are the places where members ended connected? All pairs of one population at once."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from jaxtyping import Int

from catdog_jax.analysis import alignment
from catdog_jax.analysis.barriers import Lines, barrier, cooled, decomposed, judged
from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.seeds import pair_interval
from catdog_jax.types import Model, Params

ALIGNMENTS = ("none", "weights", "activations", "repair", "temperature")
SPLITS = ("train", "test")
PARTS = ("sharper", "bent", "label", "gap")  # D, −J and −E_y of `decomposed`, and their sum
MERGED = ("members", "none", "weights", "many")
POINTS = 25
MIDDLE = POINTS // 2
MIXING = np.linspace(0.0, 1.0, POINTS)
EXAMPLES_AT_ONCE = 500
REPAIR_EXAMPLES = 512
# Axes of what `connect` finds, behind that of models.
AXES = {
    **dict.fromkeys(("loss_barrier", "error_barrier"), ("pair", "alignment", "split")),
    **dict.fromkeys(("line_loss", "line_error"), ("pair", "alignment", "split", "point")),
    "weight_distance": ("pair", "alignment"),
    "picture_gap": ("pair", "alignment", "example"),
    "gap_part": ("pair", "alignment", "class", "part"),
    "identity_error": ("pair", "alignment"),
    "temperature": ("pair",),
    **dict.fromkeys(("merged_loss", "merged_error"), ("merged", "split")),
}
Examples = Any  # `Data` of numpy arrays


class Asked(NamedTuple):
    """Examples that all networks are asked about.

    Attributes:
      train, test: that losses and errors are of; layers are compared on the first of `train`.
      valid: that temperatures are fitted on; may be empty.
      num_classes: K.
    """

    train: Examples
    test: Examples
    valid: Examples
    num_classes: int


def all_pairs(count: int) -> tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"]]:
    """List the pairs of so many members: the first of each, the second."""
    first, second = np.triu_indices(count, k=1)
    return first, second


def connect(
    model: Model,
    params: Params,
    asked: Asked,
    mesh: Mesh,
    *,
    alignments: Collection[str] = ALIGNMENTS,
    merge: bool = True,
    told: Callable[[float], object] = lambda share: None,
) -> dict[str, np.ndarray]:
    """Align every two members, and measure the barriers between them.

    Args:
      model: a formula with units.
      params: of all members, [M, ...], finite; M ≥ 2.
      asked: the examples.
      mesh: the devices.
      alignments: of ALIGNMENTS, beside 'none'; what is of others is nan.
      merge: whether members are averaged, which aligns them by weights as well.
      told: called with the share of the work that is done.

    Returns:
      Name -> values, see AXES. Networks are merged by the mean of their weights: as they are, with
      each aligned to the first, with all aligned by `match_many`.

    Variables:
      loss_barrier: highest rise of the loss over the straight line between the ends' [nats]
      error_barrier: highest rise of the error over the straight line between the ends'
      line_loss: cross-entropy of the network at a point between two members [nats]
      line_error: share of wrong answers there
      weight_distance: Euclidean distance of all weights of two members [weight]
      picture_gap: loss of a test example at the loss barrier, less the mean of the ends' [nats]
      gap_part: mean over a class's test examples of the gap and of its parts [nats]
      identity_error: how far the mean of the parts' sum is from the loss barrier [nats]
      temperature: fitted to the network in the middle on valid examples
      merged_loss: cross-entropy of one network of mean weights; members: mean of their own [nats]
      merged_error: its share of wrong answers
    """
    statistics, count = asked.train.inputs[:REPAIR_EXAMPLES], len(jax.tree.leaves(params)[0])
    first, second = all_pairs(count)
    ways = {*alignments, *(["weights"] if merge else [])}
    orders = _orders(model, params, (first, second), statistics, mesh, ways, told)
    merged = _merged(model, params, orders) if merge else []
    stacked = jax.tree.map(lambda *x: np.concatenate(x), params, *merged)
    lines = Lines(model, stacked, mesh, statistics)

    def ask(kind: str, mixing: np.ndarray, reduced: Callable[[Any, Any], np.ndarray]) -> np.ndarray:
        """Give of all pairs what is made of a wave's logits and places; the rest is not kept."""
        found = np.empty(0)
        for rows in alignment.waves(len(first), mesh.size):
            order = {group: x[rows] for group, x in orders[kind].items()}
            pair = {"first": first[rows], "second": second[rows], "order": order}
            said = reduced(lines.logits(pair | {"mixing": mixing[rows]}, kind == "repair"), rows)
            found = found if found.size else np.zeros((len(first), *said.shape[1:]))
            found[rows] = said
        return found

    axes = {"pair": len(first), "alignment": len(ALIGNMENTS), "split": len(SPLITS)}
    axes |= {"point": POINTS, "example": len(asked.test.labels), "class": asked.num_classes}
    axes |= {"part": len(PARTS), "merged": len(MERGED)}
    found = {name: np.full([axes[x] for x in over], np.nan) for name, over in AXES.items()}
    line = np.full((2, *found["line_loss"].shape), np.nan)
    inner = np.tile(np.float32(MIXING[1:-1]), (len(first), 1))
    for s, data in enumerate(asked[:2]):
        own: Any = 0.0
        said: dict[str, Any] = dict.fromkeys(orders, 0.0)
        for n, part in enumerate(parts := _parts(data)):
            labels = data.labels[part]
            own = own + _summed(labels, lines.see(data.inputs[part]))
            for kind in orders:
                sums = ask(kind, inner, functools.partial(_summed, labels))
                said[kind] = said[kind] + sums
            told(0.2 + 0.35 * (s + (n + 1) / len(parts)))
        for kind, values in said.items():
            ends = [own[x][:, None] for x in (first, second)]
            whole = np.concatenate([ends[0], values, ends[1]], axis=1)
            line[:, :, ALIGNMENTS.index(kind), s] = np.moveaxis(whole, -1, 0) / len(data.labels)
        own = own / len(data.labels)
        means = np.concatenate([own[:count].mean(axis=0, keepdims=True), own[count:]])
        found["merged_loss"][: len(means), s], found["merged_error"][: len(means), s] = means.T
    found["line_loss"], found["line_error"] = line
    for name in ("loss", "error"):
        found[f"{name}_barrier"] = barrier(found[f"line_{name}"], MIXING)
    if "temperature" in alignments and len(asked.valid.labels):
        _cool(found, lines, ask, asked, inner[:, MIDDLE - 1 : MIDDLE])
    told(0.95)
    for kind in ("none", "weights"):
        if kind in orders:
            _pictures(found, lines, ask, asked, kind, (first, second))
    for kind in [x for x in orders if x != "repair"]:
        for rows in alignment.waves(len(first), mesh.size):
            order = {group: x[rows] for group, x in orders[kind].items()}
            pair = {"first": first[rows], "second": second[rows], "order": order}
            found["weight_distance"][rows, ALIGNMENTS.index(kind)] = lines.distances(pair)
    if "repair" in orders:
        found["weight_distance"][:, 3] = found["weight_distance"][:, 1]
    return found


def laid_out(
    found: Mapping[str, Mapping[str, np.ndarray]], alive: Mapping[str, np.ndarray]
) -> xr.Dataset:
    """Lay what was found of every model out along `model`, with the pairs of all of its members.

    Args:
      found: label -> of `connect`, for the members that are left.
      alive: label -> which ones these are, [M] bool; pairs with others, and models without any
        pair, are nan.

    Variables:
      loss_mean: mean over pairs of loss_barrier [nats]
      loss_mean_low: lower end of its 95 % interval over members, BCa; nan below 8
      loss_mean_high: upper end of it
      error_mean: mean over pairs of error_barrier
      error_mean_low: lower end of its 95 % interval over members, BCa; nan below 8
      error_mean_high: upper end of it
    """
    count = max(map(len, alive.values()))
    first, second = all_pairs(count)
    like, sets = next(iter(found.values())), []
    for label, left in alive.items():
        left, own = np.pad(left, (0, count - len(left))), found.get(label)
        values = {name: np.full((*x.shape,), np.nan) for name, x in like.items()}
        for name, over in AXES.items():
            if over[0] == "pair":
                values[name] = np.full((len(first), *like[name].shape[1:]), np.nan)
            if own is not None:
                values[name][left[first] & left[second] if over[0] == "pair" else ...] = own[name]
        for name in ("loss", "error"):
            means = np.full((3, len(ALIGNMENTS), len(SPLITS)), np.nan)
            for a, s in np.ndindex(means.shape[1:] if own is not None else (0, 0)):
                matrix = np.zeros((count, count))
                matrix[first, second] = matrix[second, first] = values[f"{name}_barrier"][:, a, s]
                means[:, a, s] = pair_interval(matrix[np.ix_(left, left)])
            ends = zip(("", "_low", "_high"), means, strict=True)
            values |= {f"{name}_mean{end}": x for end, x in ends}
        mean = ("alignment", "split")
        sets.append(xr.Dataset({name: (AXES.get(name, mean), x) for name, x in values.items()}))
    results = xr.concat(sets, "model").assign_coords(model=list(alive))
    results = results.assign_coords({"first": ("pair", first), "second": ("pair", second)})
    names = {"alignment": ALIGNMENTS, "split": SPLITS, "part": PARTS, "merged": MERGED}
    results = results.assign_coords({k: np.array(x, object) for k, x in names.items()})
    results = results.assign_coords(mixing=("point", MIXING))
    return described(described(results, connect), laid_out)


def _orders(
    model: Model,
    params: Params,
    pairs: tuple[np.ndarray, np.ndarray],
    statistics: np.ndarray,
    mesh: Mesh,
    alignments: Collection[str],
    told: Callable[[float], object],
) -> dict[str, alignment.Order]:
    """Find the order of the second of every pair in each way that needs one."""
    units: Any = model.units
    whole, count = alignment.group_sizes(units, alignment.member(params, 0)), len(pairs[0])
    orders: dict[str, alignment.Order] = {"none": alignment.identity(whole, count)}
    if {"weights", "repair"} & {*alignments}:
        orders["weights"] = alignment.match_weights(
            units, params, *pairs, mesh, lambda done: told(0.2 * done / count)
        )
    if "activations" in alignments:
        orders["activations"] = alignment.match_activations(model, params, *pairs, statistics, mesh)
    if "repair" in alignments:
        orders["repair"] = orders["weights"]
    return orders


def _merged(model: Model, params: Params, orders: Mapping[str, alignment.Order]) -> list[Params]:
    """Average the weights of all members in the ways of MERGED behind the first: [1, ...]."""
    units: Any = model.units
    count = len(jax.tree.leaves(params)[0])  # the first pairs are of the first member
    star = {g: np.concatenate([x[:1] * 0 + np.arange(x.shape[1]), x[: count - 1]])
            for g, x in orders["weights"].items()}  # fmt: skip
    found = [jax.tree.map(lambda x: np.asarray(x).mean(axis=0, keepdims=True), params)]
    for order in (star, alignment.match_many(units, params, star)):
        own = [{g: x[m] for g, x in order.items()} for m in range(count)]
        each = (
            alignment.permuted(units, alignment.member(params, m), own[m]) for m in range(count)
        )
        found.append(jax.tree.map(lambda *x: np.mean(x, axis=0)[None], *each))
    return found


def _cool(found: Any, lines: Lines, ask: Any, asked: Asked, middle: np.ndarray) -> None:
    """Fit one temperature to the network in the middle of every pair; the ends stay as they are."""

    def logits(data: Examples) -> np.ndarray:
        made = [np.zeros((len(middle), 0, asked.num_classes))]
        for part in _parts(data):
            lines.see(data.inputs[part])
            made.append(ask("none", middle, lambda logits, rows: logits[:, 0]))
        return np.concatenate(made, axis=1)

    a, share = ALIGNMENTS.index("temperature"), cooled(logits(asked.valid), asked.valid.labels)
    found["temperature"] = 1.0 / share
    for s, data in enumerate(asked[:2]):
        sums = _summed(data.labels, share[:, None, None] * logits(data))
        for name, values in zip(("loss", "error"), sums.T / len(data.labels), strict=True):
            line = found[f"line_{name}"]
            line[:, a, s, MIDDLE] = values
            ends = line[:, 0, s, [0, -1]].mean(axis=1)
            found[f"{name}_barrier"][:, a, s] = np.maximum(values - ends, 0.0)


def _pictures(
    found: Any, lines: Lines, ask: Any, asked: Asked, kind: str, pairs: Sequence[np.ndarray]
) -> None:
    """Divide the loss barrier of every pair among the test examples, where it is highest."""
    a, labels = ALIGNMENTS.index(kind), asked.test.labels
    line = found["line_loss"][:, a, 1]
    rise = line - (1 - MIXING) * line[:, :1] - MIXING * line[:, -1:]
    share = MIXING[rise.argmax(axis=1)].astype(np.float32)
    parts = []
    for part in _parts(asked.test):
        own = lines.see(asked.test.inputs[part])

        def divided(logits: Any, rows: Any, own: Any = own, part: slice = part) -> np.ndarray:
            one, other = (own[x[rows]] for x in pairs)
            found = decomposed(logits[:, 0], one, other, share[rows], labels[part])
            return np.moveaxis(found, 0, -1)

        parts.append(ask(kind, share[:, None], divided))
    whole = np.concatenate(parts, axis=1)  # [pair, example, part]
    gap = whole.sum(axis=-1)
    found["picture_gap"][:, a] = gap
    found["identity_error"][:, a] = np.abs(gap.mean(axis=1) - found["loss_barrier"][:, a, 1])
    whole = np.concatenate([whole, gap[..., None]], axis=-1)
    for k in np.unique(labels):
        found["gap_part"][:, a, k] = whole[:, labels == k].mean(axis=1)


def _parts(data: Examples) -> list[slice]:
    """Cut examples into parts that are asked about at once."""
    starts = range(0, len(data.labels), EXAMPLES_AT_ONCE)
    return [slice(start, start + EXAMPLES_AT_ONCE) for start in starts]


def _summed(labels: np.ndarray, logits: np.ndarray, rows: Any = None) -> np.ndarray:
    """Sum loss and error over examples: [..., 2] of [..., N, K]."""
    return np.stack([x.sum(axis=-1, dtype=np.float64) for x in judged(logits, labels)], axis=-1)
