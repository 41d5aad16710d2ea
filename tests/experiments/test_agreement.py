"""Disagreement by picture and churn, against counting."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.types import InputError
from experiments import agreement


def test_disagreement_and_churn_are_counted(source, finished, tmp_path, run_folder):
    assert agreement.main([f"--run={source}", f"--out_dir={tmp_path}"]) == 0
    data = open_run(run_folder(tmp_path)).data
    for label, found in finished.populations.items():
        one = data.sel(model=label)
        votes = finished.data["logits"].sel(model=label).values.argmax(-1)
        apart = [votes[a] != votes[b] for a, b in itertools.combinations(range(3), 2)]
        np.testing.assert_allclose(one["disagreement_by_example"], np.mean(apart, 0), atol=1e-12)
        answers = found.logits.argmax(-1)
        changed = (answers[1:] != answers[:-1]).mean(-1).T
        np.testing.assert_allclose(one["churn"], changed, atol=1e-12)
        assert one["step"].values.tolist() == [4, 8, 12]
    rows = data["picture_example"].values
    pictures = finished.populations["linear"].data.test.inputs
    np.testing.assert_array_equal(data["picture"].values, pictures[rows])


def test_models_of_unlike_many_members_are_refused():
    runs = {"linear": SimpleNamespace(num_members=4), "mlp": SimpleNamespace(num_members=2)}
    with pytest.raises(InputError, match="the run has 4 of linear, 2 of mlp; name models of"):
        agreement.check(runs)
