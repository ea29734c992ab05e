"""Pages that are filled from book/results stand as they would be filled now; a wrong marker says so."""

import re

import pytest
import torch
from shared import ROOT

from hebm_lib import load_pretrained
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


def test_on_the_scoreboard_the_claims_are_open_and_every_table_behind_them_is_folded():
    page = (ROOT / "book" / "scoreboard.md").read_text(encoding="utf-8")
    titles = {name: page.partition(f"<!-- begin: {name} -->")[0].splitlines()[-1] for name, *_ in markers(page)}
    assert not titles.pop("ledger").startswith(":::")
    assert len(titles) > 20 and all(re.fullmatch(r":::\{dropdown\} .+", title) for title in titles.values())
    assert page.count(":::{dropdown}") == len(titles) == len(re.findall(r"^:::$", page, flags=re.MULTILINE))


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


def test_the_primers_code_is_the_librarys_bound():
    """The block of `book/primer.md`, run on a published VAE and on the same noise."""
    text = (ROOT / "book" / "primer.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], names)
    model, x = load_pretrained("mnist-vae").eval(), torch.linspace(-1, 1, 2 * 784).view(2, 1, 28, 28)
    q = model.encode(x)
    torch.manual_seed(0)
    z = q.mean + q.stddev * torch.randn_like(q.mean)
    torch.manual_seed(0)
    found = names["elbo"](x, lambda x: (q.mean, q.stddev), model.decode, model.sigma)
    library = model.elbo(x, z=z)
    torch.testing.assert_close(found, library.reconstruction - library.kl.sum(1), rtol=1e-4, atol=1e-2)
