"""Our convolution gives the numbers of `lax.conv_general_dilated`, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from catdog_jax.ops.conv import conv
from catdog_jax.types import InputError

FORMS = ("direct", "patches", "lax")
# height, width, channels in, channels out, window, stride, padding
CASES = [
    (8, 8, 3, 4, 3, 1, "SAME"),
    (7, 9, 5, 6, 3, 2, "SAME"),
    (7, 7, 6, 5, 1, 2, "SAME"),
    (11, 8, 6, 5, 5, 3, "VALID"),
    (8, 9, 1, 5, 4, 3, "SAME"),
    (1, 3, 5, 4, 3, 1, "SAME"),
]


def reference(x, w, stride=1, padding="SAME"):
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def draw(height, width, inputs, outputs, window, batch=3):
    keys = jax.random.split(jax.random.key(1), 2)
    x = jax.random.normal(keys[0], (batch, height, width, inputs))
    return x, jax.random.normal(keys[1], (window, window, inputs, outputs))


def close(found, expected, rtol=2e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(np.abs(b).max()))


def gradients(function, x, w):
    """Gradients of a curved loss, and the gradients of a number made of those."""

    def loss(x, w):
        return jnp.sum(jnp.sin(function(x, w)))

    def of_gradients(x, w):
        return sum(jnp.sum(jnp.cos(g)) for g in jax.grad(loss, (0, 1))(x, w))

    return jax.grad(loss, (0, 1))(x, w), jax.grad(of_gradients, (0, 1))(x, w)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_forward_and_gradients_are_those_of_lax(form, case):
    *sizes, stride, padding = case
    x, w = draw(*sizes)

    def all_of(function):
        def run(x, w):
            y, pull = jax.vjp(function, x, w)
            return y, pull(jnp.cos(y))

        return jax.jit(run)(x, w)

    found = all_of(lambda x, w: conv(x, w, stride=stride, padding=padding, form=form))
    close(found, all_of(lambda x, w: reference(x, w, stride, padding)))


@pytest.mark.parametrize("case", [CASES[1], CASES[3]], ids=str)
@pytest.mark.parametrize("form", ["direct", "patches"])
def test_gradient_of_gradient(form, case):
    *sizes, stride, padding = case
    x, w = draw(*sizes)
    options = {"stride": stride, "padding": padding}
    found = jax.jit(lambda x, w: gradients(lambda x, w: conv(x, w, form=form, **options), x, w))
    expected = jax.jit(lambda x, w: gradients(lambda x, w: reference(x, w, **options), x, w))
    close(found(x, w), expected(x, w), rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", ["direct", "patches"])
def test_vmap_over_weights_and_map(form, stride):
    x, _ = draw(6, 7, 5, 4, 3)
    w = jax.random.normal(jax.random.key(3), (3, 3, 3, 5, 4))

    def both(w):
        def loss(x, w):
            return jnp.sum(conv(x, w, stride=stride, form=form) ** 2)

        return conv(x, w, stride=stride, form=form), jax.grad(loss, (0, 1))(x, w)

    def alone(w):
        y, pull = jax.vjp(lambda x, w: reference(x, w, stride), x, w)
        return y, pull(2 * y)

    alone = jax.jit(alone)
    expected = jax.tree.map(lambda *a: np.stack(a), *[alone(v) for v in w])
    close(jax.jit(jax.vmap(both))(w), expected)
    close(jax.jit(lambda w: lax.map(both, w))(w), expected)


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
