"""The bench's results as tables: on the terminal, and between the markers of ``book/speed.md``."""

import json
from collections.abc import Callable
from functools import partial

from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.bench.draw import draw_all
from hebm_lib.reproduction.pages import fill_page
from hebm_lib.reproduction.results import results_folder
from hebm_lib.reproduction.tables import table

__all__ = ["PAGE", "fillers", "load_benches", "printed", "write_page"]

CPU = "bench-cpu"


def load_benches() -> dict[str, dict]:
    """Stored results by name, the CPU's first; without those of the family, which another page shows."""
    paths = [path for path in results_folder().glob("bench-*.json") if not path.stem.startswith("bench-family-")]
    paths.sort(key=lambda p: (p.stem != CPU, p.stem))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def milliseconds(seconds: float) -> str:
    """Three significant digits: ``0.214``, ``3.21``, ``53.1``, ``1,230``, ``-118``."""
    value = float(f"{1e3 * seconds:.3g}")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def default_seconds(entry: dict) -> float:
    """Our own chain, as it runs when nobody asks for a backend."""
    return entry["rows"][entry["default"]]["seconds"]


def machine_line(result: dict) -> str:
    """What it was measured on, as a sentence."""
    m, origin = result["machine"], result["provenance"]
    libraries = ", ".join(f"{k} {v}" for k, v in ({"torch": origin["versions"]["torch"]} | m["versions"]).items() if v)
    name = m["processor"] if m["device"] == "cpu" else m["device"]
    changed = ", with changes" if origin["uncommitted_changes"] else ""
    commit = (origin["commit"] or "unknown")[:10]
    return (
        f"Measured on {name}, {m['threads']} thread(s) of {m['cores']} core(s), {m['vectors']}, {m['system']}; "
        f"{libraries}; commit {commit}{changed}."
    )


def sampling_table(result: dict) -> str:
    """Milliseconds per chain: contenders down, settings and batches across; in bold what `sample` takes by itself."""
    entries = result["sampling"]
    header = ["ms per chain", *(f"{e['setting']}; batch {e['batch']:,}" for e in entries)]
    rows, absent = [], []
    for name, first in entries[0]["rows"].items():
        if "absent" in first:
            absent.append(f"{name} ({first['absent']})")
            continue
        cells = [milliseconds(entry["rows"][name]["seconds"]) for entry in entries]
        own = [name == entry["default"] for entry in entries]
        rows.append([name, *(f"**{cell}**" if ours else cell for cell, ours in zip(cells, own, strict=True))])
    references = [milliseconds(entry["flops"] / result["matmul_flops_per_second"]) for entry in entries]
    rows.append(["reference: products at the best rate of torch's", *references])
    note = f"\n\nNot here: {'; '.join(absent)}." if absent else ""
    return table(header, rows) + note


def speedup_table(result: dict) -> str:
    """How many times as long the others take as our default."""
    header = ["prior and chain", "batch", "authors' loop / ours", "TorchEBM / ours", "ours / reference"]
    rows = []
    for entry in result["sampling"]:
        own, others = default_seconds(entry), [entry["rows"][name] for name in ("authors' loop", "TorchEBM")]
        ratios = ["" if "absent" in row else f"{row['seconds'] / own:.1f}" for row in others]
        reference = entry["flops"] / result["matmul_flops_per_second"]
        rows.append([entry["setting"], f"{entry['batch']:,}", *ratios, f"{own / reference:.2f}"])
    return table(header, rows)


def gap_table(result: dict) -> str:
    """What our default's time is made of, beside the reference. Each part is timed alone, so the rest can be negative."""
    header = ["prior and chain", "batch", "ours, ms", "reference", "noise", "weights", "rest", "products by torch"]
    rows = []
    for entry in result["sampling"]:
        own, parts = default_seconds(entry), entry["parts"]
        reference = entry["flops"] / result["matmul_flops_per_second"]
        rest = own - reference - parts["noise"] - parts["weights"]
        numbers = [own, reference, parts["noise"], parts["weights"], rest]
        rows.append(
            [
                entry["setting"],
                f"{entry['batch']:,}",
                *map(milliseconds, numbers),
                milliseconds(parts["products by torch"]),
            ]
        )
    return table(header, rows)


