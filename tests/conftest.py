"""How the tests are run. What they share is in shared.py, which takes seconds to import."""

import os
import sys

# Before torch is imported, here and in every process that a test or a page starts: two threads that wait for each other on
# small tensors take twice the time of one, and `make test` has a process for each core.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or "1"

# Where no driver lies, that is said at once: torch looks for one at every step of an optimiser.
if sys.platform == "linux" and not os.path.exists("/dev/nvidiactl"):
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def pytest_configure(config):
    """Fixtures and forked kernels, but not for xdist's first process: it hands tests out, and the others wait for it."""
    hands_out = getattr(config.option, "numprocesses", None) and not config.option.collectonly
    if hands_out and not hasattr(config, "workerinput"):
        return
    import matplotlib

    matplotlib.use("Agg")  # figures are looked at as arrays
    config.pluginmanager.import_plugin("shared")
    if getattr(config.option, "nbval", False):
        from forked_kernels import install  # here: processes that only want a config do without Jupyter

        install()


def pytest_collection_modifyitems(config, items):
    """Nightly tests take minutes each: they are left out unless ``-m`` names them."""
    if "nightly" not in config.option.markexpr:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        items[:] = [item for item in items if item not in nightly]
        config.hook.pytest_deselected(items=nightly)
