"""sweep from its flags to its files: settings as data, halving that goes on, what is refused."""

import numpy as np
import pytest

from catdog_jax import open_run
from catdog_jax.analysis.distance import flatten_members
from catdog_jax.population import waves
from catdog_jax.run import checkpointer
from catdog_jax.run.task import SETTINGS
from catdog_jax.store import RunFolder
from experiments import init_convergence, sweep
from experiments._cli import parse_flags

SMALL = (
    "--dataset=procedural:num_train=96:num_valid=40:num_test=60",
    "--image_size=8",
    "--models=mlp:width=6",
    "--num_steps=18",
    "--batch_size=16",
    "--name=x",
)
RATES = ("--learning_rate=log:0.001:10:9", "--num_members=3", "--strategy=map")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr("experiments._experiment.draw", lambda *_: None)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, machine):
    """A function (*flags) -> the finished run of these, trained once."""
    known = {}

    def run(*flags):
        if flags not in known:
            out_dir = tmp_path_factory.mktemp("sweep")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("experiments._experiment.draw", lambda *_: None)
                assert sweep.main([*SMALL, *flags, f"--out_dir={out_dir}"]) == 0
            known[flags] = open_run(out_dir / "sweep" / "x")
        return known[flags]

    return run


def trials(*flags):
    return sweep.trials(parse_flags(flags, sweep.Config))


def test_flags_make_a_grid_and_points_lie_between_their_ends():
    found = trials("--learning_rate=0.1,0.2", "--clip_norm=0,1,2", "--gain=lin:1:3:3")
    assert list(found) == ["learning_rate", "clip_norm", "gain"]
    assert len({*zip(*found.values(), strict=True)}) == 18
    assert set(found["gain"]) == {1.0, 2.0, 3.0}
    np.testing.assert_allclose(trials()["learning_rate"], np.geomspace(1e-4, 1, 13))
    flags = ("--learning_rate=log:1e-4:1", "--momentum=lin:0:0.9", "--clip_norm=0,1")
    drawn = trials(*flags, "--sobol=12")
    rate, momentum, clip = drawn.values()
    assert (rate.min() > 1e-4, rate.max() < 1, len(rate)) == (True, True, 12)
    assert (set(clip), momentum.min() >= 0, momentum.max() < 0.9) == ({0.0, 1.0}, True, True)
    halves = trials(*flags, "--sobol=64")
    assert (np.histogram(np.log10(halves["learning_rate"]), [-4, -3, -2, -1, 0])[0] == 16).all()


@pytest.mark.slow  # `test_table` holds each setting to solo runs
def test_a_member_is_that_of_its_solo_run_with_each_setting(swept, tmp_path):
    typed = ("0.05", "0.1", "0.9", "0,0.05", "0.2", "2")  # clipping is off in one trial, on in one
    run = swept(*(f"--{x}={text}" for x, text in zip(SETTINGS, typed, strict=True)))
    data, one = run.data, run.populations["mlp:width=6"]
    assert data["test_accuracy"].dims == data["diverged_step"].dims == ("model", "trial", "member")
    found = {name: (data[name].dims, *data[name].values) for name in SETTINGS}
    assert found["clip_norm"] == (("trial",), 0.0, 0.05)
    assert found["gain"] == (("trial",), 2.0, 2.0)
    weights = flatten_members(one.params).reshape(2, 8, -1)
    for trial, clip in enumerate(data["clip_norm"].values):
        flags = [f"--clip_norm={clip}", "--optimizer=sgd:momentum=0.9", f"--name={trial}"]
        flags += ["--models=mlp:width=6:gain=2", "--num_members=8", "--learning_rate=0.05"]
        flags += ["--weight_decay=0.1", "--label_smoothing=0.2", f"--out_dir={tmp_path}"]
        assert init_convergence.main([*SMALL, *flags]) == 0
        solo = open_run(tmp_path / "init_convergence" / str(trial))
        (population,) = solo.populations.values()
        # The same but for the order of sums, over 18 steps.
        alone = flatten_members(population.params)
        np.testing.assert_allclose(weights[trial], alone, rtol=2e-4, atol=2e-5)
        accuracy = solo.data["test_accuracy"].values[0, :, -1]
        np.testing.assert_allclose(data["test_accuracy"][0, trial], accuracy, atol=0.017)