def steps_table(result: dict) -> str:
    """Whole training steps: milliseconds, images per second, the share of Langevin."""
    header = [
        "experiment, batch",
        "authors' way, ms",
        "ours, ms",
        "times as fast",
        "images per second, theirs and ours",
        "Langevin's share, theirs and ours",
        "ours in bf16-mixed, ms",
    ]
    rows = []
    for entry in result["steps"]:
        theirs, ours, half = (entry["rows"][k] for k in ("authors' way", "ours", "ours, bf16-mixed"))
        share = {k: entry["langevin"][k]["seconds"] / entry["rows"][k]["seconds"] for k in entry["langevin"]}
        rows.append(
            [
                f"{entry['experiment']}, {entry['batch']}",
                milliseconds(theirs["seconds"]),
                milliseconds(ours["seconds"]),
                f"{theirs['seconds'] / ours['seconds']:.2f}",
                f"{theirs['images_per_second']:,.0f}, {ours['images_per_second']:,.0f}",
                ", ".join(f"{value:.0%}" for value in share.values()),
                milliseconds(half["seconds"]),
            ]
        )
    return table(header, rows)


def profile_table(result: dict) -> str:
    """Where our step's time goes, by kind of work."""
    kinds = list(result["steps"][0]["profile"])
    rows = [[entry["experiment"], *(f"{entry['profile'][kind]:.0%}" for kind in kinds)] for entry in result["steps"]]
    return table(["our step, share of", *kinds], rows)


def scaling_table(result: dict) -> str:
    """Exponents of the fits of time against one size."""
    names = list(next(iter(result["scaling"].values()))["exponents"])
    rows = []
    for axis, found in result["scaling"].items():
        exponents = [f"{found['exponents'][name]:.2f}" if name in found["exponents"] else "" for name in names]
        rows.append([axis, f"{found['x'][0]:,} to {found['x'][-1]:,}", *exponents])
    return table(["time against", "from, to", *(f"exponent, {name}" for name in names)], rows)


def gpu_tables(benches: dict[str, dict]) -> str:
    """The same tables for every GPU that ran the bench; with none, empty rows."""
    stored = [result for name, result in benches.items() if name != CPU]
    if stored:
        parts = [(machine_line(r), sampling_table(r), speedup_table(r), steps_table(r)) for r in stored]
        return "\n\n".join(part for result in parts for part in result)
    names = ["authors' loop", "TorchEBM", "ours, closed-form", "ours, cuda-graph", "ours, triton"]
    entries = benches[CPU]["sampling"] if CPU in benches else []
    header = ["ms per chain", *(f"{e['setting']}; batch {e['batch']:,}" for e in entries)]
    return table(header, [[name, *[""] * len(entries)] for name in names])


def of_cpu(make: Callable[[dict], str]) -> Callable[[dict[str, dict]], str]:
    """What shows one table of the CPU's result."""
    return lambda benches: make(benches[CPU]) if CPU in benches else "Not measured yet: `make bench`."


BLOCKS = {
    "machine": of_cpu(machine_line),
    "speedup": of_cpu(speedup_table),
    "sampling": of_cpu(sampling_table),
    "gap": of_cpu(gap_table),
    "steps": of_cpu(steps_table),
    "profile": of_cpu(profile_table),
    "scaling": of_cpu(scaling_table),
    "gpu": gpu_tables,
}
"""What the results are made into, by the names of the page's markers."""

PAGE = ROOT / "book" / "speed.md"
"""Where those markers stand."""


def fillers(benches: dict[str, dict]) -> dict[str, Callable[[], str]]:
    """What fills the page's markers; see `hebm_lib.reproduction.pages`."""
    return {name: partial(make, benches) for name, make in BLOCKS.items()}


def write_page() -> None:
    """Fill the tables of ``book/speed.md`` and draw its figures from ``book/results/bench-*.json``."""
    benches = load_benches()
    fill_page(PAGE, fillers(benches))
    draw_all(benches, ROOT / "book" / "images")


def printed(result: dict) -> str:
    """All tables of one result, for the terminal."""
    makers = (machine_line, sampling_table, speedup_table, gap_table, steps_table, profile_table, scaling_table)
    return "\n\n".join(make(result) for make in makers)
