"""Image sets of TFDS: the real ones where they are here, small ones written on the spot."""

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdog_jax.data import dataset_spec, load_dataset, tfds_records
from catdog_jax.data.tfds_prepare import import_tfds
from catdog_jax.data.tfds_records import Prepared, ReadError
from catdog_jax.types import Dataset, InputError

PARTS = ("train", "valid", "test")
BREEDS = ["Abyssinian", "beagle", "boxer"]


def sizes(dataset: Dataset) -> list[int]:
    return [len(getattr(dataset, part).labels) for part in PARTS]


def everything(dataset: Dataset) -> dict[str, tuple[np.ndarray, int]]:
    return {
        name: (pixels, int(label))
        for part in (dataset.train, dataset.valid, dataset.test)
        for name, pixels, label in zip(part.ids, part.inputs, part.labels, strict=True)
    }


def png(seed: int, shape: tuple[int, ...] = (20, 24, 3)) -> io.BytesIO:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def write_pets(root: Path, parts: dict[str, range], name: str = "oxford_iiit_pet") -> Path:
    """Write a small set with the features of oxford_iiit_pet; needs no TensorFlow."""
    tfds = import_tfds()
    f = tfds.features
    features = f.FeaturesDict(
        {
            "image": f.Image(),
            "label": f.ClassLabel(names=BREEDS),
            "species": f.ClassLabel(names=["Cat", "Dog"]),
            "file_name": f.Text(),
            "segmentation_mask": f.Image(shape=(None, None, 1), use_colormap=True),
        }
    )

    def generate(_self: object, seeds: range):
        for i in seeds:
            yield (
                i,
                {
                    "image": png(i),
                    "label": i % 3,
                    "species": int(i % 3 > 0),
                    "file_name": f"pet_{i}",
                    "segmentation_mask": png(i, (20, 24)),
                },
            )

    def info(self: object):
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("image", "label")
        )

    def split_generators(self: object, _manager: object):
        return {part: self._generate_examples(seeds) for part, seeds in parts.items()}

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("4.0.0")
        pkg_dir_path = root
        _info, _split_generators, _generate_examples = info, split_generators, generate

    Builder.name = name
    Builder(data_dir=root, file_format="array_record").download_and_prepare()
    return root


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_pets(tmp_path / "tfds", {"train": range(60), "test": range(100, 130)})


def test_cifar10_cats_and_dogs(shared_data: Path):
    dataset = load_dataset("cifar10", data_dir=str(shared_data / "tfds"))
    assert sizes(dataset) == [10_000, 0, 2_000]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.inputs.shape == (10_000, 32, 32, 3)
    assert np.bincount(dataset.train.labels).tolist() == [5000, 5000]
    assert np.bincount(dataset.test.labels).tolist() == [1000, 1000]
    # The exact pixels of a lossless format, by another decoder's road, labels the right way round.
    tfds = import_tfds()
    source = tfds.builder_from_directory(shared_data / "tfds/cifar10/3.0.2").as_data_source(
        split="test"
    )
    found = everything(dataset)
    seen = [0, 0]
    for i in range(0, 600):
        row = source[i]
        name = {3: "cat", 5: "dog"}.get(int(row["label"]))
        if name is None:
            assert row["id"].decode() not in found
            continue
        pixels, label = found[row["id"].decode()]
        np.testing.assert_array_equal(pixels, row["image"])
        assert dataset.class_names[label] == name
        seen[label] += 1
    assert min(seen) > 50


def test_cats_vs_dogs_is_divided_by_content(shared_data: Path):
    dataset = load_dataset("cats_vs_dogs", data_dir=str(shared_data / "tfds"), image_size=16)
    assert sum(sizes(dataset)) == 5000
    np.testing.assert_allclose(np.array(sizes(dataset)) / 5000, [0.8, 0.1, 0.1], atol=0.025)
    for part in (dataset.train, dataset.valid, dataset.test):
        for name, label in zip(part.ids, part.labels, strict=True):
            assert name.startswith(("PetImages/Cat/", "PetImages/Dog/")[label])
    assert len({name for part in PARTS for name in getattr(dataset, part).ids}) == 5000


