"""Explorers of pictures drawn beforehand: what they hold, what they refuse, and how they move in a headless browser."""

import base64
import io
import json
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from shared import BROWSERS, ROOT, axe_script

from hebm_lib.reproduction.figures.moving import frames

ALT = "A grey square, darker for a larger share; <the larger> the darker."
MOVE = """
<script>
addEventListener("error", (e) => { document.body.dataset.errors = e.message; });
addEventListener("load", async () => {
  const box = document.querySelector(".hebm-frames"), image = box.querySelector("img"), seen = [];
  const [range, menu] = [box.querySelector("input"), box.querySelector("select")];
  const tell = () => seen.push({ src: image.src.slice(-80), alt: image.alt, told: box.querySelector("output").textContent });
  tell();
  range.value = 2; range.dispatchEvent(new Event("input")); tell();
  menu.value = 1; menu.dispatchEvent(new Event("input")); tell();
  const button = box.querySelector("button"), said = [];
  if (button) {
    button.click(); said.push(button.textContent); tell();
    await new Promise((done) => setTimeout(done, 1000));
    said.push(button.textContent); tell();
  }
  const axed = window.axe ? (await axe.run(box)).violations.map((v) => `${v.id}: ${v.nodes[0].html}`) : [];
  const pre = document.createElement("pre");
  pre.id = "seen"; pre.textContent = JSON.stringify({ seen, said, axed, off: range.disabled || menu.disabled,
    requests: performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")) });
  document.body.append(pre);
});
</script>
"""


def square(share, sign):
    """A picture whose grey says which one it is: 20 values apart."""
    fig = plt.figure(figsize=(0.5, 0.5), facecolor=str(0.2 + 0.2 * share + (0.1 if sign == "plus" else 0)))
    return fig


