"""Entries that name an estimator of a person's own."""

import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from small_data import logits, pictures

from catdog_jax.estimators.build import ESTIMATOR, fit_estimator
from catdog_jax.types import Classifier, InputError, Spec


def always(images, labels, num_classes, *, answer: int = 0):
    """Say the same class whatever the picture."""
    row = jnp.eye(num_classes)[answer]
    return Classifier(row, lambda params, inputs: jnp.tile(params[None], (len(inputs), 1)))


@pytest.fixture(autouse=True)
def own(monkeypatch):
    module = types.ModuleType("own_estimators")
    module.always, module.number = always, 3
    module.none = lambda images, labels, num_classes: None
    module.breaks = lambda images, labels, num_classes: {}["no such key"]
    module.narrow = lambda images, labels, num_classes: always(images, labels, 2)
    module.spec = Spec(always, origin="learned")
    monkeypatch.setitem(sys.modules, "own_estimators", module)


def test_a_function_of_ones_own_is_an_estimator():
    images, labels = pictures()
    found = fit_estimator("own_estimators.always:answer=2", images, labels, 3)
    np.testing.assert_array_equal(logits(found, images).argmax(axis=1), 2)
    assert ESTIMATOR.spec("own_estimators.always").origin == "estimated"
    assert ESTIMATOR.spec("own_estimators.spec").origin == "learned"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("own_estimators.number", "is a int; give a function"),
        ("own_estimators.nothing", "has no 'nothing'"),
        ("no_such_module.fit", "cannot import 'no_such_module'"),
        ("own_estimators.always:answr=1", "did you mean 'answer'"),
        ("own_estimators.none", "returned NoneType; return a"),
        ("own_estimators.breaks", "fails .KeyError: 'no such key'.; mend"),
        ("own_estimators.narrow", r"makes .2, 2. of 2 examples; apply must return .* .2, 3."),
    ],
)
def test_what_is_no_estimator_is_refused(entry, words):
    images, labels = pictures()
    with pytest.raises(InputError, match=words):
        fit_estimator(entry, images, labels, 3)
