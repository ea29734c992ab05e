"""A reader runs a cell again, to look once more or after a change: every page survives each of its cells being run twice.

A name that its own cell overwrites (``x = x.flatten(1)``) works once only, and nbval, which runs every cell once, does not
see it. The page keeps its own checks. Each takes about twice the page's time, so this is the nightly part: ``make nightly``.
"""

import copy

import nbformat
import pytest
from shared import ROOT, load_execute_pages

PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
MINUTES = 10


def cells_twice(page):
    """The page with every code cell followed by itself."""
    doubled = copy.deepcopy(page)
    doubled.cells = []
    for cell in page.cells:
        doubled.cells.append(cell)
        if cell.cell_type == "code":
            again = copy.deepcopy(cell)
            again.id = f"{cell.id}-again"
            doubled.cells.append(again)
    return doubled


@pytest.fixture(scope="module")
def pages():
    return load_execute_pages()


@pytest.mark.nightly
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_survives_each_cell_being_run_twice(path, pages):
    page = cells_twice(nbformat.read(path, as_version=4))
    try:
        pages.execute(page, timeout=60 * MINUTES)
        pages.check(page)
    except pages.PageError as error:
        pytest.fail(f"{path.name}, every cell run twice: {error}", pytrace=False)


def test_a_name_overwritten_by_its_own_result_is_told_with_its_cell(pages):
    """The test above can fail: a cell that works once only, on a page that nbval would pass."""
    page = nbformat.v4.new_notebook(metadata={"kernelspec": pages.KERNELSPEC})
    page.cells = [
        nbformat.v4.new_code_cell("x = [[1, 2]]"),
        nbformat.v4.new_code_cell("x = x[0]\nx = x[0]\nassert x == 1"),
    ]
    twice = cells_twice(page)
    assert len(page.cells) == 2 and len(twice.cells) == 4 and len({cell.id for cell in twice.cells}) == 4
    pages.execute(page, timeout=60)
    with pytest.raises(pages.PageError, match=r"cell 3 (?s:.*)not subscriptable"):
        pages.execute(twice, timeout=60)
