"""Compiles the programs of a training run for a machine, without data and without running them."""

import math
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.analysis.sketch import sketch
from catdog_jax.models.build import build_model
from catdog_jax.population import Plan, Program, Seeds, member_keys, parse_vary
from catdog_jax.population.compiled import Collective, Memory, collectives_of, memory_of
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.flops import step_flops
from catdog_jax.population.plan import tree_bytes
from catdog_jax.population.topology import Machine, is_out_of_memory
from catdog_jax.types import Data, Dataset, Split
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import TRAIN_EVAL_EXAMPLES, Job

# Of an accelerator's memory. No program counts the logits of the last evaluation, nor memory that
# is free but in pieces.
_SHARE = 0.9


class Part(NamedTuple):
    """One of a run's two programs, compiled.

    Attributes:
      name: 'training' or 'evaluation'.
      memory: of the program; None where it does not fit.
      beside: bytes that lie on each device meanwhile, but are no argument of this program.
      collectives: its communication.
      seconds: to compile it.
      refusal: what the compiler said where it does not fit.
      wanted: bytes that the compiler said it would have needed, 0 where it did not say.
    """

    name: str
    memory: Memory | None
    beside: int
    collectives: list[Collective]
    seconds: float
    refusal: str = ""
    wanted: int = 0

    @property
    def needed(self) -> int | None:
        """Bytes on each device in all; None where no one can say."""
        total = self.memory.needed if self.memory is not None else self.wanted
        return total + self.beside if total else None


class Work(NamedTuple):
    """What one member costs.

    Attributes:
      step_flops: operations of a training step.
      judge_flops: operations to evaluate one example.
      step_bytes: weights and optimiser's state, read and written once.
      judged: examples of one evaluation.
    """

    step_flops: float
    judge_flops: float
    step_bytes: float
    judged: int


def shape_dataset(
    name: str, num_train: int, num_test: int, image_size: int, num_classes: int
) -> Dataset:
    """Make a data set that has a shape and no memory: one black pixel, seen from everywhere."""

    def split(num: int) -> Split:
        pictures = np.broadcast_to(np.uint8(0), (num, image_size, image_size, 3))
        return Split(pictures, np.broadcast_to(np.int32(0), (num,)), ())

    classes = ("cat", "dog") if num_classes == 2 else tuple(map(str, range(num_classes)))
    return Dataset(name, split(num_train), split(0), split(num_test), classes, {"fingerprint": ""})


def resized(plan: Plan, members: int) -> Plan:
    """Give a plan so many members on each device (or on each group that shares them)."""
    chunk = members if plan.strategy == "vmap" else min(plan.chunk, members)
    return plan._replace(chunk=chunk, wave=members * (plan.num_devices // plan.share))


def members_per_device(plan: Plan) -> int:
    """Count the members on each device (or on each group that shares them)."""
    return plan.wave * plan.share // plan.num_devices


def compile_programs(
    config: TrainConfig,
    job: Job,
    plan: Plan,
    machine: Machine,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Part]:
    """Compile both programs of a run, training first.

    Args:
      config: the settings.
      job: of `make_jobs`, on a data set of any kind.
      plan: of the wave.
      machine: to compile for.
      tell: called with a line before each compilation.

    Raises:
      RuntimeError: the compiler fails for another reason than memory.
    """
    mesh = member_mesh(plan.num_devices, plan.share, machine.devices)
    keys: Any = jax.eval_shape(lambda: member_keys(Seeds(), 0, plan.wave, parse_vary(config.vary)))
    train = _shapes(job.dataset.train.data)
    sets = {name: _shapes(data) for name, data in _evaluation_shapes(job.dataset).items()}
    # The statistics of the pictures are constants of the program: those of one do as well.
    one = job.dataset.train.inputs[:1]
    small = Split(one, job.dataset.train.labels[:1], ())
    learner = job_module.job_learner(
        config, job._replace(dataset=_with_train(job.dataset, small)), plan
    )
    program = Program(learner, keys, train, sets, plan, mesh, sketch)
    params = jax.eval_shape(job.model.init, jax.eval_shape(lambda: jax.random.key(0)))
    state = job_module.state_bytes(config, job)
    moments = (state - tree_bytes(params)) * members_per_device(plan)
    beside = {
        "training": tree_bytes(sets) // plan.share,
        "evaluation": tree_bytes(train) + moments,
    }
    lower = {"training": program.lower_segment, "evaluation": program.lower_evaluate}
    parts = []
    for name, make in lower.items():
        tell(
            f"{job.label}: compiling the {name} program of {plan.wave:,} members "
            f"({members_per_device(plan):,} a device) for {machine.name} ..."
        )
        begin = time.monotonic()
        try:
            compiled = make(keys).compile()
        except jax.errors.JaxRuntimeError as error:
            seconds = time.monotonic() - begin
            if not is_out_of_memory(error):
                raise RuntimeError(f"{job.label}: {_first_line(error)}") from error
            text = _first_line(error)
            parts.append(Part(name, None, beside[name], [], seconds, text, wanted_memory(text)))
            continue
        seconds = time.monotonic() - begin
        found = collectives_of(compiled, mesh)
        parts.append(Part(name, memory_of(compiled), beside[name], found, seconds))
    return parts


def usable(machine: Machine) -> int:
    """Tell how many bytes of a device a wave may fill."""
    return machine.memory if machine.backend == "cpu" else int(_SHARE * machine.memory)


def fits(parts: list[Part], machine: Machine) -> bool:
    """Return whether a device holds both programs and what lies beside them."""
    return all(p.memory is not None and (p.needed or 0) <= usable(machine) for p in parts)


def needed(parts: list[Part]) -> int | None:
    """Tell the bytes a device must have for both; None where a compiler gave up."""
    figures = [part.needed for part in parts]
    return None if None in figures else max(f for f in figures if f is not None)


def wanted_memory(text: str) -> int:
    """Read how many bytes a compiler missed from its refusal, 0 where it does not say."""
    found = re.search(r"\(([0-9.]+)([KMGT])\) exceeds", text)
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1)) if found else 0


def work_of(config: TrainConfig, job: Job) -> Work:
    """Count what one member costs, from the products in its formula."""
    shape = job.dataset.train.inputs.shape[1:]
    model = build_model(job.entry, shape, len(job.dataset.class_names), conv="lax")
    params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    batch: Any = jax.ShapeDtypeStruct((job.recipe.batch_size, *shape), np.float32)
    # With nothing learned every product counts once: the forward pass.
    forward = step_flops(lambda nothing, both: model.apply(*both), (), (params, batch))
    sets = _evaluation_shapes(job.dataset)
    return Work(
        step_flops(model.apply, params, batch),
        forward / job.recipe.batch_size,
        2 * job_module.state_bytes(config, job),
        sum(len(data.labels) for data in sets.values()),
    )


def num_waves(config: TrainConfig, members: int, plan: Plan) -> int:
    """Count the waves of so many members on each device."""
    return math.ceil(config.num_members / resized(plan, members).wave)


def _evaluation_shapes(dataset: Dataset) -> dict[str, Data]:
    num = min(len(dataset.train.labels), TRAIN_EVAL_EXAMPLES)
    part = Data(dataset.train.inputs[:num], dataset.train.labels[:num])
    return {"train": part, "test": dataset.test.data}


def _with_train(dataset: Dataset, train: Split) -> Dataset:
    return Dataset(
        dataset.name, train, dataset.valid, dataset.test, dataset.class_names, dataset.provenance
    )


def _shapes(data: Data) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