def test_tensorflow_is_not_imported(shared_data: Path):
    script = (
        "import sys\n"
        "import catdog_jax, catdog_jax.data, catdog_jax.registry as r\n"
        "r.table('catdog_jax.data', 'DATASETS')\n"
        "assert not any(m.startswith('tensorflow') for m in sys.modules)\n"
        "d = catdog_jax.data.load_dataset('cifar10', data_dir=sys.argv[1],\n"
        "                                 classes=('ship', 'frog'))\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(len(d.train.labels), len(d.test.labels))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(shared_data / "tfds")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000 200\n", "")


def test_pets_are_told_apart_by_species(pets: Path):
    dataset = load_dataset("oxford_iiit_pet", data_dir=str(pets))
    assert dataset.class_names == ("cat", "dog")
    assert sizes(dataset) == [60, 0, 30]
    assert dataset.train.inputs.shape[1:] == (64, 64, 3)
    for name, (_, label) in everything(dataset).items():
        assert label == int(int(name.removeprefix("pet_")) % 3 > 0)
    assert dataset.provenance["label"] == "species"


def test_the_pixels_are_those_of_the_records(pets: Path):
    dataset = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=20)
    for name, (pixels, _) in everything(dataset).items():
        exact = np.asarray(Image.open(png(int(name.removeprefix("pet_")))))
        np.testing.assert_array_equal(pixels, exact[:, 2:22])


def test_other_labels_and_classes(pets: Path):
    entry = "oxford_iiit_pet:label=label"
    with pytest.raises(InputError, match="3 classes and not both cat and dog; .*beagle, boxer"):
        load_dataset(entry, data_dir=str(pets))
    dataset = load_dataset(entry, data_dir=str(pets), classes=("boxer", "beagle"), image_size=8)
    assert dataset.class_names == ("boxer", "beagle")
    assert all(label == 2 - int(n[4:]) % 3 for n, (_, label) in everything(dataset).items())
    with pytest.raises(InputError, match="class label features label, species"):
        load_dataset("oxford_iiit_pet:label=breed", data_dir=str(pets))


def test_other_classes_are_never_decoded(pets: Path, monkeypatch: pytest.MonkeyPatch):
    from catdog_jax.data import decoding

    count = [0]
    real = decoding.decode_here

    def counting(content: bytes, size: int):
        count[0] += 1
        return real(content, size)

    monkeypatch.setattr(decoding, "decode_here", counting)
    load_dataset(
        "oxford_iiit_pet:label=label", data_dir=str(pets), classes=("beagle", "boxer"), image_size=8
    )
    assert count == [60]


def test_valid_is_taken_from_train(pets: Path):
    dataset = load_dataset("oxford_iiit_pet:valid=0.2", data_dir=str(pets), image_size=8)
    assert sum(sizes(dataset)[:2]) == 60
    assert 4 <= sizes(dataset)[1] <= 22
    plain = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    assert dataset.test.ids == plain.test.ids


def test_a_prepared_folder_of_any_name_is_found(tmp_path: Path):
    root = write_pets(
        tmp_path / "tfds",
        {"train": range(30), "validation": range(30, 60), "test": range(60, 90)},
        name="my_animals",
    )
    dataset = load_dataset("my_animals:label=species", data_dir=str(root), image_size=8)
    assert sizes(dataset) == [30, 30, 30]
    assert {int(n[4:]) for n in dataset.valid.ids} == set(range(30, 60))
    assert dataset_spec("my_animals", data_dir=str(root)).models
    with pytest.raises(InputError, match="has a validation part of its own"):
        load_dataset("my_animals:label=species:valid=0.1", data_dir=str(root))


def test_without_a_test_part_validation_is_the_test(tmp_path: Path):
    root = write_pets(tmp_path / "tfds", {"train": range(30), "validation": range(30, 60)})
    dataset = load_dataset("oxford_iiit_pet", data_dir=str(root), image_size=8)
    assert sizes(dataset) == [30, 0, 30]
    assert dataset.provenance["parts"] == {"train": "train", "validation": "test"}


