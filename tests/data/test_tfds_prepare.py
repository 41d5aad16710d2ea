"""Finding, and fetching, what TFDS prepares."""

import logging
from pathlib import Path

import pytest

from catdog_jax.data import load_dataset, tfds_prepare
from catdog_jax.data.tfds_images import DownloadError
from catdog_jax.data.tfds_prepare import data_root, find_prepared, import_tfds, needs_tensorflow
from catdog_jax.types import InputError


def prepared(root: Path, *folders: str, name: str = "cifar10") -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "dataset_info.json").write_text(f'{{"name": "{name}"}}')


def test_the_newest_version_is_found(tmp_path: Path):
    prepared(
        tmp_path, "cifar10/3.0.2", "cifar10/3.0.10", "cifar10/2.9.9", "cifar10/incomplete.AB_9.0.0"
    )
    assert find_prepared(tmp_path, "cifar10") == tmp_path / "cifar10/3.0.10"
    assert find_prepared(tmp_path / "cifar10", "cifar10") == tmp_path / "cifar10/3.0.10"
    assert find_prepared(tmp_path / "cifar10/3.0.2", "cifar10") == tmp_path / "cifar10/3.0.2"
    assert find_prepared(tmp_path, "cats_vs_dogs") is None
    assert find_prepared(tmp_path / "nowhere", "cifar10") is None


def test_configs_are_named(tmp_path: Path):
    prepared(tmp_path, "pics/small/1.0.0", "pics/large/1.0.0", name="pics")
    assert find_prepared(tmp_path, "pics/small") == tmp_path / "pics/small/1.0.0"
    with pytest.raises(InputError, match="name one: pics/large, pics/small"):
        find_prepared(tmp_path, "pics")


def test_the_folder_comes_from_the_flag_then_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/from/environment")
    assert data_root("/given") == Path("/given")
    assert data_root(None) == data_root("") == Path("/from/environment")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_root(None) == Path.home() / "tensorflow_datasets"


def test_what_is_not_prepared_is_not_fetched_unasked(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        load_dataset("cifar10", data_dir=str(tmp_path))
    text = str(caught.value)
    assert str(tmp_path) in text
    assert "--download" in text
    assert "\n" not in text
    assert list(tmp_path.glob("cifar10*")) == []


def fake(monkeypatch: pytest.MonkeyPatch, act) -> list[tuple[str, str]]:
    """Replace the download by `act`, and note who was asked for what."""
    tfds = import_tfds()
    asked = []

    def download_and_prepare(self, **_: object) -> None:
        asked.append((self.name, self.info.file_format.value))
        act(self)

    monkeypatch.setattr(
        tfds.core.dataset_builder.DatasetBuilder, "download_and_prepare", download_and_prepare
    )
    return asked


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> None:
        raise ConnectionError("Max retries exceeded\nwith url: /cifar-10-binary.tar.gz\n(no route)")

    asked = fake(monkeypatch, fail)
    with pytest.raises(DownloadError) as caught:
        load_dataset("cifar10", data_dir=str(tmp_path), download=True)
    assert asked == [("cifar10", "array_record")]
    text = str(caught.value)
    assert text.startswith(f"download of 'cifar10' into {tmp_path} failed: Max retries exceeded")
    assert "(no route); nothing was trained" in text
    assert "\n" not in text


def test_a_download_that_needs_tensorflow_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> None:
        try:
            raise ModuleNotFoundError("No module named 'tensorflow'")
        except ImportError as error:
            raise RuntimeError("while generating examples") from error

    fake(monkeypatch, fail)
    monkeypatch.setattr(tfds_prepare, "have_tensorflow", lambda: False)
    with pytest.raises(InputError, match="preparing 'cifar10' needs TensorFlow") as caught:
        load_dataset("cifar10", data_dir=str(tmp_path), download=True)
    assert "catdog_jax[tfds-prepare]" in str(caught.value)


def test_a_successful_download_is_read(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def succeed(builder) -> None:
        target = tmp_path / "cifar10"
        target.mkdir()
        (target / "3.0.2").symlink_to(shared_data / "tfds/cifar10/3.0.2")
        assert Path(builder.data_dir) == target / "3.0.2"

    asked = fake(monkeypatch, succeed)
    for _ in range(2):  # what is there is not fetched again
        dataset = load_dataset(
            "cifar10", data_dir=str(tmp_path), classes=("ship", "frog"), download=True
        )
        assert len(dataset.train.labels) == 1_000
    assert len(asked) == 1


def test_a_download_that_leaves_nothing_is_an_error(tmp_path, monkeypatch: pytest.MonkeyPatch):
    fake(monkeypatch, lambda _: None)
    with pytest.raises(DownloadError, match="nothing was prepared"):
        load_dataset("cifar10", data_dir=str(tmp_path), download=True)


def test_retries_are_told_once(tmp_path, monkeypatch, caplog: pytest.LogCaptureFixture):
    pool = logging.getLogger("urllib3.connectionpool")

    def fail(_: object) -> None:
        for left in range(9, -1, -1):
            pool.warning("Retrying (Retry(total=%d)) after connection broken", left)
        raise ConnectionError("gone")

    fake(monkeypatch, fail)
    monkeypatch.setattr(tfds_prepare, "have_tensorflow", lambda: True)
    with caplog.at_level(logging.WARNING), pytest.raises(DownloadError):
        load_dataset("cifar10", data_dir=str(tmp_path), download=True)
    assert [r.getMessage() for r in caplog.records] == [
        "the network does not answer; trying again for some minutes"
    ]
    assert pool.filters == []


def test_needs_tensorflow_looks_down_the_causes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tfds_prepare, "have_tensorflow", lambda: False)
    assert needs_tensorflow(ImportError("Failed importing tensorflow"))
    assert not needs_tensorflow(ImportError("No module named 'cv2'"))
    assert not needs_tensorflow(ValueError("tensorflow"))
    assert not needs_tensorflow(None)
