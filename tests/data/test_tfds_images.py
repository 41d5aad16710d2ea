"""Image sets of TFDS: the real ones where they are here, small ones written on the spot."""

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import dataset_spec, load_dataset, tfds_images
from catdog_jax.data.tfds_images import find_prepared, import_tfds
from catdog_jax.types import Dataset, InputError

BREEDS = ["Abyssinian", "beagle", "boxer"]
PETS = "oxford_iiit_pet"


def sizes(dataset: Dataset) -> list[int]:
    return [len(split.labels) for split in (dataset.train, dataset.valid, dataset.test)]


def everything(dataset: Dataset) -> dict[str, tuple[np.ndarray, int]]:
    return {
        name: (pixels, int(label))
        for split in (dataset.train, dataset.valid, dataset.test)
        for name, pixels, label in zip(split.ids, split.inputs, split.labels, strict=True)
    }


def pixels_of(seed: int, shape: tuple[int, ...] = (20, 24, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def write_pets(tmp_path: Path, encode) -> Callable[..., str]:
    """Write a small set with the features of oxford_iiit_pet; needs no TensorFlow."""

    def written(splits: dict[str, range], name: str = PETS) -> str:
        tfds = import_tfds()
        f = tfds.features
        species = f.ClassLabel(names=["Cat", "Dog"])
        mask = f.Image(shape=(None, None, 1), use_colormap=True)
        labels = {"label": f.ClassLabel(names=BREEDS), "species": species, "file_name": f.Text()}
        features = f.FeaturesDict({"image": f.Image(), "segmentation_mask": mask, **labels})

        def generate(_self: object, seeds: range):
            for i in seeds:
                masked = io.BytesIO(encode(pixels_of(i, (20, 24))))
                labels = {"label": i % 3, "species": int(i % 3 > 0), "file_name": f"pet_{i}"}
                picture = io.BytesIO(encode(pixels_of(i)))
                yield i, {"image": picture, "segmentation_mask": masked, **labels}

        def info(self: object):
            keys = ("image", "label")
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

        def split_generators(self: object, _manager: object):
            return {split: self._generate_examples(seeds) for split, seeds in splits.items()}

        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("4.0.0")
            pkg_dir_path = tmp_path
            _info, _split_generators, _generate_examples = info, split_generators, generate

        Builder.name = name
        root = tmp_path / "-".join(splits)
        Builder(data_dir=root, file_format="array_record").download_and_prepare()
        return str(root)

    return written


@pytest.fixture
def pets(write_pets) -> functools.partial[Dataset]:
    root = write_pets({"train": range(60), "test": range(100, 130)})
    return functools.partial(load_dataset, PETS, data_dir=root, image_size=8)


def test_cifar10_cats_and_dogs_without_tensorflow(shared_data: Path):
    folder = shared_data / "tfds"
    script = (
        "import sys\n"
        "import catdog_jax, catdog_jax.data, catdog_jax.registry as r\n"
        "r.table('catdog_jax.data', 'DATASETS')\n"
        "assert not any(m.startswith('tensorflow') for m in sys.modules)\n"
        "d = catdog_jax.data.load_dataset('cifar10', data_dir=sys.argv[1])\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(d.provenance['fingerprint'])\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    dataset = load_dataset("cifar10", data_dir=str(folder))
    digest = dataset.provenance["fingerprint"]
    assert (done.returncode, done.stdout, done.stderr) == (0, digest + "\n", "")
    assert digest.startswith("c8135dbbd3")  # golden: a lossless format, a split as published
    assert dataset.class_names == ("cat", "dog")
    assert dataset.provenance["counts"]["train"] == {"cat": 5000, "dog": 5000}


def test_cats_vs_dogs_is_divided_by_content(shared_data: Path):
    dataset = load_dataset("cats_vs_dogs", data_dir=str(shared_data / "tfds"), image_size=16)
    assert sizes(dataset) == [4023, 461, 516]
    found = everything(dataset)
    assert len(found) == 5000
    for name, (_, label) in found.items():
        assert name.startswith(("PetImages/Cat/", "PetImages/Dog/")[label])


def test_pets_are_told_apart_by_species(pets):
    calls: list[tuple[int, int]] = []
    dataset = pets(image_size=20, progress=lambda *at: calls.append(at))
    assert calls[-1] == (90, 90)
    assert dataset.class_names == ("cat", "dog")
    assert sizes(dataset) == [60, 0, 30]
    for name, (pixels, label) in everything(dataset).items():
        number = int(name.removeprefix("pet_"))
        assert label == int(number % 3 > 0)
        np.testing.assert_array_equal(pixels, pixels_of(number)[:, 2:22])
    assert pets(image_size=0).train.inputs.shape[1:] == (64, 64, 3)


def test_other_labels_and_classes_of_which_only_those_are_decoded(pets, decodes):
    folder = pets.keywords["data_dir"]
    by_label = functools.partial(load_dataset, f"{PETS}:label=label", data_dir=folder, image_size=8)
    with pytest.raises(InputError, match=r"3 classes \(Abyssinian, beagle, .* choose at least two"):
        by_label()
    dataset = by_label(classes=("boxer", "beagle"))
    assert decodes == [60]
    assert dataset.class_names == ("boxer", "beagle")
    assert all(label == 2 - int(n[4:]) % 3 for n, (_, label) in everything(dataset).items())
    with pytest.raises(InputError, match="the ClassLabel features are label, species"):
        load_dataset(f"{PETS}:label=breed", data_dir=folder)


def test_a_prepared_folder_of_any_name_is_found_and_its_validation_used(write_pets):
    splits = {"train": range(30), "validation": range(30, 60), "test": range(60, 90)}
    root = write_pets(splits, name="my_animals")
    dataset = load_dataset("my_animals:label=species", data_dir=root, image_size=8)
    assert sizes(dataset) == [30, 30, 30]
    assert {int(n[4:]) for n in dataset.valid.ids} == set(range(30, 60))
    assert dataset_spec("my_animals", data_dir=root).models
    with pytest.raises(InputError, match="has a valid part of its own"):
        load_dataset("my_animals:label=species:valid=0.1", data_dir=root)


def test_without_a_test_split_validation_is_the_test_and_one_split_is_divided(write_pets):
    root = write_pets({"train": range(30), "validation": range(30, 60)})
    dataset = load_dataset(PETS, data_dir=root, image_size=8)
    assert sizes(dataset) == [30, 0, 30]
    assert dataset.provenance["parts"] == {"train": "train", "validation": "test"}
    dataset = load_dataset(PETS, data_dir=write_pets({"everything": range(90)}), image_size=8)
    assert sum(sizes(dataset)) == 90
    assert min(sizes(dataset)) > 0


def test_damage_is_one_line(pets):
    folder = Path(pets.keywords["data_dir"], PETS, "4.0.0")
    (record,) = folder.glob("*-train.array_record*")
    content = bytearray(record.read_bytes())
    content[len(content) // 3 :: 97] = b"\x55" * len(content[len(content) // 3 :: 97])
    record.write_bytes(content)
    with pytest.raises(RuntimeError, match="split 'train' is damaged") as caught:
        pets()
    assert "\n" not in str(caught.value)
    record.unlink()
    with pytest.raises(FileNotFoundError, match=record.name):
        pets()
    (folder / "features.json").write_text("{")
    with pytest.raises(RuntimeError, match="cannot be read"):
        pets()


def test_tfrecord_without_tensorflow_names_both_ways_out(shared_data: Path, monkeypatch):
    monkeypatch.setattr(tfds_images, "have_tensorflow", lambda: False)
    with pytest.raises(InputError) as caught:
        load_dataset("cifar10", data_dir=str(shared_data / "tfds_small_tfrecord"))
    text = str(caught.value)
    assert "pip install 'catdog_jax[tfds-prepare]'" in text
    assert "--download --data_dir=" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "cats_vs_dogs"])
def test_tfrecord_gives_the_same_pixels(shared_data: Path, name: str):
    pytest.importorskip("tensorflow", reason="tfrecord is read by TensorFlow, not installed here")
    small, large = (
        everything(load_dataset(name, data_dir=str(shared_data / folder)))
        for folder in ("tfds_small_tfrecord", "tfds")
    )
    assert len(small) == (500 if name == "cifar10" else 300)
    for picture, (pixels, label) in small.items():
        assert large[picture][1] == label
        np.testing.assert_array_equal(large[picture][0], pixels)


def test_the_newest_version_is_found_and_configs_are_named(tmp_path: Path):
    for folder in ("cifar10/3.0.2", "cifar10/3.0.10", "cifar10/incomplete.AB_9.0.0",
                   "pics/small/1.0.0", "pics/large/1.0.0"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "dataset_info.json").touch()
    assert find_prepared(tmp_path, "cifar10") == tmp_path / "cifar10/3.0.10"
    assert find_prepared(tmp_path / "cifar10", "cifar10") == tmp_path / "cifar10/3.0.10"
    assert find_prepared(tmp_path / "cifar10/3.0.2", "cifar10") == tmp_path / "cifar10/3.0.2"
    assert find_prepared(tmp_path, "cats_vs_dogs") is None
    assert find_prepared(tmp_path, "pics/small") == tmp_path / "pics/small/1.0.0"
    with pytest.raises(InputError, match="name one: pics/large, pics/small"):
        find_prepared(tmp_path, "pics")


def test_what_is_not_prepared_is_not_fetched_unasked_nor_another_set_taken(pets, tmp_path):
    with pytest.raises(InputError, match=f"not prepared in {tmp_path}; .* with --download"):
        load_dataset("cifar10", data_dir=str(tmp_path))
    folder = Path(pets.keywords["data_dir"], PETS, "4.0.0")
    with pytest.raises(InputError, match=f"holds '{PETS}', not 'cifar10'"):
        load_dataset("cifar10", data_dir=str(folder))


def test_a_download_fails_in_one_line_or_is_read_and_not_fetched_again(
    shared_data, tmp_path, monkeypatch
):
    asked = []

    def download_and_prepare(builder, **_: object) -> None:
        asked.append((builder.name, builder.info.file_format.value))
        if len(asked) == 1:
            raise ConnectionError("Max retries exceeded\nwith url: /cifar-10.tar.gz\n(no route)")
        Path(builder.data_dir).parent.mkdir()
        os.symlink(shared_data / "tfds/cifar10/3.0.2", builder.data_dir)

    builder = import_tfds().core.dataset_builder.DatasetBuilder
    monkeypatch.setattr(builder, "download_and_prepare", download_and_prepare)
    flags = {"data_dir": str(tmp_path), "classes": ("ship", "frog"), "download": True}
    message = rf"download of 'cifar10' into {tmp_path} failed \(ConnectionError: Max"
    with pytest.raises(RuntimeError, match=message) as e:
        load_dataset("cifar10", **flags)
    assert "(no route)); nothing was trained" in str(e.value)
    assert "catdog_jax[tfds-prepare]" in str(e.value)
    assert "\n" not in str(e.value)
    for _ in range(2):
        assert sizes(load_dataset("cifar10", **flags)) == [1000, 0, 200]
    assert asked == [("cifar10", "array_record")] * 2


@pytest.mark.parametrize("hidden", [False, True])
def test_a_folder_that_names_code_is_refused_before_it_runs(hidden, pets, monkeypatch):
    file = Path(pets.keywords["data_dir"], PETS, "4.0.0", "features.json")
    monkeypatch.syspath_prepend(file.parent)
    Path(file.parent, "evil_tfds.py").write_text("raise SystemExit('it ran')")
    found = json.loads(file.read_text())
    if hidden:
        inner = json.dumps({"type": "evil_tfds.Feature", "content": "{}"})
        found["featuresDict"]["features"]["type"] = {"jsonFeature": {"json": inner}}
    else:
        found["featuresDict"]["features"]["image"]["pythonClassName"] = "evil_tfds.Feature"
    file.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"names the code 'evil_tfds\.Feature', which"):
        pets()
