"""Run the book's pages again and store their outputs.

    python tools/execute_pages.py                        every page of notebooks/
    python tools/execute_pages.py 04-joint-ebm-prior     one page (with or without .ipynb)

A page is written only after all of its cells ran. Cells tagged ``skip-execution`` keep the outputs that they have.
Each page gets the cell that installs the library on Colab. Widget state is stored. What would change from run to run
without meaning anything is normalised: timestamps, kernel and language versions,
widget ids. The exit status is 1 if any page failed.
"""

import argparse
import base64
import difflib
import io
import json
import math
import os
import re
import sys
import time
from pathlib import Path
from queue import Empty

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


COLAB = """# On Colab, install the book's library first (elsewhere this cell does nothing).
import sys

if "google.colab" in sys.modules:
    !git clone -q --depth 1 {url} hebm-book && cd hebm-book && pip install -q -r requirements.txt
    sys.path.insert(0, "hebm-book")"""


class PageError(Exception):
    """A page did not run, or left something that must not be stored."""


def prepare_environment() -> None:
    """What kernels inherit: stable hashes and repeatable CUDA kernels; a HEBM_DATA that holds in notebooks/ too."""
    os.environ.setdefault("PYTHONHASHSEED", "0")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if os.environ.get("HEBM_DATA"):
        os.environ["HEBM_DATA"] = str(Path(os.environ["HEBM_DATA"]).expanduser().resolve())


def choose(names: list[str]) -> list[Path]:
    """The pages called ``names``, or all of them; raises `PageError` for a name that is no page."""
    pages = {page.stem: page for page in sorted(NOTEBOOKS.glob("*.ipynb"))}
    if not names:
        return list(pages.values())
    chosen = []
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        if stem not in pages:
            near = difflib.get_close_matches(stem, pages, n=3, cutoff=0.3)
            raise PageError(f"there is no page {stem!r}; did you mean one of {', '.join(near or pages)}?")
        chosen.append(pages[stem])
    return chosen


def describe(page, number: int, text: str) -> str:
    source = "\n".join(f"    {line}" for line in page.cells[number].source.splitlines())
    return f"cell {number} (the first cell is 0):\n{source}\n{ANSI.sub('', text).rstrip()}"


class PageClient(NotebookClient):
    """Runs pages with widgets.

    What nbclient sends to the kernel on a widget's behalf can swallow the notice that a reply has come in; waited for in
    one go, the reply would then be seen at the timeout only (jupyter_client, pull request 1059).
    """

    async def async_start_new_kernel_client(self):
        client = await super().async_start_new_kernel_client()
        client.shell_channel.get_msg = asking_again(client.shell_channel.get_msg)
        return client


def asking_again(get_msg, seconds: float = 0.5):
    """``get_msg(timeout=None)`` in turns of so many seconds: each looks into the socket first. Raises `Empty` at the end."""

    async def get(timeout: float | None = None):
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            turn = min(seconds, max(0.0, end - time.monotonic()))
            try:
                return await get_msg(timeout=turn)
            except Empty:
                if time.monotonic() >= end:
                    raise

    return get


