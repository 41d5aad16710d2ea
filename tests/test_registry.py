"""Entries, settings, tables and the errors of the registry."""

import sys
import textwrap

import pytest

from catdog_jax import registry
from catdog_jax.types import InputError


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("linear", "linear", {}),
        (" mlp:width=256:depth=3 ", "mlp", {"width": "256", "depth": "3"}),
        ("mine.module.build:path=a=b", "mine.module.build", {"path": "a=b"}),
    ],
)
def test_an_entry_is_a_name_and_settings(text, name, settings):
    assert registry.parse_entry(text) == (name, settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'': the name is empty; write name or name:setting=value"),
        (":width=3", "':width=3': the name is empty; write name or name:setting=value"),
        ("mlp:width", "'mlp:width': 'width' is not setting=value; write name:setting=value"),
        ("mlp:=3", "'mlp:=3': '=3' is not setting=value; write name:setting=value"),
        ("mlp:width=", "'mlp:width=': 'width=' is not setting=value; write name:setting=value"),
        ("mlp:a=1:a=2", "'mlp:a=1:a=2': setting 'a' is given twice; give it once"),
    ],
)
def test_what_is_no_entry_is_refused(text, message):
    with pytest.raises(InputError) as caught:
        registry.parse_entry(text)
    assert str(caught.value) == message


def build(
    shape,
    *,
    width: int = 1,
    gain: float = 1.0,
    norm: bool = False,
    widths: tuple[int, ...] = (),
    activation: str = "relu",
    free=None,
):
    """Stands for a builder."""


def test_settings_take_the_types_of_the_keywords():
    texts = {"width": "3", "gain": "1e-2", "norm": "True", "widths": "32-64", "activation": "tanh"}
    typed = registry.typed_settings("mlp", build, {**texts, "free": "7"})
    assert typed == {
        "width": 3,
        "gain": 0.01,
        "norm": True,
        "widths": (32, 64),
        "activation": "tanh",
        "free": "7",
    }
    assert isinstance(typed["width"], int)
    assert registry.typed_settings("mlp", build, {"norm": "0"}) == {"norm": False}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("width", "3.5", "'m': width=3.5 is not allowed; give a whole number"),
        ("gain", "big", "'m': gain=big is not allowed; give a finite number"),
        ("norm", "maybe", "'m': norm=maybe is not allowed; give true or false"),
        ("widths", "32,64", "'m': widths=32,64 is not allowed; give whole numbers like 32-64-128"),
        (
            "widht",
            "3",
            "unknown setting of 'm': 'widht'; known: activation, free, gain, norm, width, widths "
            "(did you mean 'width'?)",
        ),
    ],
)
def test_settings_of_another_type_are_refused(name, text, message):
    with pytest.raises(InputError) as caught:
        registry.typed_settings("m", build, {name: text})
    assert str(caught.value) == message


def test_an_unknown_name_lists_the_known_and_the_closest():
    assert str(registry.unknown("model", "mpl", ["mlp", "cnn"])) == (
        "unknown model 'mpl'; known: cnn, mlp (did you mean 'mlp'?)"
    )
    assert str(registry.unknown("model", "transformer", ["mlp"], "add it")) == (
        "unknown model 'transformer'; known: mlp; add it"
    )


def test_a_dotted_path_leads_to_an_attribute():
    assert registry.dotted("catdog_jax.registry.table", "model") is registry.table


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "no.such.thing",
            "model 'no.such.thing': cannot import 'no.such' (No module named 'no'); "
            "give package.module.name, importable from here",
        ),
        (
            "catdog_jax.registry.nothing",
            "model 'catdog_jax.registry.nothing': module 'catdog_jax.registry' has no 'nothing'",
        ),
    ],
)
def test_a_dotted_path_that_leads_nowhere_is_refused(path, message):
    with pytest.raises(InputError) as caught:
        registry.dotted(path, "model")
    assert str(caught.value) == message


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """A function that writes a package of modules, name -> source, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"made_{abs(hash(request.node.name))}"

    def make(**sources):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        for module, source in sources.items():
            (tmp_path / name / f"{module}.py").write_text(textwrap.dedent(source))
        return name

    yield make
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_file_joins_a_table_by_existing(package):
    name = package(b="MODELS = {'two': 2, 'three': 3}", a="MODELS = {'one': 1}", c="OTHER = {}")
    found = registry.table(name, "MODELS")
    assert dict(found) == {"one": 1, "two": 2, "three": 3}
    assert list(found) == ["one", "three", "two"]
    with pytest.raises(TypeError):
        found["four"] = 4


def test_two_files_cannot_register_the_same_name(package):
    name = package(a="MODELS = {'one': 1}", b="MODELS = {'one': 2}")
    with pytest.raises(RuntimeError, match=f"{name}.b registers {{'one'}}, as another module"):
        registry.table(name, "MODELS")
