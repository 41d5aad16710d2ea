"""Every notebook runs from top to bottom, small, and shows its figures."""

import re
from pathlib import Path

import jax
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from experiments import init_convergence

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURE = re.compile(r"^\w+\(\w*run\.data\b.*\)$", re.MULTILINE)
PLACES = re.compile(r'^([A-Z_]+) = ""', re.MULTILINE)  # where a person names a run folder


def name_of(path):
    return path.stem


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook, cwd):
    """Run a notebook in a process of its own."""
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(cwd)}}
    )
    return client.execute()


def placed(notebook, out_dir, folders):
    """Fill in where small runs go, and the run folders that a person would name."""
    cell = next(cell for cell in code(notebook) if "OUT_DIR" in cell.source)
    lines = [f"OUT_DIR = {str(out_dir)!r}"]
    for name in PLACES.findall(cell.source):
        lines.append(f"{name} = {str(folders.get(name, ''))!r}")
    cell.source = "\n".join(lines)


def run_folders(notebook, out_dir, stem):
    """Find the run folder of each name: RUN is of the experiment called like the notebook."""
    cell = next(cell for cell in code(notebook) if "OUT_DIR" in cell.source)
    found = {}
    for name in PLACES.findall(cell.source):
        experiment = stem if name == "RUN" else name.lower()
        (found[name],) = (out_dir / experiment).iterdir()
    return found


def shown(cell):
    return [kind for output in cell.outputs for kind in output.get("data", {})]


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Kernels use the compiled programs of other tests."""
    for name in (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    ):
        monkeypatch.setenv(name.upper(), str(jax.config.values[name]))


@pytest.fixture
def machine(monkeypatch):
    """The kernel runs on the CPU, with two devices."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_clean_and_simple(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in code(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert cell.metadata == {}
        assert not re.search(r"\b(def|class|for|while)\b", cell.source), cell.source
        assert "experiments._" not in cell.source
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if FIGURE.search(cell.source):
            assert before.cell_type == "markdown"
            assert "?" in before.source, "a figure follows the question it answers"


def test_the_notebook_draws_every_figure_of_the_experiment():
    notebook = nbformat.read(ROOT / "notebooks" / "init_convergence.ipynb", as_version=4)
    drawn = [cell.source for cell in code(notebook) if FIGURE.search(cell.source)]
    names = [name.rpartition(".")[2] for name in init_convergence.FIGURES.values()]
    wanted = [f"{name}(run.data)" for name in names]
    assert sorted(drawn) == sorted(wanted)


# Slow: all but one, and each a second time, with every figure from the finished runs.
@pytest.mark.parametrize("twice", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[] if p.stem == "init_convergence" else [pytest.mark.slow])
        for p in NOTEBOOKS
    ],
    ids=name_of,
)
def test_a_notebook_runs_and_shows_its_figures(path, twice, tmp_path, machine):
    notebook = nbformat.read(path, as_version=4)
    placed(notebook, tmp_path / "runs", {})
    execute(notebook, ROOT / "notebooks")
    figures = [cell for cell in code(notebook) if FIGURE.search(cell.source)]
    assert len(figures) >= 1
    for cell in figures:
        assert "image/png" in shown(cell), cell.source
    folders = run_folders(nbformat.read(path, as_version=4), tmp_path / "runs", path.stem)
    for folder in folders.values():
        assert (folder / "results.nc").exists()
    if not twice:
        return

    # The same figures from the finished runs, opened by their folders.
    again = nbformat.read(path, as_version=4)
    placed(again, "", folders)
    execute(again, ROOT / "notebooks")
    for cell in code(again):
        if FIGURE.search(cell.source):
            assert "image/png" in shown(cell), cell.source


def test_without_the_repository_a_notebook_says_what_to_do(tmp_path, machine):
    notebook = nbformat.read(ROOT / "notebooks" / "init_convergence.ipynb", as_version=4)
    notebook.cells = notebook.cells[:3]
    with pytest.raises(CellExecutionError, match="The repository is not here. Clone it"):
        execute(notebook, tmp_path)
