"""Counts what a training step computes: matrix products and convolutions, from a program."""

import math
from collections.abc import Callable
from typing import Any

import jax


def step_flops(apply: Callable[[Any, Any], Any], params: Any, inputs: Any) -> int:
    """Count the floating-point operations of one member's step, as a person would by hand.

    A product of [B, D] and [D, K] takes 2·B·D·K operations, a convolution 2·B·P·Q·K·R·S·C (output
    pixels and channels, window, input channels). Forward, each is done once; backward, once for
    each factor that depends on the weights: twice in general (the gradients of inputs and weights),
    once in the first layer, whose inputs are data. So a step takes three times its forward, less
    one product of the first layer. All else (activations, pooling, normalising, the optimiser,
    the loss) is left out.

    Args:
      apply: (params, inputs [B, ...]) -> logits, written with stock products and convolutions.
      params, inputs: arrays, or their shapes.

    Returns:
      Operations; a multiply-add counts as two.
    """
    closed = jax.make_jaxpr(apply)(params, inputs)
    num_params = len(jax.tree.leaves(params))
    learned = [index < num_params for index in range(len(closed.jaxpr.invars))]
    return _count(closed.jaxpr, learned)[0]


def _count(jaxpr: Any, learned: list[bool]) -> tuple[int, list[bool]]:
    """Count a program's operations, and tell which of its outputs depend on the weights."""
    depends = dict(zip(jaxpr.invars, learned, strict=True))

    def on_weights(atom: Any) -> bool:
        return not hasattr(atom, "val") and depends.get(atom, False)

    total = 0
    for equation in jaxpr.eqns:
        marks = [on_weights(atom) for atom in equation.invars]
        inner = _inner(equation)
        if inner is not None:
            count, out = _count(inner, marks[len(marks) - len(inner.invars) :])
            total += count * equation.params.get("length", 1)
        else:
            total += _product(equation) * (1 + sum(marks))
            out = [any(marks)] * len(equation.outvars)
        depends.update(zip(equation.outvars, out, strict=True))
    return total, [on_weights(atom) for atom in jaxpr.outvars]


def _inner(equation: Any) -> Any:
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        found = equation.params.get(name)
        if found is not None:
            return getattr(found, "jaxpr", found)
    return None


def _product(equation: Any) -> int:
    """Count one forward pass of a product or a convolution; 0 for anything else."""
    name = equation.primitive.name
    if name not in ("dot_general", "conv_general_dilated"):
        return 0
    left, right = (atom.aval.shape for atom in equation.invars)
    out = math.prod(equation.outvars[0].aval.shape)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * out * math.prod(left[axis] for axis in contracted)
    kernel = equation.params["dimension_numbers"].rhs_spec  # (out, in, *window)
    return 2 * out * math.prod(right[axis] for axis in kernel[1:])
