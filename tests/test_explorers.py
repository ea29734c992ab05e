"""The explorers of the built book: their files, their decoder beside torch's, and the component in a headless browser.

One browser serves all its tests: a page of its own holds both explorers and a script that moves them and writes what it found.
"""

import functools
import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from shared import BROWSERS, ROOT, axe_script

from hebm_lib import JointEBM, LatentSpec, load_pretrained
from hebm_lib.config import GeneratorConfig
from hebm_lib.networks import LadderGenerator
from hebm_lib.reproduction.explorers import (
    EXPLORERS,
    MOST_BYTES,
    draw_still,
    export_model,
    generator_steps,
    show,
    write_script,
)

SCRIPT = ROOT / "book" / "_static" / "explorers.js"
PLAIN_LADDER = "mnist-map"
MOST_SECONDS = 90
HARNESS = """
<!doctype html><html lang="en" data-theme="light"><head><title>Explorers</title>
<link rel="icon" href="data:,"><script>
window.errors = [];
addEventListener("error", (e) => errors.push(e.message));
addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
console.error = (...parts) => errors.push(parts.join(" "));
</script><script src="_static/explorers.js"></script></head><body><main><h1>Explorers</h1>
ELEMENTS
</main>
<script type="module">
const { decode, energy } = globalThis.hebmExplorers;
const codes = CODES, found = { kinds: {}, decoded: {}, energies: {} };
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const settle = async (test) => { for (let i = 0; i < 300 && !test(); i++) await wait(20); return test(); };
const pictures = (root) => [...root.querySelectorAll("canvas")].map((c) => c.toDataURL());
for (const element of document.querySelectorAll("hebm-explorer")) {
  const kind = element.getAttribute("kind"), seen = (found.kinds[kind] = {});
  seen.still = element.querySelector("img") !== null;
  seen.ready = await settle(() => element.dataset.state);
  seen.why = element.dataset.why;
  const root = element.shadowRoot;
  await wait(400);
  const before = pictures(root);
  if (kind === "levels") {
    const range = root.querySelector("input[type=range]");
    range.focus();
    seen.focus = root.activeElement === range;
    range.value = Number(range.value) > 0 ? -2 : 2;
    range.dispatchEvent(new Event("input", { bubbles: true }));
  } else {
    const steps = root.querySelector("input[aria-label='Steps K']");
    steps.value = 8;
    steps.dispatchEvent(new Event("input", { bubbles: true }));
    root.querySelector("button").click();
  }
  seen.moved = await settle(() => pictures(root).some((p, i) => p !== before[i]));
  const middle = pictures(root);
  root.querySelectorAll("input[type=radio]")[1].click();
  if (kind === "langevin") root.querySelector("button").click();
  seen.switched = await settle(() => pictures(root).some((p, i) => p !== middle[i]));
  for (let i = 0; i < 40 && !root.querySelector("[role=status]").textContent; i++) await new Promise(requestAnimationFrame);
  seen.status = root.querySelector("[role=status]").textContent;
  found.decoded[kind] = codes[kind].map((z) => [...decode(element.model, Float32Array.from(z))]);
  found.energies[kind] = codes[kind].map((z) => energy(element.model, Float32Array.from(z)).value);
}
document.documentElement.dataset.theme = "dark";
await wait(50);
found.dark = [...document.querySelectorAll("hebm-explorer")].every((e) => e.classList.contains("dark"));
if (window.axe) found.axe = (await axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html}`);
document.documentElement.dataset.theme = "light";
if (window.axe) found.axe.push(...(await axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html}`));
found.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
found.origin = location.origin;
found.errors = errors;
await fetch("found", { method: "POST", body: JSON.stringify(found) });
</script></body></html>
"""


def codes_for(model: JointEBM) -> torch.Tensor:
    return 1.5 * torch.randn(3, model.latents.total, generator=torch.Generator().manual_seed(0))


def a_browser() -> str:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return browser