def test_progress_ends_at_the_number_of_records(pets: Path):
    calls: list[tuple[int, int]] = []
    load_dataset(
        "oxford_iiit_pet",
        data_dir=str(pets),
        image_size=8,
        progress=lambda *at: calls.append(at),
    )
    assert calls[-1] == (90, 90)


def test_one_part_of_any_name_is_divided(tmp_path: Path):
    root = write_pets(tmp_path / "tfds", {"everything": range(90)})
    dataset = load_dataset("oxford_iiit_pet", data_dir=str(root), image_size=8)
    assert sum(sizes(dataset)) == 90
    assert min(sizes(dataset)) > 0


def test_the_order_of_records_does_not_matter(
    pets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    first = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    real = Prepared.records

    def shuffled(self: Prepared, split: str):
        rows = list(real(self, split))
        random.Random(0).shuffle(rows)
        return iter(rows)

    monkeypatch.setattr(Prepared, "records", shuffled)
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path / "another"))
    second = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    assert second.train.ids == first.train.ids
    assert second.provenance == first.provenance


def test_the_cache_hit_reads_no_record(pets: Path, monkeypatch: pytest.MonkeyPatch):
    first = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)

    def never(*_: object):
        raise AssertionError("records were read in spite of the cache")

    monkeypatch.setattr(Prepared, "records", never)
    second = load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    np.testing.assert_array_equal(first.train.inputs, second.train.inputs)
    assert second.provenance == first.provenance


def test_damaged_and_missing_records_are_one_line(pets: Path):
    (record,) = pets.glob("*/*/*-train.array_record*")
    content = bytearray(record.read_bytes())
    content[len(content) // 3 :: 97] = b"\x55" * len(content[len(content) // 3 :: 97])
    record.write_bytes(content)
    with pytest.raises(ReadError, match="is damaged") as caught:
        load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    assert "\n" not in str(caught.value)
    record.unlink()
    with pytest.raises(ReadError, match="is incomplete: oxford_iiit_pet-train") as caught:
        load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)
    (pets / "oxford_iiit_pet/4.0.0/features.json").write_text("{")
    with pytest.raises(ReadError, match="cannot be read"):
        load_dataset("oxford_iiit_pet", data_dir=str(pets), image_size=8)


def test_tfrecord_without_tensorflow_names_both_ways_out(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tfds_records, "have_tensorflow", lambda: False)
    with pytest.raises(InputError) as caught:
        load_dataset("cifar10", data_dir=str(shared_data / "tfds_small_tfrecord"))
    text = str(caught.value)
    assert "pip install 'catdog_jax[tfds-prepare]'" in text
    assert "--download --data_dir=" in text
    assert "\n" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "cats_vs_dogs"])
def test_tfrecord_gives_the_same_pixels(shared_data: Path, name: str):
    script = (
        "import sys, numpy as np; from catdog_jax.data import load_dataset\n"
        "rows = []\n"
        "for folder in sys.argv[2:]:\n"
        "    d = load_dataset(sys.argv[1], data_dir=folder)\n"
        "    rows.append({i: (x, l) for s in (d.train, d.valid, d.test)\n"
        "                 for i, x, l in zip(s.ids, s.inputs, s.labels)})\n"
        "small, large = rows\n"
        "assert 'tensorflow' in sys.modules and len(small) >= 300\n"
        "for i, (x, l) in small.items():\n"
        "    assert l == large[i][1] and np.array_equal(x, large[i][0]), i\n"
        "print('same', len(small))\n"
    )
    pytest.importorskip("tensorflow", reason="tfrecord is read by TensorFlow, not installed here")
    folders = [str(shared_data / "tfds_small_tfrecord"), str(shared_data / "tfds")]
    done = subprocess.run(
        [sys.executable, "-c", script, name, *folders],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"same {500 if name == 'cifar10' else 300}\n"
