"""Counts what a program computes and what it writes to memory, by tracing it."""

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

    def operations(equation: Any, marks: list[bool]) -> int:
        return _product(equation) * (1 + sum(marks))

    return _total(apply, (params, inputs), (True, False), operations)


def written_bytes(function: Callable[..., Any], args: tuple, own: tuple[bool, ...] = ()) -> int:
    """Add up the bytes of all arrays that a program writes.

    Args:
      function: of one member.
      args: its arguments, arrays or their shapes.
      own: for each argument, whether it differs between members; what is made of shared ones alone
        is made once for all members, and left out. Nothing is left out where it is not given.
    """

    def size(equation: Any, marks: list[bool]) -> int:
        mine = any(marks) or not own
        return tree_bytes([out.aval for out in equation.outvars]) if mine else 0

    return _total(function, args, own or (True,) * len(args), size)


def tree_bytes(tree: Any) -> int:
    """Add up the bytes of a pytree of arrays or shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _total(function: Any, args: tuple, own: Any, cost: Callable[[Any, list[bool]], int]) -> int:
    """Add up the cost of every equation in a function's program, loops as often as they run."""
    closed = jax.make_jaxpr(function)(*args)
    marks = [own[i] for i, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
    return _count(closed.jaxpr, marks, cost)[0]


def _count(jaxpr: Any, marks: list[bool], cost: Any) -> tuple[int, list[bool]]:
    """Add up a program's cost, and find which of its outputs depend on marked inputs."""
    depends = dict(zip(jaxpr.invars, marks, strict=True))

    def marked(atom: Any) -> bool:
        return not hasattr(atom, "val") and depends.get(atom, False)

    total = 0
    for equation in jaxpr.eqns:
        marks = [marked(atom) for atom in equation.invars]
        inside = (equation.params.get(name) for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
        if inner := next(filter(None, inside), None):
            inner = getattr(inner, "jaxpr", inner)
            count, out = _count(inner, marks[len(marks) - len(inner.invars) :], cost)
            total += count * equation.params.get("length", 1)
        else:
            total += cost(equation, marks)
            out = [any(marks)] * len(equation.outvars)
        depends.update(zip(equation.outvars, out, strict=True))
    return total, [marked(atom) for atom in jaxpr.outvars]


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
