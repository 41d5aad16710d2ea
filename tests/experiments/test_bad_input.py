"""What a tired person types: one line that helps, exit status 2, nothing touched."""

import pytest

from experiments import (
    bias_variance,
    compare,
    curve_fitting,
    ensembles,
    fit_check,
    init_convergence,
    predict,
    seed_variance,
    sweep,
    throughput,
    words,
)

SMALL = "--dataset=procedural:num_train=64:num_valid=1:num_test=32"


@pytest.fixture
def refused(tmp_path, capsys):
    """A function (module, *arguments) -> the line that a command ends with."""

    def refuse(module, *arguments):
        out_dir = tmp_path / "runs"
        if module is not predict and not any("--out_dir" in a for a in arguments):
            arguments = (*arguments, f"--out_dir={out_dir}")
        status = module.main(arguments)
        said = capsys.readouterr()
        assert status == 2, said.err
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert not out_dir.exists()
        return said.err

    return refuse


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--num_membrs=3", "Unknown command line flag 'num_membrs'. Did you mean: num_members"),
        ("--num_members=0", "--num_members=0 is not allowed; give a whole number ≥ 1"),
        ("--num_members=3.5", "--num_members=3.5 is not allowed; give a whole number ≥ 1"),
        ("--num_steps=2147483648", "give a whole number ≥ 1 and ≤ 2147483647"),
        ("--num_steps=2147483647 --eval_every=1", "on disk"),
        ("--image_size=7", "--image_size=7 is out of range; give 8 to 1024"),
        ("--learning_rate=0", "--learning_rate=0.0 is not allowed; give a finite number > 0"),
        ("--label_smoothing=1", "give a finite number ≥ 0 and ≤ 0.999"),
        ("--strategy=mop", "unknown --strategy 'mop'; known: auto, chunk, map, measure"),
        ("--compile_cache=/proc/none", "give another folder, or none"),
        ("--optimizer=adm", "unknown optimizer 'adm'"),
        (
            "--optimizer=sgd:momentum=2",
            "momentum=2.0 is not allowed; give a finite number ≥ 0 and < 1",
        ),
        ("--schedule=cosin", "unknown schedule 'cosin'"),
        ("--augment=", "an entry is empty"),
        ("--vary=ordr", "unknown entry of --vary: 'ordr'"),
        ("--sample=bootstrp", "bootstrp"),
        ("--keep=all", "--keep=all; allowed: logits, final"),
        (
            "--keep_params=first",
            "--keep_params=first is not allowed; give whole numbers from 0 to ",
        ),
        ("--models=mpl", "unknown model 'mpl'"),
        ("--models=mlp,,cnn", "an entry is empty"),
        ("--models=mlp,mlp", "'mlp' is given twice"),
        ("--models=mlp:width", "'width' is not setting=value"),
        ("--models=mlp:wdth=3", "did you mean 'width'"),
        ("--models=mlp:depth=17", "depth"),
        ("--models=no.such.module", "cannot import 'no.such'"),
        ("--models=os.path.nothing", "is Python's own"),
        ("--dataset=procedurl", "unknown data set 'procedurl'"),
        ("--dataset=procedural:difficulty=2", "difficulty"),
        ("--dataset=folder", "--data_dir"),
        ("--dataset=folder --data_dir=/no/such/place", "/no/such/place"),
        ("--dataset=words --models=linear", "give one of bag_of_words, wo"),
        ("--classes=cat,wolf", "wolf"),
        ("--name=a/b", "--name='a/b' cannot name a folder"),
        ("--fresh=maybe", "maybe"),
        ("stray", "'stray' is not a flag"),
        ("--image_size=8 --models=cnn:widths=4-4-4-4", "8"),
        ("--batch_size=65", "batch_size 65 is larger than the 64 training examples"),
        ("--models=mlp:width=100000000", "GiB"),
        ("--num_members=100000000000", "members are too many; give at most 10,000,000"),
        ("--out_dir=/proc/runs --models=linear", "cannot write to /proc/runs"),
        ("--run=/no/run", "no run at '/no/run'"),
        ("--run=/no/run --num_steps=3", "--num_steps cannot follow --run"),
        ("--coordinator=a:1 --process_id=0", "--coordinator=a:1 needs --num_processes, the same"),
        ("--process_id=0", "--num_processes and --process_id need --coordinator=host:port"),
        (
            "--coordinator=a:1 --num_processes=2 --process_id=2",
            "--process_id, its own from 0 to one less; not 2 and 2",
        ),
        ("--coordinator=a", "--coordinator=a is no address; give host:port"),
    ],
)
def test_every_flag_refuses_what_it_cannot_use(typed, message, refused):
    arguments = typed.split(" ")
    if not any(a.startswith(("--dataset", "--run")) for a in arguments):
        arguments.append(SMALL)
    assert message in refused(init_convergence, *arguments)


