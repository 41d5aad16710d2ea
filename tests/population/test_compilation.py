"""Compiled programs are kept where one says, or not at all."""

import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from catdog_jax.population import use_compilation_cache
from catdog_jax.types import InputError

NAMES = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def settings():
    """JAX's settings are as before, afterwards."""
    before = {name: jax.config.values[name] for name in NAMES}
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compiled(number):
    """Compile a program of its own."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return jax.jit(lambda x: x * number + 1)(jnp.arange(3.0))


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_of_ones_own_is_used_for_the_same_numbers(tmp_path):
    use_compilation_cache(str(tmp_path / "new" / "folder"))
    first = compiled(1.25)
    (found,) = tmp_path.rglob("jit__lambda*")
    jax.clear_caches()
    again = compiled(1.25)
    assert np.array_equal(first, again)
    assert list(tmp_path.rglob("jit__lambda*")) == [found]  # under the same name: it was found


def test_a_damaged_entry_is_compiled_again_without_a_word(tmp_path):
    use_compilation_cache(str(tmp_path))
    first = compiled(2.25)
    for path in entries(tmp_path):
        path.write_bytes(path.read_bytes()[:-20])  # as a killed process leaves it
    jax.clear_caches()
    again = compiled(2.25)  # a warning would be an error here
    assert np.array_equal(first, again)


def test_none_keeps_nothing(tmp_path):
    use_compilation_cache(str(tmp_path))
    use_compilation_cache("none")
    compiled(3.25)
    assert entries(tmp_path) == []
    use_compilation_cache(str(tmp_path))
    compiled(4.25)
    assert entries(tmp_path)


def test_empty_is_the_users_folder_unless_jax_has_been_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    told = jax.config.values["jax_compilation_cache_dir"]
    use_compilation_cache()
    assert jax.config.values["jax_compilation_cache_dir"] == told
    jax.config.update("jax_compilation_cache_dir", None)
    use_compilation_cache()
    assert Path(jax.config.values["jax_compilation_cache_dir"]).parent == tmp_path / "xla"


def test_a_folder_that_cannot_be_written_is_one_plain_line(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    blocked = str(tmp_path / "file" / "folder")
    with pytest.raises(InputError) as caught:
        use_compilation_cache(blocked)
    said = str(caught.value)
    assert said.startswith(f"--compile_cache={blocked}: ")
    assert said.endswith("cannot be written to (Not a directory); give another folder, or none")
    # The user's own is no hindrance.
    monkeypatch.setenv("CATDOG_CACHE_DIR", blocked)
    jax.config.update("jax_compilation_cache_dir", None)
    use_compilation_cache()
    assert jax.config.values["jax_compilation_cache_dir"] is None
    (message,) = caplog.messages
    assert message.startswith("going on without a cache of compiled programs: ")
