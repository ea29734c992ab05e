"""Puts the models of the explorers, and a still picture, beside the built book: `_static/explorers/`."""

from pathlib import Path


def write_models(app, exception):
    """Write each explorer's model into a built HTML book."""
    if exception is None and app.builder.format == "html":
        from hebm_lib.reproduction.explorers import EXPLORERS, draw_still, export_model, write_script

        folder = Path(app.outdir) / "_static" / "explorers"
        for name in sorted(set(EXPLORERS.values())):
            export_model(name, folder / f"{name}.safetensors")
            write_script(folder / f"{name}.safetensors")
        draw_still(EXPLORERS["langevin"], folder / "langevin.png")


def setup(app):
    app.connect("build-finished", write_models)
    return {"parallel_read_safe": True}