def grey(picture: str) -> int:
    return int(np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L")).mean().round())


def parts(page: str) -> tuple[list[str], list[int]]:
    return tuple(json.loads(re.search(rf"{name} = (\[.*?\])[,;]", page).group(1)) for name in ("pictures", "order"))


@pytest.fixture(autouse=True, scope="module")
def every_picture():
    """`make test` has the pages draw one picture of each explorer; here all are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HEBM_FRAMES", raising=False)
        yield


@pytest.fixture(scope="module")
def page():
    return frames(
        square,
        {"share": (0, 1, 2.5), "sign": ("minus", "plus")},
        alt=ALT,
        start={"share": 1, "sign": "minus"},
        play="share",
        dpi=40,
    )


def test_every_combination_has_its_own_picture_in_order(page):
    pictures, order = parts(page)
    assert order == [0, 1, 2, 3, 4, 5]
    expected = [255 * (0.2 + 0.2 * share + more) for share in (0, 1, 2.5) for more in (0, 0.1)]
    assert [grey(p) for p in pictures] == pytest.approx(expected, abs=2)


def test_equal_pictures_are_kept_once():
    pictures, order = parts(frames(lambda a, b: square(a, "minus"), {"a": (0, 1), "b": (5, 6, 7)}, alt="grey", dpi=40))
    assert len(pictures) == 2 and order == [0, 0, 0, 1, 1, 1]


def test_only_the_first_picture_is_drawn_where_the_variable_says_so(monkeypatch):
    monkeypatch.setenv("HEBM_FRAMES", "first")
    drawn = []
    page = frames(
        lambda share: drawn.append(share) or square(share, "plus"), {"share": (0, 1, 2.5)}, alt=ALT, start={"share": 1}
    )
    pictures, order = parts(page)
    assert drawn == [1] and len(pictures) == 1 and order == [0, 0, 0]


def test_it_starts_where_it_is_told_without_scripts_too(page):
    pictures, _ = parts(page)
    still = re.search(r'<img src="data:image/webp;base64,([^"]+)"', page).group(1)
    assert still == pictures[2] and 'value="1" disabled' in page


def test_words_are_escaped_and_nothing_is_loaded(page):
    assert "&lt;the larger&gt;" in page and "<the larger>" not in page
    assert not re.search(r"https?://|src=\"(?!data:)", page)


def test_figures_are_closed(page):
    before = plt.get_fignums()
    frames(square, {"share": (0, 1), "sign": ("plus",)}, alt="grey", dpi=40)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("axes", "more", "message"),
    [
        ({}, {}, "one axis or more"),
        ({"share": (), "sign": ("plus",)}, {}, "share needs values"),
        ({"share": (1, 1), "sign": ("plus",)}, {}, "each once"),
        ({"share": range(201), "sign": ("plus",)}, {}, "at most 200"),
        ({"share": (0, 1), "sign": ("plus",)}, {"alt": " "}, "say in `alt`"),
        ({"share": (0, 1), "sign": ("plus",)}, {"start": {"share": 3}}, "cannot start at 3"),
        ({"share": (0, 1), "sign": ("plus",)}, {"start": {"sahre": 1}}, "the axes are share, sign"),
        ({"share": (0, 1), "sign": ("plus",)}, {"play": "sign"}, "play names a slider, one of share"),
    ],
)
def test_what_it_cannot_draw_is_said(axes, more, message):
    with pytest.raises(ValueError, match=message):
        frames(square, axes, **{"alt": "grey", "dpi": 40, **more})


def dump_dom(page: str, folder) -> str:
    """What a headless browser has made of a page, 500 pixels wide; the test is skipped where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=3000"]
    options += ["--window-size=500,900", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *options, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


MEASURE = """
<script type="module">
await new Promise((done) => setTimeout(done, 300));
const told = [...document.querySelectorAll("img")].map((image) => ({ width: image.width,
  scrolls: image.parentElement.scrollWidth > image.parentElement.clientWidth, focus: image.parentElement.tabIndex }));
const axed = window.axe ? (await axe.run("main")).violations.map((v) => v.id) : [];
const pre = document.createElement("pre");
pre.id = "seen"; pre.textContent = JSON.stringify({ told, axed, page: document.documentElement.scrollWidth });
document.body.append(pre);
</script>
"""


def test_on_a_phone_a_wide_figure_of_the_book_scrolls_and_a_square_one_does_not(tmp_path):
    static = ROOT / "book" / "_static"
    images = []
    for i, size in enumerate([(1000, 300), (400, 400)]):
        Image.new("L", size).save(tmp_path / f"{i}.png")
        images.append(f'<div class="cell_output"><div class="output"><img src="{i}.png" alt="figure {i}"></div></div>')
    axe = f"<script>{axe_script().read_text(encoding='utf-8')}</script>" if axe_script() else ""
    scripts = f"<style>{(static / 'hebm.css').read_text()}</style>{axe}"
    after = f"<script>{(static / 'figures.js').read_text()}</script>{MEASURE}"
    body = f'<main class="bd-article"><h1>Figures</h1>{"".join(images)}</main>{after}'
    page = f'<!doctype html><html lang="en"><title>t</title>{scripts}<body>{body}</body></html>'
    found = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dump_dom(page, tmp_path)).group(1))
    wide, square_one = found["told"]
    assert wide["width"] == 680 and wide["scrolls"] and wide["focus"] == 0
    assert square_one["width"] <= 400 and not square_one["scrolls"] and square_one["focus"] == -1
    assert found["page"] <= 500 and found["axed"] == [], "the page itself does not scroll sideways"


def test_in_a_browser_it_moves_says_where_it_is_and_loads_nothing(page, tmp_path):
    axe = f"<script>{axe_script().read_text(encoding='utf-8')}</script>" if axe_script() else ""
    body = f"<main><h1>Explorer</h1>{page}</main>"
    dom = dump_dom(f'<!doctype html><html lang="en"><title>t</title>{axe}{MOVE}{body}</html>', tmp_path)
    assert "data-errors" not in dom
    found = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom).group(1))
    pictures, _ = parts(page)
    assert [step["src"] for step in found["seen"]] == [pictures[i][-80:] for i in (2, 4, 5, 1, 5)]
    assert [step["told"] for step in found["seen"]] == ["1", "2.5", "2.5", "0", "2.5"]
    assert found["said"] == ["pause", "play"], "the film starts from the beginning and stops at its end"
    assert "Shown: share 2.5, sign plus." in found["seen"][-1]["alt"].replace("&lt;", "<")
    assert not found["off"] and found["requests"] == [] and found["axed"] == []