def told_by_a_browser(browser: str, folder: Path, page: Callable[[str], str]) -> dict:
    """Open a page in a headless browser; what its script posts to the server's ``/found``.

    Args:
        folder: what the server serves, and where the browser's log and profile go.
        page: from the server's address to the page's.
    """
    found, told = {}, threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            told.set()

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The port for debuggers, which nobody uses, keeps a headless browser open until it is ended.
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--disable-dev-shm-usage"]
    options += ["--window-size=1200,2400", f"--user-data-dir={folder / 'profile'}", "--no-first-run"]
    address = page(f"http://127.0.0.1:{server.server_port}")
    with (
        open(folder / "browser.log", "w") as log,
        subprocess.Popen([browser, *options, address], stdout=log, stderr=log) as process,
    ):
        try:
            assert told.wait(MOST_SECONDS), (folder / "browser.log").read_text()[-2000:]
        finally:
            process.terminate()
            server.shutdown()
            server.server_close()
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A static site: the script, and the models as the book's build makes them."""
    site = tmp_path_factory.mktemp("site")
    (site / "_static" / "explorers").mkdir(parents=True)
    shutil.copy(SCRIPT, site / "_static")
    for name in (*EXPLORERS.values(), PLAIN_LADDER):
        export_model(name, site / "_static" / "explorers" / f"{name}.safetensors")
    return site


@pytest.fixture(scope="module")
def browsed(site) -> dict:
    """What a browser found: see HARNESS."""
    browser = a_browser()
    still = '<img alt="still" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    elements = [f'<hebm-explorer kind="{k}" model="{m}">{still}</hebm-explorer>' for k, m in EXPLORERS.items()]
    codes = {kind: codes_for(load_pretrained(name)).tolist() for kind, name in EXPLORERS.items()}
    page = HARNESS.replace("ELEMENTS", "\n".join(elements)).replace("CODES", json.dumps(codes))
    if axe_script():
        shutil.copy(axe_script(), site / "axe.min.js")
        page = page.replace("</head>", '<script src="axe.min.js"></script></head>')
    (site / "index.html").write_text(page, encoding="utf-8")

    return told_by_a_browser(browser, site, lambda server: f"{server}/index.html")


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_page_loads_less_than_four_megabytes(site):
    sizes = {path.name: path.stat().st_size for path in (site / "_static" / "explorers").glob("*.safetensors")}
    assert len(sizes) == 3 and max(sizes.values()) <= MOST_BYTES and SCRIPT.stat().st_size < 40_000


def test_ladders_that_the_script_does_not_know_are_told(tmp_path):
    config = GeneratorConfig(factors=(2,), widths=(6,), entries=("map",), top_hidden=(8,), base_width=8, join="concat")
    with pytest.raises(ValueError, match="by addition or gain"):
        generator_steps(LadderGenerator(LatentSpec((2, 3)), 8, 1, config))
    with pytest.raises(ValueError, match="no energy"):
        export_model("mnist-vlae", tmp_path / "never-written.safetensors")


def test_a_notebook_shows_the_same_component_without_a_path():
    frame = show("langevin")._repr_html_()
    assert "srcdoc=" in frame and html.escape("customElements.define") in frame and "http:" not in frame
    with pytest.raises(ValueError, match="no explorer"):
        show("levles")


@pytest.mark.parametrize("name", [*EXPLORERS.values(), PLAIN_LADDER])
def test_the_scripts_numbers_are_torchs(name, site, tmp_path):
    """Images, f and its gradient, under node."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    model = load_pretrained(name)
    z = codes_for(model).requires_grad_()
    f = model.prior(z)
    shutil.copy(SCRIPT, tmp_path / "explorers.mjs")
    path = json.dumps(str(site / "_static" / "explorers" / f"{name}.safetensors"))
    (tmp_path / "run.mjs").write_text(f"""