def test_a_file_in_place_of_the_output_folder(refused, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    assert str(place) in refused(init_convergence, SMALL, f"--out_dir={place}", "--models=linear")
    assert place.read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "typed", "message"),
    [
        (predict, "", "--run is missing"),
        (predict, "--run=/no/run", "no picture given"),
        (predict, "--run=/no/run cat.jpg", "no run at '/no/run'"),
        (words, "--models=cnn", "model 'cnn' reads images; the data set words has tokens; give"),
        (words, f"{SMALL} --image_size=8", "'procedural' has images; this experiment needs the"),
        (words, "--augment=flip", "--augment=flip changes pictures"),
        (curve_fitting, "--points=1", "--points=1 is not allowed; give whole numbers from 2"),
        (curve_fitting, "--degrees=1,x", "--degrees=1,x is not allowed; give whole numbers from"),
        (bias_variance, f"{SMALL} --models=cnn", "trains MLPs; give --widths and --depths"),
        (bias_variance, f"{SMALL} --widths=4,x", "--widths=4,x is not allowed; give whole num"),
        (bias_variance, f"{SMALL} --depths=17", "give whole numbers from 1 to 16"),
        (bias_variance, f"{SMALL} --set_size=97", "97 examples is more than the 64 there are"),
        (compare, "--recipe_b=--lr=1", "--recipe_b=--lr=1: Unknown command line flag 'lr'"),
        (compare, "--recipe_a=--num_members=3", "--num_members cannot be of one alone; what can: "),
        (compare, "--recipe_a='", "--recipe_a=': No closing quotation"),
        (compare, "--models=linear,cnn", "--models=linear,cnn: a recipe has one model; give one"),
        (compare, "--run=/no/run", "--run will not do; give --run_a and --run_b, or --logits_a,"),
        (compare, "--run_a=x", "--run_a will not do; give --run_a and --run_b, or --logits_a,"),
        (compare, "--run_a=x --run_b=y --num_steps=3", "--num_steps cannot follow --run_a"),
        (compare, "--run_a=/no/run --run_b=y", "no run at '/no/run'"),
        (compare, "--logits_a=a --logits_b=b --labels=y --gate", "--gate cannot follow --logits_a"),
        (compare, "--delta=2", "--delta=2.0 is not allowed; give a finite number ≥ 0 and ≤ 1"),
        (seed_variance, f"{SMALL} --populations=seed", "unknown entry of --populations: 'seed'"),
        (seed_variance, f"{SMALL} --vary=none", "unknown entry of --vary: 'none'"),
        (ensembles, "--num_members=5 --size=6", "--size=6 of --num_members=5; give no more"),
        (ensembles, "--alternatives=order", "unknown entry of --alternatives: 'order'"),
        (
            sweep,
            "--learning_rate=0",
            "--learning_rate=0.0 is not allowed; give a finite number > 0",
        ),
        (sweep, "--gain=1,,2", "an entry is empty"),
        (
            sweep,
            "--momentum=log:0:0.9:3",
            "--momentum=log:0:0.9:3: give LOW < HIGH, of log above 0",
        ),
        (sweep, "--weight_decay=exp:1:2:3", "give numbers like 0.1,0.2, log:LOW:HIGH:NUMBER or"),
        (sweep, "--clip_norm=lin:0:1:1", "--clip_norm=1 is not allowed; give a whole number ≥ 2"),
        (sweep, "--halving=1", "--halving=1 is not allowed; give a whole number ≥ 2"),
        (sweep, f"{SMALL} --optimizer=adam --momentum=0,0.9", "'adam' has no momentum"),
        (fit_check, "--models=word_average", "reads tokens"),
        (fit_check, "--name=a/b", "a/b"),
        (fit_check, "--strategy=measure", "unknown --strategy 'measure'; known: auto, chunk, map"),
        (throughput, "--models=cnn:head=flat", "unknown head 'flat'"),
        (throughput, "--models=cnn:norm=layer", "unknown setting of 'cnn:norm=layer': 'norm'"),
        (throughput, "--models=polynomial", "unknown model 'polynomial'; known: cnn, linear, mlp"),
        (throughput, "--parts=start,jobs", "unknown entry of --parts: 'jobs'"),
        (
            throughput,
            "--job_seconds=0",
            "--job_seconds=0.0 is not allowed; give a finite number > 0",
        ),
        (throughput, "--members=8,0", "--members=8,0 is not allowed; give whole numbers from 1"),
        (throughput, "--baselines=torsh_loop", "did you mean 'torch_loop'"),
        (throughput, "--precision=float16", "known: bfloat16, float32, tf32"),
    ],
)
def test_other_experiments_refuse_what_they_cannot_use(module, typed, message, refused):
    assert message in refused(module, *typed.split())
