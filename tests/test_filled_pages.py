"""Pages that are filled from book/results stand as they would be filled now; a wrong marker says so."""

import pytest
from conftest import ROOT

from hebm_lib.reproduction import claims
from hebm_lib.reproduction.bench import tables
from hebm_lib.reproduction.pages import fill, fill_page, markers

WHO = {page: ("make scoreboard", claims.FILLERS) for page in claims.PAGES}
WHO[tables.PAGE] = ("python -m hebm_lib bench --draw", tables.fillers(tables.load_benches()))


def filled_pages() -> list:
    """Every page of the book, and the README, that has a marker."""
    pages = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
    return [page for page in pages if "<!-- begin: " in page.read_text()]


@pytest.mark.parametrize("page", filled_pages(), ids=lambda page: page.name)
def test_a_page_is_up_to_date(page):
    command, fillers = WHO[page]
    assert fill(page.read_text(), fillers, where=page.name) == page.read_text(), f"run `{command}`"


def test_every_table_has_its_place():
    placed = {page: {name for name, *_ in markers(page.read_text())} for page in WHO}
    assert set().union(*(placed[page] for page in claims.PAGES)) == claims.FILLERS.keys()
    assert placed[tables.PAGE] == tables.fillers({}).keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prose\n<!-- begin: one -->\n1", r"page.md, line 2: 'one' is begun and not ended"),
        ("<!-- begin: one -->\n<!-- begin: one -->\n<!-- end: one -->", "line 1: 'one' is begun and not ended"),
        ("<!-- end: one -->", "line 1: 'one' ends here and was not begun"),
        ("<!-- begin: one -->\n<!-- end: two -->", "line 2: 'two' ends here and was not begun"),
        ("<!-- begin: wings -->\n<!-- end: wings -->", "line 1: nothing fills 'wings'; there are one"),
    ],
)
def test_a_wrong_marker_says_where_it_is_and_leaves_the_page(tmp_path, text, message):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=message):
        fill_page(page, {"one": lambda: "1"})
    assert page.read_text() == text


def test_what_is_between_markers_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: one -->\nold\nolder\n<!-- end: one -->\nafter\n")
    for _ in range(2):  # filled once or often, it is the same page
        fill_page(page, {"one": lambda: "| 1 |\n| 2 |"})
        assert page.read_text() == "before\n<!-- begin: one -->\n| 1 |\n| 2 |\n<!-- end: one -->\nafter\n"
