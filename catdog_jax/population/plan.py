"""How a population is cut into waves and run: a pure function of config, device kind and memory."""

import math
from typing import Any, NamedTuple

import jax

from catdog_jax.population import rule
from catdog_jax.population.devices import total_memory
from catdog_jax.types import InputError, Model

STRATEGIES = ("auto", "map", "chunk", "vmap")
_SHARE = 0.5  # of a device's memory that a wave may take
# Examples judged at a time; under vmap each member has activations of its own for all of them.
EVAL_BATCH, EVAL_BATCH_TOGETHER = 256, 64


class Plan(NamedTuple):
    """Everything about the run of a model that decides its bits besides recipe and machine.

    Attributes:
      strategy: 'map' (one member at a time, its steps inside), 'chunk' (a few vmapped), 'vmap'.
      chunk: members vmapped together; 1 for 'map'.
      wave: members that train together, over all devices.
      num_devices: devices that share a wave.
      microbatch: examples per gradient part, 0 for the whole batch.
      conv: form of the convolution, 'direct' or 'patches'.
      bytes_per_member: what one member adds to a wave, estimated or as compiled.
      share: devices that share the examples of each member, 1 where each has members of its own.
      matrices: how matrices with many more rows than columns (above all those that multiply
        pictures) are carried from step to step: 'stored' as they are, or 'transposed'.
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
    *,
    num_members: int,
    num_devices: int,
    backend: str,
    memory: int,
    fixed_bytes: int = 0,
    strategy: str = "auto",
    conv: str = "auto",
    wave: int = 0,
    transpose: bool = False,
) -> Plan:
    """Decide strategy, wave and forms for one model.

    Args:
      model: the formula; only its shapes are looked at.
      batch: shape and dtype of one batch (jax.ShapeDtypeStruct or array).
      num_members: members asked for, >= 1.
      num_devices: devices at hand, >= 1.
      backend: 'cpu', 'gpu' or 'tpu'.
      memory: bytes of one device.
      fixed_bytes: what a wave of any size needs on each device (the data).
      strategy: one of STRATEGIES.
      conv: form of the convolution, or 'auto'.
      wave: members per wave as a person asked, 0 for automatic; rounded up to the devices.
      transpose: whether matrices may be carried transposed, as the optimiser treats all numbers
        alike.

    The estimate of memory is rough and high. On a CPU it has the last word; on an accelerator it
    rejects nothing, since the compiled programs tell exactly (`fit.plan_training`).

    Raises:
      InputError: an unknown strategy; on a CPU, not even one member per device fits.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"strategy {strategy!r}; allowed: {', '.join(STRATEGIES)}")
    params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    weights = tree_bytes(params)
    has_conv = any(leaf.ndim >= 4 for leaf in jax.tree.leaves(params))
    strategy, together, conv = rule.choose(backend, strategy, conv, weights, has_conv)
    in_wave = max(num_members, wave)
    num_devices, share = rule.devices_for(in_wave, num_devices, batch.shape[0], has_conv)

    microbatch = 8 if has_conv and backend == "cpu" and strategy == "map" else 0
    activations = (
        3
        * activation_bytes(model, params, batch)
        * ((microbatch or batch.shape[0]) / batch.shape[0])
    )
    # Weights, two moments, and gradient; the last segment's copy on the host shares CPU memory.
    resident = 6 * weights
    budget = int(_SHARE * memory) - fixed_bytes
    if together == 0:
        most = int(budget // (resident + activations))
    else:
        most = int((budget - together * activations) // resident)
    if backend != "cpu":
        most = max(most, 1)
    elif most < 1:
        needed = (resident + activations + fixed_bytes) / _SHARE
        raise InputError(
            f"one member needs about {needed / 2**30:.1f} GiB on a device that has "
            f"{memory / 2**30:.1f} GiB; make the model, --batch_size or --image_size smaller"
        )
    apart = num_devices // share  # places for members
    if wave == 0:
        in_turn = backend == "cpu" and strategy != "vmap"
        fitting = min(most, rule.members_in_turn(weights)) if in_turn else most
        num_waves = math.ceil(num_members / (apart * fitting))
        wave = math.ceil(num_members / num_waves)
    per_device = math.ceil(wave / apart)
    if per_device > most and backend == "cpu":
        raise InputError(
            f"wave {wave} is more than memory holds; give at most {most * apart}, or 0"
        )
    num_chunks = math.ceil(per_device / (together or per_device))
    chunk = math.ceil(per_device / num_chunks)
    return Plan(
        strategy,
        chunk,
        chunk * num_chunks * apart,
        num_devices,
        microbatch,
        conv,
        int(resident + activations),
        share,
        "transposed" if transpose and backend == "cpu" else "stored",
    )


def local_plan(
    model: Model, inputs: Any, batch_size: int, num_members: int, **options: Any
) -> Plan:
    """Plan a model for the devices of this machine.

    Args:
      model: the formula.
      inputs: the training inputs [N, ...]; only shape and type are looked at.
      batch_size, num_members: see `make_plan`.
      **options: fixed_bytes, strategy, conv, wave, transpose of `make_plan`.

    Raises:
      InputError: see `make_plan`.
    """
    return make_plan(
        model,
        jax.ShapeDtypeStruct((batch_size, *inputs.shape[1:]), inputs.dtype),
        num_members=num_members,
        num_devices=jax.local_device_count(),
        backend=jax.default_backend(),
        memory=total_memory(),
        **options,
    )


def tree_bytes(tree: Any) -> int:
    """Add up the bytes of a pytree of arrays or shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def activation_bytes(model: Model, params: Any, batch: Any) -> int:
    """Bound the bytes that the forward pass of one batch writes: every array in its program."""
    return _written(jax.make_jaxpr(model.apply)(params, batch).jaxpr)


def _written(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        inner = [p for p in jax.tree.leaves(list(equation.params.values())) if hasattr(p, "jaxpr")]
        if inner:
            total += sum(_written(p.jaxpr) for p in inner)
        else:
            total += sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in equation.outvars)
    return total
