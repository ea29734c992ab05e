"""A reader can set ``MODEL`` at the top of a page and go on: each such page runs for every kind that its comment names.

The stored outputs are those of the default, which nbval compares. Here the page runs from top to bottom with another kind
in the same line, its own checks included, and the cell that breaks is named: a page more, so this is the nightly part (``make
nightly``). ``HEBM_ALL_KINDS=1`` runs all kinds of all pages; without it each page runs for the first kind that it names.
"""

import asyncio
import os
import re
from queue import Empty

import nbformat
import pytest
from shared import ROOT, load_execute_pages

from hebm_lib.model import BUILDERS

PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
SWITCH = re.compile(r'^MODEL = "([\w-]+)"(?:  # (.*))?$', re.MULTILINE)
MINUTES = 5


def switches(page) -> list[re.Match]:
    """The lines of a page that choose its model, ``MODEL = "joint-ebm"  # or "vlae", …``."""
    return [match for cell in page.cells if cell.cell_type == "code" for match in SWITCH.finditer(cell.source)]


def alternatives(path) -> list[str]:
    """The kinds that the comment behind ``MODEL`` names in quotes."""
    found = switches(nbformat.read(path, as_version=4))
    return re.findall(r'"([\w-]+)"', found[0][2] or "") if found else []


def with_model(path, kind: str):
    """The page with its switch set to ``kind``."""
    page = nbformat.read(path, as_version=4)
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.source = SWITCH.sub(f'MODEL = "{kind}"', cell.source)
    return page


@pytest.fixture(scope="module")
def pages():
    return load_execute_pages()


# A page takes half a minute or more: by default it runs for the first kind named, with HEBM_ALL_KINDS=1 for all.
MOST = None if os.environ.get("HEBM_ALL_KINDS") else 1
CHOICES = [(path, kind) for path in PAGES for kind in alternatives(path)[:MOST]]


def test_there_are_pages_with_a_choice():
    assert CHOICES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_choice_is_made_once_and_between_kinds_that_there_are(path):
    page = nbformat.read(path, as_version=4)
    found = switches(page)
    assert len(found) <= 1, "MODEL is set more than once"
    if found:
        kinds = [found[0][1], *alternatives(path)]
        assert len(kinds) >= 2, "the comment behind MODEL names no other kind in quotes"
        assert len(set(kinds)) == len(kinds) and set(kinds) <= {"joint-ebm", *BUILDERS}
    else:
        lines = [line for cell in page.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
        assert not [line for line in lines if line.startswith("MODEL")], "a MODEL that this test does not see"


@pytest.mark.nightly
@pytest.mark.parametrize(("path", "kind"), CHOICES, ids=[f"{path.stem}-{kind}" for path, kind in CHOICES])
def test_a_page_runs_for_every_kind_that_it_names(path, kind, pages):
    page = with_model(path, kind)
    assert [match[1] for match in switches(page)] == [kind]
    pages.place_colab_cell(page)
    try:
        pages.execute(page, timeout=60 * MINUTES)
        pages.check(page)
    except pages.PageError as error:
        pytest.fail(f'{path.name} with MODEL = "{kind}": {error}', pytrace=False)


def test_a_page_that_breaks_for_a_kind_is_told_with_its_cell(tmp_path, pages):
    """The test above can fail: a page that asserts what holds for one kind only."""
    page = nbformat.v4.new_notebook(metadata={"kernelspec": pages.KERNELSPEC})
    page.cells = [
        nbformat.v4.new_code_cell('MODEL = "joint-ebm"  # or "vlae"'),
        nbformat.v4.new_code_cell('print("never seen")', metadata={"tags": ["nbval-skip", "skip-execution"]}),
        nbformat.v4.new_code_cell('assert MODEL == "joint-ebm", MODEL'),
    ]
    path = tmp_path / "page.ipynb"
    nbformat.write(page, path)
    assert alternatives(path) == ["vlae"]
    with pytest.raises(pages.PageError, match=r"cell 2 (?s:.*)vlae"):
        pages.execute(with_model(path, "vlae"), timeout=60)
    pages.execute(with_model(path, "joint-ebm"), timeout=60)


def test_a_reply_that_came_unnoticed_is_found(pages):
    """`make pages` and the test above wait for a kernel's reply in turns: one that no notice told of is seen in the next."""
    waits = []

    async def get_msg(timeout):
        waits.append(timeout)
        if len(waits) < 3:
            raise Empty
        return "reply"

    assert asyncio.run(pages.asking_again(get_msg, seconds=0.01)(timeout=600.0)) == "reply"
    assert waits == [0.01] * 3

    async def nothing(timeout):
        await asyncio.sleep(timeout)
        raise Empty

    with pytest.raises(Empty):
        asyncio.run(pages.asking_again(nothing, seconds=0.01)(timeout=0.03))
