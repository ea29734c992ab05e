"""What nbval does not look at: the form of every page and of its stored outputs (anatomy in design.md).

Cells are numbered from 0, as in nbval's reports.
"""

import base64
import importlib.util
import io
import json
import re

import nbformat
import pytest
import yaml
from PIL import Image
from shared import ROOT, load_execute_pages

PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXT_PAGES = sorted((ROOT / "book").glob("*.md"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PLACE = re.compile(r"/(?:work|tmp|root|home|Users|opt|mnt)/[\w.-]+|[A-Z]:\\\w+")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
WARNING = re.compile(r"\b\w*Warning\b:")
MOST_LINES = 25
SHORTEST_ALT = 30

pytestmark = pytest.mark.filterwarnings("error::nbformat.warnings.MissingIDFieldWarning")


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def page(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell) -> str:
    return "".join(cell["source"])


def tags(cell) -> set:
    return set(cell["metadata"].get("tags", []))


def code(page, *, checked: bool = False) -> list[tuple[int, dict]]:
    """Numbered code cells with a source; ``checked`` leaves out those that nbval never runs."""
    cells = [(i, c) for i, c in enumerate(page["cells"]) if c["cell_type"] == "code" and source(c).strip()]
    return [(i, c) for i, c in cells if not (checked and "nbval-skip" in tags(c))]


def shown(cell) -> str:
    """Everything that a reader sees as text below a cell."""
    parts = []
    for output in cell["outputs"]:
        parts += output.get("text", [])
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/"):
                parts += value
    return "".join(parts)


# ---- the book as a whole --------------------------------------------------------------------------------------------


def toc_files(node) -> list[str]:
    """Every ``file:`` of the table of contents, in reading order."""
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [name for value in node.values() if isinstance(value, list) for name in toc_files(value)]
    return [name for item in node for name in toc_files(item)]


def test_there_are_pages():
    assert PAGES


@pytest.mark.parametrize("name", toc_files(TOC))
def test_everything_in_the_table_of_contents_is_there(name):
    # book/notebooks is a relative link to notebooks/: seen from the root it is the same file.
    folder = ROOT if name.startswith("notebooks/") else ROOT / "book"
    assert any((folder / f"{name}{ending}").is_file() for ending in (".md", ".ipynb"))


def test_the_sidebar_numbers_the_pages_as_their_files_and_names_them_as_the_readme_does():
    entries = {
        c["file"]: c.get("title", "") for part in TOC["parts"] for c in part["chapters"] if "notebooks/" in c["file"]
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for file, title in entries.items():
        assert title[:3] == f"{file.removeprefix('notebooks/')[:2]} " and f"[{title}](" in readme


def test_the_map_on_the_landing_page_has_every_page_once():
    intro = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    linked = re.findall(r'<a href="notebooks/([\w-]+)\.html"><span>(\d\d)</span>', intro)
    assert sorted(linked) == sorted((page.stem, page.stem[:2]) for page in PAGES)


@pytest.mark.parametrize("link", ["_config.yml", "_toc.yml", "notebooks"])
def test_the_book_sees_settings_and_pages_through_relative_links(link):
    place = ROOT / "book" / link
    assert place.is_symlink() and not place.readlink().is_absolute() and place.resolve() == ROOT / link


def test_every_page_is_in_the_table_of_contents(path):
    assert f"notebooks/{path.stem}" in toc_files(TOC)


HEROES = {
    "00-the-family": "gallery-says",
    "03-eighty-lines": "title",
    "08-what-an-energy-is-worth": "worth-07",
    "09-training-run": "p07-hero-text",
    "10-full-training": "result-caption",
    "11-hierarchical-sampling": "p09-caption",
    "13-latent-space": "p12-caption",
    "14-long-run-chains": "p14-faces-t",
    "15-latent-attack": "83317b50",
    "19-disentanglement": "p21-claim",
    "20-natural-images": "227e0edf",
    "21-photographs-level-by-level": "p23-answer",
    "22-your-own-data": "answer-caption",
}
"""Pages that open with a ladder of levels, and the cell that explains the first picture."""


@pytest.mark.parametrize("name", HEROES)
def test_the_first_picture_says_what_the_bottom_level_may_see_and_say(name):
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    words = next(source(cell) for cell in cells if cell["id"] == HEROES[name])
    assert re.search(r"may see (and|averages only, and) say", words)


def test_the_landing_pages_pictures_say_it_too():
    assert (ROOT / "book" / "intro.md").read_text(encoding="utf-8").count("may see and say") >= 2


def extension(name: str):
    """One of the book's own Sphinx extensions."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def captions_of(path) -> dict[str, str]:
    """Anchor → number of every figure and table of a page, as the built book has them."""
    captions, seen, found = extension("captions"), {"figure": 0, "table": 0}, {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for title in re.findall(r"^\*\*([^*]+)\*\*", source(cell), flags=re.MULTILINE):
                if captions.CAPTION.fullmatch(title):
                    text, anchors = captions.number_captions(title, path.stem[:2], seen)
                    found |= dict(zip(anchors, re.findall(r"[\d.]+\d", text), strict=True))
    return found


def test_cards_and_the_icon_follow_the_settings():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    place = extension("address").pages_address(settings["repository"]["url"])
    assert re.fullmatch(r"https://[\w-]+\.github\.io/[\w-]+/", place)
    assert (ROOT / "book" / settings["html"]["favicon"]).is_file()


def test_captions_are_numbered_and_links_to_them_say_the_number():
    captions = {path.name: captions_of(path) for path in PAGES}
    assert all("figure-1" in found or "table-1" in found for found in captions.values())
    assert captions["12-latent-classifier.ipynb"]["figure-2"] == "12.2"
    links = []
    for path in PAGES:
        text = "\n".join(source(c) for c in json.loads(path.read_text(encoding="utf-8"))["cells"])
        for label, page, anchor in re.findall(r"\[([^\]]+)\]\(([\w-]+\.ipynb)#((?:figure|table)-\d+)\)", text):
            links.append(label)
            kind = anchor.partition("-")[0].capitalize()
            assert label == f"{kind} {captions[page][anchor]}", f"{path.name} → {page}#{anchor}"
    assert len(links) >= 8


# ---- form -----------------------------------------------------------------------------------------------------------


def test_a_page_is_a_valid_notebook(path, page):
    nbformat.validate(page)
    assert path.stat().st_size < 3_000_000, "smaller pictures?"


def test_a_page_opens_with_its_title(page):
    first = page["cells"][0]
    assert first["cell_type"] == "markdown" and source(first).startswith("# ")


def test_a_page_has_one_title_exercises_and_a_summary(page):
    text = "\n".join(source(c) for c in page["cells"] if c["cell_type"] == "markdown")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1
    assert "exercise" in text.lower() and "summary" in text.lower()


def test_cells_are_short(page):
    long = {i: len(source(c).splitlines()) for i, c in code(page) if len(source(c).splitlines()) > MOST_LINES}
    assert not long, f"cells longer than {MOST_LINES} lines (cell: lines); helpers belong in hebm_lib: {long}"


def test_the_library_is_imported_without_path_tricks(page):
    for number, cell in code(page):
        # The cell that `make pages` places for Colab installs a checkout into a running kernel: the one exception.
        assert cell.get("id") == "colab" or "sys.path" not in source(cell), f"cell {number}"
        assert "# NBVAL" not in source(cell), f"cell {number}: tags belong in the metadata, comments show in the book"


def test_the_colab_cell_fetches_the_books_own_repository(page):
    """The public address stands once, in _config.yml; `make pages` writes it into this cell."""
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    cells = [source(cell) for _, cell in code(page) if cell.get("id") == "colab"]
    assert len(cells) == 1 and f"{url} " in cells[0] and 'if "google.colab" in sys.modules' in cells[0]


def test_known_tags_only(page):
    known = {"nbval-ignore-output", "nbval-skip", "skip-execution", "nbval-raises-exception", "raises-exception"}
    known |= {"hide-input", "hide-output", "hide-cell", "remove-input", "remove-output", "remove-cell"}
    known |= {"full-width", "margin", "scroll-output", "parameters"}
    for number, cell in enumerate(page["cells"]):
        assert tags(cell) <= known, f"cell {number}: a misspelt tag does nothing: {tags(cell) - known}"


def test_a_cell_that_nbval_skips_is_not_executed_by_make_pages_either(page):
    for number, cell in code(page):
        assert ("nbval-skip" in tags(cell)) == ("skip-execution" in tags(cell)), f"cell {number}"


# ---- stored outputs -------------------------------------------------------------------------------------------------


def test_every_checked_cell_was_run_in_order(page):
    """nbval compares nothing of a cell without an execution count."""
    counts = [(i, c["execution_count"]) for i, c in code(page, checked=True)]
    assert all(count is not None for _, count in counts), [i for i, count in counts if count is None]
    numbers = [count for _, count in counts]
    assert numbers == sorted(set(numbers)), "run the page from top to bottom: make pages"


def test_no_errors_no_warnings_no_places_no_addresses(page):
    for number, cell in code(page):
        for output in cell["outputs"]:
            if "raises-exception" not in tags(cell):
                assert output["output_type"] != "error", f"cell {number}: {output.get('ename')}"
            assert output.get("name") != "stderr", f"cell {number} wrote to stderr: {output.get('text')}"
        for what in (PLACE, ADDRESS, WARNING):
            found = what.search(shown(cell))
            assert not found, f"cell {number} shows {found.group()}"
        assert not PLACE.search(source(cell)), f"cell {number} names {PLACE.search(source(cell)).group()}"


def test_figures_are_pngs(page):
    """nbval compares SVG as text, which no two machines draw alike."""
    for number, cell in code(page):
        for output in cell["outputs"]:
            assert "image/svg+xml" not in output.get("data", {}), f"cell {number}"


def test_every_figure_has_an_alternative_text(page):
    """What is to be seen, in words; the caption says what to look for, and does not replace it."""
    for number, cell in code(page):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.strip()) >= SHORTEST_ALT, f"cell {number}: metadata mystnb.image.alt is {alt!r}"


@pytest.mark.parametrize("text_page", TEXT_PAGES, ids=lambda path: path.stem)
def test_every_image_of_a_text_page_has_an_alternative_text(text_page):
    text = text_page.read_text(encoding="utf-8")
    alts = re.findall(r"!\[([^]]*)\]\(", text)
    for image, options in re.findall(r"^[`:]{3,}\{(?:figure|image)\}(.*)\n((?::.*\n)*)", text, flags=re.MULTILINE):
        found = re.search(r"^:alt:(.*)$", options, flags=re.MULTILINE)
        assert found, f"{image.strip()} has no :alt:"
        alts.append(found.group(1))
    assert all(len(alt.strip()) >= SHORTEST_ALT for alt in alts), alts


def test_text_that_is_not_compared_is_followed_by_a_check(page):
    """A cell whose output depends on the machine is followed by one that asserts what must hold."""
    cells = code(page)
    for place, (number, cell) in enumerate(cells):
        widget = any('class="hebm-frames"' in "".join(o.get("data", {}).get("text/html", "")) for o in cell["outputs"])
        if "nbval-ignore-output" in tags(cell) and not widget and shown(cell).strip():
            after = [source(c) for _, c in cells[place : place + 3]]
            assert any(re.search(r"\bassert\b|\bcheck\w*\(", text) for text in after), f"cell {number}"


def test_a_page_checks_something(page):
    assert any(re.search(r"\bassert\b|\bcheck\w*\(", source(c)) for _, c in code(page, checked=True))


def test_kernel_and_language_are_those_that_make_pages_writes(page):
    assert page["metadata"]["kernelspec"]["name"] == "python3"
    assert "version" not in page["metadata"].get("language_info", {})


def test_the_picture_at_the_top_of_a_page_is_the_one_that_the_page_makes(path, page):
    """A page of plain code shows its result before the code: the figure itself, put there by `make pages`."""
    tool, notebook = load_execute_pages(), nbformat.read(path, as_version=4)
    shown = tool.LEAD.search(source(page["cells"][0]))
    assert (shown is None) == (tool.lead_picture(notebook) is None)
    if shown is not None:
        top, made = (
            Image.open(io.BytesIO(base64.b64decode(data)))
            for data in (shown[0].split("base64,")[1][:-1], tool.lead_picture(notebook))
        )
        assert top.size == made.size and top.tobytes() == made.tobytes()
