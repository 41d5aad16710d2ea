"""Convolution in a loop that trains, how it is compiled there, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from catdog_jax.ops.conv import conv
from catdog_jax.types import InputError


def reference(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def draw(height, width, inputs, outputs, window, batch=3):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(batch, height, width, inputs))
    w = rng.normal(size=(window, window, inputs, outputs))
    return jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)


def close(found, expected, rtol=2e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(np.abs(b).max()))


@pytest.mark.parametrize("form", ["direct", "patches"])
def test_inside_a_loop(form):
    x, w = draw(6, 6, 4, 4, 3)

    def descend(function):
        def body(_, w):
            return w - 1e-3 * jax.grad(lambda w: jnp.mean(function(x, w) ** 2))(w)

        return jax.jit(lambda w: lax.fori_loop(0, 3, body, w))(w)

    step = jax.jit(lambda w: w - 1e-3 * jax.grad(lambda w: jnp.mean(reference(x, w) ** 2))(w))
    expected = step(step(step(w)))
    close(descend(lambda x, w: conv(x, w, form=form)), expected)


def test_direct_gradients_in_a_loop_are_plain_convolutions():
    """The layout of every convolution in the compiled loop is the one XLA:CPU is fast at."""
    x, w = draw(8, 8, 8, 8, 3)

    def body(_, pair):
        return jax.grad(lambda x, w: jnp.sum(conv(x, w) ** 2), (0, 1))(*pair)

    text = jax.jit(lambda x, w: lax.fori_loop(0, 2, body, (x, w))).lower(x, w).as_text()
    layouts = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(layouts) == 3
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in layouts)


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"padding": "FULL"}, {"padding": "VALID"}], ids=str
)
def test_refuses_what_has_no_meaning(options):
    x, w = draw(2, 2, 3, 4, 3)
    with pytest.raises(ValueError, match=r"stride|padding"):
        conv(x, w, **options)


def test_unknown_form_names_the_known_ones():
    with pytest.raises(InputError, match=r"'patch'; known: direct, lax, patches .*'patches'"):
        conv(*draw(4, 4, 3, 4, 3), form="patch")