def execute(page, timeout: int) -> None:
    """Run ``page`` in place; raises `PageError` that shows the cell and its error."""
    current = {"cell": 0}
    client = PageClient(
        page,
        kernel_name="python3",
        timeout=timeout,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        skip_cells_with_tag="skip-execution",
        store_widget_state=True,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=lambda cell, cell_index: current.update(cell=cell_index),
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise PageError(describe(page, current["cell"], str(error))) from None


def check(page) -> None:
    """Raise `PageError` where a cell that ran has something on stderr: a reader would see a warning."""
    for number, cell in enumerate(page.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise PageError(describe(page, number, "wrote to stderr:\n" + output.text))


def normalise(page):
    """``page`` without what changes from run to run and means nothing."""
    page.metadata.kernelspec = KERNELSPEC
    page.metadata.language_info = LANGUAGE
    for name in ("papermill", "execution", "signature", "vscode"):
        page.metadata.pop(name, None)
    for cell in page.cells:
        for name in ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled"):
            cell.metadata.pop(name, None)
    return number_widgets(page)


def number_widgets(page):
    """Replace random widget ids by numbers, in the order in which cells, then other widgets, mention them."""
    state = page.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    if not state:
        page.metadata.pop("widgets", None)
        return page
    # Models that no page shows any more (left by an earlier run) would pile up: keep what the cells reach.
    cells = json.dumps([cell.get("outputs", []) for cell in page.cells])
    order, queue = [], sorted((id_ for id_ in state if id_ in cells), key=cells.index)
    while queue:
        id_ = queue.pop(0)
        if id_ in order:
            continue
        order.append(id_)
        text = json.dumps(state[id_])
        queue += sorted((other for other in state if other in text and other not in order), key=text.index)
    page.metadata.widgets[WIDGET_STATE].state = {id_: state[id_] for id_ in order}
    text = nbformat.writes(page)
    for number, id_ in enumerate(order):
        text = text.replace(id_, f"{number:032x}")
    return nbformat.reads(text, as_version=4)


def place_colab_cell(page) -> None:
    """Put the install cell for Colab below the title, with the repository's address from _config.yml."""
    config = yaml.safe_load((NOTEBOOKS.parent / "_config.yml").read_text())
    source = COLAB.format(url=config["repository"]["url"])
    page.cells = [cell for cell in page.cells if cell.get("id") != "colab"]
    cell = nbformat.v4.new_code_cell(source, id="colab", metadata={"tags": ["remove-cell"]})
    page.cells.insert(1, cell)


LEAD = re.compile(r"(!\[[^\]]*\]\()data:image/png;base64,[^)]*\)")
"""The picture at the top of a page whose code comes first: Markdown with the picture inside."""


def lead_picture(page) -> str | None:
    """The figure of the cell with the metadata ``{"hebm": {"lead": true}}``, small and grey, as PNG in base 64."""
    for cell in page.cells:
        if cell.metadata.get("hebm", {}).get("lead"):
            found = next(output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
            image, small = Image.open(io.BytesIO(base64.b64decode(found))).convert("L"), io.BytesIO()
            image.save(small, "PNG", optimize=True)
            return base64.b64encode(small.getvalue()).decode()
    return None


def place_lead(page) -> None:
    """Put that figure, as it has just come out, into the page's first cell."""
    picture = lead_picture(page)
    if picture is not None:
        page.cells[0].source = LEAD.sub(rf"\1data:image/png;base64,{picture})", page.cells[0].source)


def run_page(path: Path, timeout: int) -> None:
    page = nbformat.read(path, as_version=4)
    page.metadata.pop("widgets", None)
    place_colab_cell(page)
    execute(page, timeout)
    check(page)
    place_lead(page)
    page = normalise(page)
    nbformat.validate(page)
    unfinished = path.with_name(f".{path.name}.unfinished")
    nbformat.write(page, unfinished)
    unfinished.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", help="pages to run; all if none is named")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds that one cell may take")
    options = parser.parse_args()
    prepare_environment()
    os.environ.pop("HEBM_FRAMES", None)  # stored explorers have all of their pictures
    try:
        pages = choose(options.pages)
    except PageError as error:
        print(error, file=sys.stderr)
        return 2
    failed = []
    for path in pages:
        started = time.perf_counter()
        try:
            run_page(path, options.timeout)
        except PageError as error:
            failed.append(path.stem)
            print(f"FAILED  {path.name}: {error}\n", file=sys.stderr, flush=True)
        else:
            print(f"ok      {path.name}  ({time.perf_counter() - started:.0f} s)", flush=True)
    if failed:
        print(f"{len(failed)} of {len(pages)} pages failed and stay as they were: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
