"""The notebook in examples/ runs from top to bottom, and what it shows is what it gave on the small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import save_tiny_model

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "ranked_lists.ipynb"


@pytest.mark.soak
def test_the_notebook_runs(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "tiny")
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    for cell in book.cells:
        cell.source = cell.source.replace("embedded:smollm2", "./tiny")
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    assert (tmp_path / "runs" / "notebook" / "model" / "model.safetensors").is_file()


def test_the_notebook_is_shipped_with_what_it_gave() -> None:
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    assert "95 %" in shown[-1].text