def test_halving_goes_on_with_the_best_and_saves_the_steps_of_the_others(swept, capsys):
    whole, run = swept(*RATES), swept(*RATES, "--halving=3")
    one, grid = run.data.isel(model=0), whole.data.isel(model=0)
    assert sorted(one["stopped_step"].values) == [-1, 2, 2, 2, 2, 2, 2, 6, 6]
    assert int(one["member_steps"]) == 3 * (9 * 2 + 3 * 4 + 1 * 12)
    assert int(one["grid_member_steps"]) == int(grid["member_steps"]) == 3 * 9 * 18
    labels = [f"mlp:width=6{x}" for x in ("", " from step 2", " from step 6")]
    assert list(run.populations) == labels
    best, left = run.populations[labels[0]], run.populations[labels[1]].entry["tags"]["trials"]
    valid = (
        np.where(best.alive, best.arrays["valid_accuracy"][:, -1], -2).reshape(9, 3).mean(axis=1)
    )
    assert left == sorted(np.argsort(-valid, kind="stable")[:3])
    (trial,) = run.populations[labels[2]].entry["tags"]["trials"]
    # A member that was stopped and went on has the bits of one that never stopped.
    ended = flatten_members(run.populations[labels[2]].params)
    never = flatten_members(whole.populations[labels[0]].params).reshape(9, 3, -1)[trial]
    np.testing.assert_array_equal(ended, never)
    np.testing.assert_array_equal(one["test_accuracy"][trial], grid["test_accuracy"][trial])
    text = sweep.table(run)
    assert max(map(len, text.splitlines())) <= 80
    assert "It took 126 of the full grid's 486 member-steps." in " ".join(text.split())


def test_a_halving_that_was_killed_decides_the_same_in_the_same_bits(swept, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Stands for a kill: nothing catches it."""

    save = RunFolder.save_checkpoint

    def dying(folder, model, wave, step, tree):
        save(folder, model, wave, step, tree)
        if step == 4:  # in the midst of the second rung
            raise Killed

    flags = [*SMALL, *RATES, "--halving=3", f"--out_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", dying)
        patch.setattr(checkpointer, "CHECKPOINT_SECONDS", 0)
        patch.setattr(checkpointer, "PATIENCE_SECONDS", 600.0)
        patch.setattr(waves, "SEGMENT_SECONDS", 0)
        with pytest.raises(Killed):
            sweep.main(flags)
    assert len(list(tmp_path.glob("sweep/x/checkpoints/01*/wave_00000/[34].npz"))) == 2
    assert sweep.main(flags) == 0
    whole, here = swept(*RATES, "--halving=3").path, tmp_path / "sweep" / "x"
    for name in ["results.nc", *(x.relative_to(whole) for x in whole.rglob("*.npz"))]:
        assert (here / name).read_bytes() == (whole / name).read_bytes(), name
    assert sweep.main([*flags, "--fresh"]) == 0  # all rungs go into the one new folder
    assert sorted(x.name for x in here.parent.iterdir()) == ["x", "x-2"]


def test_only_trials_and_data_to_choose_on_are_taken(source, swept, mine, tmp_path, capsys):
    for flags, message in (
        ((f"--run={source}",), "of the run has no trials; give --run a run of sweep"),
        ((f"--run={swept(*RATES).path}", "--gain=1,2"), "--gain cannot follow --run"),
        ((f"--dataset={mine}.load",), "has no validation examples to choose by"),
    ):
        assert sweep.main([*flags, f"--out_dir={tmp_path / 'runs'}"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_where_all_diverge_the_numbers_are_kept_and_the_command_fails(
    tmp_path, run_folder, mine, capsys
):
    flags = [f"--models={mine}.hopeless", "--num_members=2", "--learning_rate=0.1,0.2"]
    assert sweep.main([*SMALL, *flags, f"--out_dir={tmp_path}"]) == 1
    assert "all 4 members" in capsys.readouterr().err
    data = open_run(run_folder(tmp_path)).data
    assert (int(data["best_trial"][0]), float(data["diverges_from"][0])) == (-1, 0.1)
