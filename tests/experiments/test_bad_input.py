"""What a tired person types: one line that helps, exit status 2, nothing touched."""

import pytest

from experiments import init_convergence, predict
from experiments.shared import launcher

SMALL = "--dataset=procedural:num_train=64:num_valid=1:num_test=32"


def refuse(capsys, tmp_path, *arguments, module=init_convergence):
    """Run in this process, hold the exit to the contract, and give the line."""
    out_dir = tmp_path / "runs"
    arguments = [module.__name__, *arguments]
    if module is init_convergence and not any("--out_dir" in a for a in arguments):
        arguments.append(f"--out_dir={out_dir}")
    status = launcher.launch(arguments, module.__name__, module.Config, module.run)
    said = capsys.readouterr()
    assert status == 2, said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not out_dir.exists()
    return said.err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--num_membrs=3", "Unknown command line flag 'num_membrs'. Did you mean: num_members"),
        ("--num_members=0", "--num_members=0 is out of range; give a finite number, at least 1"),
        ("--num_members=many", "'many' is not a whole number"),
        ("--num_members=3.5", "'3.5' is not a whole number"),
        ("--num_members=", "'' is not a whole number"),
        ("--num_steps=0", "--num_steps=0 is out of range"),
        ("--num_steps=2147483648", "give a number from 1 to 2147483647"),
        ("--num_steps=2147483647 --eval_every=1", "on disk"),
        ("--batch_size=-1", "--batch_size=-1 is out of range"),
        ("--eval_every=0", "--eval_every=0 is out of range"),
        ("--image_size=7", "--image_size=7 is out of range; give 8 to 1024"),
        ("--image_size=1025", "--image_size=1025 is out of range"),
        ("--init_seed=-1", "--init_seed=-1 is out of range; give a number from 0 to 4294967295"),
        ("--order_seed=4294967296", "is out of range"),
        ("--augment_seed=x", "'x' is not a whole number"),
        ("--learning_rate=0", "--learning_rate=0.0 is out of range; give a finite number above 0"),
        ("--learning_rate=nan", "is out of range"),
        ("--learning_rate=inf", "is out of range"),
        ("--learning_rate=fast", "'fast' is not a number"),
        ("--weight_decay=-0.1", "is out of range"),
        ("--label_smoothing=1", "is out of range"),
        ("--clip_norm=-1", "is out of range"),
        ("--wave=-1", "--wave=-1 is out of range"),
        ("--strategy=mop", "--strategy=mop; allowed: auto, map, chunk, vmap"),
        ("--compile_cache=/proc/none", "give another folder, or none"),
        ("--precision=fp8", "--precision=fp8; allowed: float32, tf32, bfloat16"),
        ("--optimizer=adm", "unknown optimizer 'adm'"),
        ("--optimizer=sgd:momentum=2", "momentum=2.0 must be at least 0 and below 1"),
        ("--schedule=cosin", "unknown schedule 'cosin'"),
        ("--augment=flp", "unknown augmentation 'flp'"),
        ("--augment=", "unknown augmentation ''"),
        ("--vary=ordr", "unknown stream 'ordr'"),
        ("--vary=", "unknown stream ''"),
        ("--models=mpl", "unknown model 'mpl'"),
        ("--models=mlp,,cnn", "an entry is empty"),
        ("--models=mlp,mlp", "'mlp' is given twice"),
        ("--models=mlp:width", "'width' is not setting=value"),
        ("--models=mlp:wdth=3", "did you mean 'width'"),
        ("--models=mlp:width=0", "width"),
        ("--models=mlp:depth=17", "depth"),
        ("--models=no.such.module", "cannot import 'no.such'"),
        ("--models=os.path.nothing", "has no 'nothing'"),
        ("--models=.nothing", "cannot import ''"),
        ("--models=..nothing", "cannot import '.'"),
        ("--dataset=procedurl", "unknown data set 'procedurl'"),
        ("--dataset=procedural:difficulty=2", "difficulty"),
        ("--dataset=folder", "--data_dir"),
        ("--dataset=folder --data_dir=/no/such/place", "/no/such/place"),
        ("--classes=cat,wolf", "wolf"),
        ("--name=a/b", "--name='a/b' cannot name a folder"),
        ("--name=..", "cannot name a folder"),
        ("--fresh=maybe", "maybe"),
        ("stray", "'stray' is not a flag"),
        ("--image_size=8 --models=cnn:widths=4-4-4-4", "8"),
        ("--batch_size=65", "batch_size 65 is larger than the 64 training examples"),
        ("--models=mlp:width=100000000", "GiB"),
        ("--num_members=100000000000", "disk"),
    ],
)
def test_every_flag_refuses_what_it_cannot_use(argument, message, capsys, tmp_path):
    arguments = argument.split(" ")
    if not any(a.startswith("--dataset") for a in arguments):
        arguments.append(SMALL)
    assert message in refuse(capsys, tmp_path, *arguments)


def test_a_file_in_place_of_the_output_folder(capsys, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    line = refuse(capsys, tmp_path, SMALL, f"--out_dir={place}", "--models=linear")
    assert str(place) in line
    assert place.read_text() == "mine"


def test_a_folder_that_is_read_only(capsys, tmp_path):
    line = refuse(capsys, tmp_path, SMALL, "--out_dir=/proc/runs", "--models=linear")
    assert "cannot write to /proc/runs" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--run is missing"),
        (("--run=/no/run",), "no picture given"),
        (("--run=/no/run", "cat.jpg"), "no run at '/no/run'"),
    ],
)
def test_predict_refuses(arguments, message, capsys, tmp_path):
    assert message in refuse(capsys, tmp_path, *arguments, module=predict)


@pytest.mark.parametrize("flag", ["--help", "--helpshort"])
def test_help_is_no_error(flag, capsys):
    module = init_convergence
    status = launcher.launch([module.__name__, flag], module.__name__, module.Config, module.run)
    said = capsys.readouterr()
    assert status == 0
    assert said.err == ""
    assert "Does it matter where you start?" in said.out
    for name in module.Config.__dataclass_fields__:
        assert f"--{name}" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
