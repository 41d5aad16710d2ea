"""Holds the floors of the house: imports point down only, files are short, the public is told."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "catdog_jax"
FLOORS = {
    "types": 0,
    "interrupt": 0,
    "host": 0,
    "registry": 1,
    "ops": 2,
    "losses": 2,
    "augment": 2,
    "optimizers": 2,
    "sample": 2,
    "models": 3,
    "data": 4,
    "rules": 5,
    "estimators": 5,
    "train": 6,
    "population": 7,
    "run": 8,
}
# Rooms beside the stairs, and all that they may know of the package.
BESIDE = {
    "store": {"interrupt", "store", "types"},
    # A probe is a ridge regression on features, the ladder reads linear weights, and words
    # are annotated by the grammar.
    "analysis": {"analysis", "data", "estimators", "models", "registry", "types"},
    "figures": {"figures"},
}
# Where population and store meet.
ABOVE = {"run": {"analysis", "store"}}
LIBRARIES_OF_FIGURES = {"numpy", "matplotlib", "jaxtyping", "xarray"}
FILES = sorted(PACKAGE.rglob("*.py"))
EVERY_FILE = sorted(
    path
    for place in ("catdog_jax", "experiments", "tests")
    for path in (ROOT / place).rglob("*.py")
)


def imported(path):
    """Every dotted name that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from catdog_jax import losses` may mean the room.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path):
    """The part of the package a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def rooms(path):
    """The parts of the package that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.split(".")[0] == "catdog_jax"}


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOORS or here in BESIDE, f"{here} has no floor: give it one, here and in DESIGN"
    if here in BESIDE:
        assert rooms(path) <= BESIDE[here]
        return
    for other in rooms(path) - {here} - ABOVE.get(here, set()):
        assert other in FLOORS, f"{name_of(path)} imports {other}, which is no floor below"
        assert FLOORS[other] < FLOORS[here], f"{name_of(path)} imports {other}, on no lower floor"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_of_the_package_knows_flags_or_experiments(path):
    found = {name.split(".")[0] for name in imported(path)}
    assert found.isdisjoint({"absl", "experiments"})


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_flax_lives_in_models_only(path):
    found = {name.split(".")[0] for name in imported(path)}
    assert "flax" not in found or room(path) == "models"


@pytest.mark.parametrize("path", sorted((PACKAGE / "figures").glob("*.py")), ids=name_of)
def test_figures_know_arrays_and_matplotlib_only(path):
    found = {name.split(".")[0] for name in imported(path)} - {"catdog_jax"}
    assert found <= LIBRARIES_OF_FIGURES | set(sys.stdlib_module_names)
    assert "matplotlib.pyplot" not in imported(path)


def test_experiments_do_not_know_one_another():
    mains = {path.stem for path in (ROOT / "experiments").glob("[!_]*.py")}
    assert "init_convergence" in mains
    for path in (ROOT / "experiments").rglob("*.py"):
        known = {name.split(".")[1] for name in imported(path) if name.startswith("experiments.")}
        assert known.isdisjoint(mains), name_of(path)


def test_no_import_goes_in_a_circle():
    files = [path for path in EVERY_FILE if path.stem != "__init__" and "tests" not in path.parts]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    known = {
        module: {name for found in imported(path) for name in (found, found.rpartition(".")[0])}
        & modules.keys() - {module}
        for module, path in modules.items()
    }
    assert "experiments._experiment" in known["experiments.init_convergence"]
    graphlib.TopologicalSorter(known).prepare()  # raises CycleError


@pytest.mark.parametrize("path", EVERY_FILE, ids=name_of)
def test_a_file_fits_on_a_few_screens(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines: it has two jobs"
    assert max(map(len, lines), default=0) <= 100


def public(tree):
    """The functions and classes of a module that others may use, methods of classes included."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_all_that_is_public_is_told(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "__init__.py" or tree.body:
        assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
    hidden = path.name.startswith("_") and path.name != "__init__.py"
    silent = [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert hidden or not silent, f"{name_of(path)}: no docstring on {silent}"


def test_the_floors_would_notice(tmp_path):
    source = "import flax.linen as nn\nfrom catdog_jax import population\nfrom absl import flags\n"
    (tmp_path / "wrong.py").write_text(source)
    assert imported(tmp_path / "wrong.py") == {"flax.linen", "catdog_jax.population", "absl.flags"}
    assert rooms(tmp_path / "wrong.py") == {"population"}