import "./explorers.mjs";
import {{ readFileSync }} from "node:fs";
const {{ readModel, decode, energy }} = globalThis.hebmExplorers;
const bytes = readFileSync({path});
const model = readModel(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const found = {json.dumps(z.tolist())}.map((z) => {{
  const {{ value, gradient }} = energy(model, Float32Array.from(z));
  return [[...decode(model, Float32Array.from(z))], value, [...gradient]];
}});
console.log(JSON.stringify(found));
""")
    done = subprocess.run(["node", tmp_path / "run.mjs"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    images, values, gradients = map(torch.tensor, zip(*json.loads(done.stdout)))
    torch.testing.assert_close(images, model.decode(z).detach().flatten(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(values, f.detach(), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(gradients, torch.autograd.grad(f.sum(), z)[0], atol=1e-3, rtol=1e-3)


def test_the_still_picture_shows_a_landscape_and_digits(tmp_path):
    draw_still(EXPLORERS["langevin"], tmp_path / "still.png")
    picture = plt.imread(tmp_path / "still.png")
    assert picture.shape[:2] == (420, 420) and picture[..., 0].std() > 0.05 and picture[..., :3].min() < 0.05


def test_pages_name_models_that_the_build_writes():
    pages = [ROOT / "book" / "intro.md", *(ROOT / "notebooks").glob("*.ipynb")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages).replace('\\"', '"')
    used = set(re.findall(r'<hebm-explorer kind="(\w+)" model="([\w-]+)">', text))
    assert used == set(EXPLORERS.items())


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXPLORERS)
def test_an_explorer_loads_moves_and_changes_its_picture(kind, browsed):
    seen = browsed["kinds"][kind]
    assert seen["ready"] == "ready", seen.get("why")
    assert seen["still"] and seen["moved"] and seen["switched"] and seen["status"]


@pytest.mark.parametrize("kind", EXPLORERS)
def test_the_browsers_decoder_is_torchs(kind, browsed):
    model = load_pretrained(EXPLORERS[kind])
    z = codes_for(model)
    with torch.no_grad():
        images, f = model.decode(z).flatten(1), model.prior(z)
    torch.testing.assert_close(torch.tensor(browsed["decoded"][kind]), images, atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.tensor(browsed["energies"][kind]), f, atol=1e-3, rtol=1e-4)


def test_no_request_leaves_the_server_and_nothing_goes_wrong(browsed):
    assert len(browsed["requests"]) >= 3
    away = [name for name in browsed["requests"] if not name.startswith((browsed["origin"], "data:"))]
    assert not away and browsed["errors"] == []


def test_an_explorer_runs_in_a_book_that_is_opened_from_a_disk(site, tmp_path):
    """jupyter-book tells who has built the book to open it by a file's address; no page may fetch or import from there."""
    shutil.copytree(site / "_static", tmp_path / "_static")
    name = EXPLORERS["langevin"]
    write_script(tmp_path / "_static" / "explorers" / f"{name}.safetensors")
    (tmp_path / "_static" / "explorers" / f"{name}.safetensors").unlink()
    page = tmp_path / "index.html"

    def written(server: str) -> str:
        page.write_text(
            f"""<!doctype html><script src="_static/explorers.js"></script>
<hebm-explorer kind="langevin" model="{name}"></hebm-explorer>
<script>
const element = document.querySelector("hebm-explorer");
new MutationObserver(() => {{
  const message = {{ method: "POST", mode: "no-cors", body: JSON.stringify(element.dataset) }};
  if (element.dataset.state) fetch("{server}/found", message);
}}).observe(element, {{ attributes: true }});
</script>""",
            encoding="utf-8",
        )
        return page.as_uri()

    found = told_by_a_browser(a_browser(), tmp_path, written)
    assert found["state"] == "ready", found


def test_keyboard_and_dark_mode(browsed):
    assert browsed["kinds"]["levels"]["focus"] and browsed["dark"]


def test_axe_finds_nothing(browsed):
    if "axe" not in browsed:
        pytest.skip("axe-core is not installed: npm install axe-core, or name axe.min.js in HEBM_AXE")
    assert browsed["axe"] == []
