"""How a population is cut into waves and run: a pure function of config, device kind and memory."""

import math
from typing import Any, NamedTuple

import jax

from catdog_jax.population import rule
from catdog_jax.population.flops import tree_bytes, written_bytes
from catdog_jax.population.machine import Machine, find_machine
from catdog_jax.types import InputError, Model

STRATEGIES = ("auto", "map", "chunk", "vmap")
_SHARE = 0.5  # of a device's memory that a wave may take
# Examples judged at a time; under vmap each member has activations of its own for all of them.
EVAL_BATCH, EVAL_BATCH_TOGETHER = 256, 64


class Execution(NamedTuple):
    """How a task is to be computed, not what.

    Attributes:
      strategy: one of STRATEGIES; a run takes 'measure' as well.
      conv: form of the convolution, or 'auto'.
      wave: members that train together; 0 for as many as fit.
      precision: one of PRECISIONS.
    """

    strategy: str = "auto"
    conv: str = "auto"
    wave: int = 0
    precision: str = "float32"


BY_RULE = Execution()


class Plan(NamedTuple):
    """Everything about the run of a model that decides its bits besides recipe and machine.

    Attributes:
      strategy: 'map' (one member at a time, its steps inside), 'chunk' (a few vmapped), 'vmap'.
      chunk: members vmapped together; 1 for 'map', but for members that are joined.
      wave: members that train together, over all devices.
      num_devices: devices that share a wave.
      microbatch: examples per gradient part, 0 for the whole batch.
      conv: form of the convolution, of `ops.conv.FORMS`.
      bytes_per_member: what one member adds to a wave, estimated or as compiled.
      share: devices that share the examples of each member, 1 where each has members of its own.
      matrices: how matrices with many more rows than columns (above all those that multiply
        pictures) are carried from step to step: 'stored' as they are, or 'transposed'.
      joined: members for which a first layer that is computed as one has room; at most so many make
        a chunk. A member's bits depend on it, and not on the chunk.
    """

    strategy: str
    chunk: int
    wave: int
    num_devices: int
    microbatch: int
    conv: str
    bytes_per_member: int
    share: int = 1
    matrices: str = "stored"
    joined: int = 1

    @property
    def per_device(self) -> int:
        """Members on each device, or on each group of devices that shares them."""
        return self.wave * self.share // self.num_devices

    @property
    def eval_batch(self) -> int:
        """Examples judged at a time."""
        return self.microbatch or (EVAL_BATCH if self.chunk == 1 else EVAL_BATCH_TOGETHER)

    def resized(self, per_device: int) -> "Plan":
        """Return the same plan for another number of members on each device."""
        chunk = per_device if self.strategy == "vmap" else min(self.chunk, per_device)
        return self._replace(chunk=chunk, wave=per_device * (self.num_devices // self.share))


def make_plan(
    model: Model,
    batch: Any,
    num_members: int,
    how: Execution = BY_RULE,
    machine: Machine | None = None,
    *,
    fixed_bytes: int = 0,
    transpose: bool = False,
    shared: int = 0,
    flops: int = 0,
) -> Plan:
    """Decide strategy, wave and forms for one model.

    Args:
      model: the formula; only its shapes are looked at.
      batch: shape and dtype of one batch (jax.ShapeDtypeStruct or array).
      num_members: members asked for, >= 1.
      how: what a person asked for; a wave is rounded up to the devices.
      machine: to run on, this one by default; see `find_machine`.
      fixed_bytes: what a wave of any size needs on each device (the data).
      transpose: whether matrices may be carried transposed, as the optimiser treats all numbers
        alike.
      shared: members of the whole run, of which this may be a process's part, where all see the
        same examples at a step, changed in the same way; 0: they do not.
      flops: operations of the whole run.

    The estimate of memory is rough and high. On a CPU it has the last word; on an accelerator it
    rejects nothing, since the compiled programs tell exactly (`fit.plan_training`).

    Raises:
      InputError: an unknown strategy; on a CPU, not even one member per device fits.
    """
    if how.strategy not in STRATEGIES:
        raise InputError(f"strategy {how.strategy!r}; allowed: {', '.join(STRATEGIES)}")
    machine = machine or find_machine()
    on_cpu, wave, batch_size = machine.backend == "cpu", how.wave, batch.shape[0]
    params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    weights = tree_bytes(params)
    has_conv = any(leaf.ndim >= 4 for leaf in jax.tree.leaves(params))
    strategy, together, conv = rule.choose(
        machine.backend, how.strategy, how.conv, weights, has_conv, flops
    )
    num_devices, share = rule.devices_for(
        max(num_members, wave), len(machine.devices), batch_size, has_conv
    )
    microbatch = 8 if has_conv and on_cpu and strategy == "map" else 0
    # Every array that the forward pass writes bounds what it holds.
    written = written_bytes(model.apply, (params, batch))
    activations = 3 * written * ((microbatch or batch_size) / batch_size)
    # Weights, two moments, and gradient; the last segment's copy on the host shares CPU memory.
    resident = 6 * weights
    budget = int(_SHARE * machine.memory) - fixed_bytes
    if together == 0:
        most = int(budget // (resident + activations))
    else:
        most = int((budget - together * activations) // resident)
    if not on_cpu:
        most = max(most, 1)
    elif most < 1:
        needed = (resident + activations + fixed_bytes) / _SHARE
        raise InputError(
            f"one member needs about {needed / 2**30:.1f} GiB on a device that has "
            f"{machine.memory / 2**30:.1f} GiB; make the model, --batch_size or --image_size "
            "smaller"
        )
    apart = num_devices // share  # places for members
    if wave == 0:
        in_turn = on_cpu and strategy != "vmap"
        fitting = min(most, rule.members_in_turn(weights)) if in_turn else most
        num_waves = math.ceil(num_members / (apart * fitting))
        wave = math.ceil(num_members / num_waves)
    per_device = math.ceil(wave / apart)
    if per_device > most and on_cpu:
        raise InputError(
            f"wave {wave} is more than memory holds; give at most {most * apart}, or 0"
        )
    joinable = shared > 3 and strategy == "map" and share == 1 and how.precision != "bfloat16"
    joined = 1
    if on_cpu and joinable and model.first:
        part = jax.ShapeDtypeStruct((microbatch or batch_size, *batch.shape[1:]), batch.dtype)
        made = jax.eval_shape(model.first.apply, params[model.first.name], part)
        together = joined = rule.members_joined(tree_bytes(made), shared)
    num_chunks = math.ceil(per_device / (together or per_device))
    chunk = math.ceil(per_device / num_chunks)
    matrices = "transposed" if transpose and on_cpu else "stored"
    size = int(resident + activations)
    wave = chunk * num_chunks * apart
    bits = microbatch, conv, size, share, matrices, joined
    return Plan(strategy, chunk, wave, num_devices, *bits)
