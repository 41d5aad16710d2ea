"""The first steps of stock Flax, in a file: what every competitor starts from and is checked by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shared.throughput.problem import CHECK_STEPS, Problem

NUM_BATCHES = 8  # that the peers have at hand, ready-made


class Reference(NamedTuple):
    """What is needed to train as the others do.

    Attributes:
      images: [NUM_BATCHES, B, H, W, C] float32, normalised, in the order of the engine's steps.
      labels: [NUM_BATCHES, B] int32.
      start: member -> name -> starting weights.
      end: 'constant' or 'scheduled' learning rate -> member -> name -> weights after CHECK_STEPS.
      loss: likewise, the mean batch loss over these steps, nats.
      logits: [B, K] of the first batch and member 0's starting weights.
    """

    images: np.ndarray
    labels: np.ndarray
    start: dict[int, dict[str, np.ndarray]]
    end: dict[str, dict[int, dict[str, np.ndarray]]]
    loss: dict[str, dict[int, float]]
    logits: np.ndarray

    def copies(self, count: int) -> list[dict[str, np.ndarray]]:
        """Give starting weights of so many members: those there are, over and over."""
        known = sorted(self.start)
        return [self.start[known[index % len(known)]] for index in range(count)]


def write_reference(problem: Problem, path: Path, members: Sequence[int]) -> None:
    """Train some members a few steps by stock Flax, and keep where they start and arrive.

    Args:
      problem: the model.
      path: of the file to write.
      members: their numbers in the engine's population.
    """
    import jax
    import jax.numpy as jnp

    from catdog_jax.optimizers import SCHEDULES
    from catdog_jax.population import member_keys
    from catdog_jax.registry import parse_entry, typed_settings
    from catdog_jax.train import batch_at, epoch_order
    from experiments.shared import jobs
    from experiments.shared.peers import stock
    from experiments.shared.throughput.problem import random_dataset, train_config

    config, dataset = train_config(problem), random_dataset(problem)
    (job,) = jobs.make_jobs(config, dataset, [problem.entry])
    keys = member_keys(jobs.seeds_of(config), 0, max(members) + 1)
    prepare = jobs.preprocess(dataset)
    order = epoch_order(keys.order, jnp.int32(0), problem.examples)
    steps = [jnp.int32(step) for step in range(NUM_BATCHES)]
    batches = [batch_at(order, s, dataset.train.data, problem.batch_size) for s in steps]
    images = np.stack([np.asarray(prepare(batch.inputs)) for batch in batches])
    labels = np.stack([np.asarray(batch.labels) for batch in batches])

    name, settings = parse_entry(config.schedule)
    make = SCHEDULES[name]
    shape = make(job.recipe.num_steps, **typed_settings(config.schedule, make, settings))
    arrays: dict[str, Any] = {"images": images, "labels": labels}
    starts = {m: stock.flat(job.model.init(keys.init[m])) for m in members}

    def optimizer(factors: Any) -> Any:
        return stock.stock_optimizer(problem, lambda step: factors[step])

    @jax.jit
    def step(factors: Any, *args: Any) -> Any:
        return stock.stock_step(problem, optimizer(factors))(*args)

    scheduled = np.array([shape(s) for s in steps[:CHECK_STEPS]], np.float32)
    for kind, factors in (("constant", np.ones(CHECK_STEPS, np.float32)), ("scheduled", scheduled)):
        for member, start in starts.items():
            params, losses = stock.nested(start), []
            opt_state = optimizer(factors).init(params)
            for index in range(CHECK_STEPS):
                batch = images[index], labels[index]
                params, opt_state, loss = step(factors, params, opt_state, *batch)
                losses.append(float(loss))
            arrays[f"loss|{kind}|{member}"] = np.mean(losses)
            for place, tree in (("start", start), (kind, stock.flat(params))):
                arrays |= {f"{place}|{member}|{n}": np.asarray(x) for n, x in tree.items()}
    first = stock.nested(starts[min(members)])
    with jax.default_matmul_precision("highest"):
        arrays["logits"] = np.asarray(stock.stock_apply(problem)(first, images[0]))
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def read_reference(path: Path) -> Reference:
    """Read what `write_reference` wrote."""
    found: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    loss: dict[str, dict[int, float]] = {}
    with np.load(path) as file:
        for key in file.files:
            parts = key.split("|")
            if parts[0] == "loss":
                loss.setdefault(parts[1], {})[int(parts[2])] = float(file[key])
            elif len(parts) == 3:
                place, member, name = parts
                found.setdefault(place, {}).setdefault(int(member), {})[name] = file[key]
        images, labels, logits = (file[name] for name in ("images", "labels", "logits"))
    return Reference(images, labels, found.pop("start"), found, loss, logits)


def distance(
    reference: Reference,
    kind: str,
    reached: Mapping[int, tuple[Mapping[str, np.ndarray], float]],
) -> dict[str, float]:
    """Compare a competitor's first CHECK_STEPS steps with those of stock Flax.

    Args:
      reference: of `read_reference`.
      kind: 'constant' or 'scheduled' learning rate.
      reached: member -> (its weights after these steps, its mean loss over them, nats).

    Returns:
      'loss': the largest relative difference; 'update': the largest difference of what the steps
      added to the weights, relative to what they added (L2 over all weights).
    """
    worst = {"loss": 0.0, "update": 0.0}
    for member, (weights, loss) in reached.items():
        start, end = reference.start[member], reference.end[kind][member]
        if set(weights) != set(end):
            raise ValueError(f"weights {sorted(weights)} are not {sorted(end)}")
        apart = np.sqrt(sum(np.sum((np.asarray(weights[n]) - end[n]) ** 2) for n in end))
        moved = np.sqrt(sum(np.sum((end[n] - start[n]) ** 2) for n in end))
        right = reference.loss[kind][member]
        # A member without weights that moved, or a loss that is not finite, is never right.
        found = {"loss": abs(loss - right) / abs(right), "update": apart / moved}
        worst = {k: max(worst[k], v) if np.isfinite(v) else np.inf for k, v in found.items()}
    return {name: float(value) for name, value in worst.items()}
