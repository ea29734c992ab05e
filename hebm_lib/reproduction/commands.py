"""What the command line does for the book; every number that changes is on the scoreboard afterwards."""

from pathlib import Path

from hebm_lib.reproduction import publishing
from hebm_lib.reproduction.bench import bench
from hebm_lib.reproduction.claims import write_scoreboard
from hebm_lib.reproduction.runs import reproduce_runs
from hebm_lib.reproduction.studies import run_studies

__all__ = [
    "add_worth",
    "bench",
    "publish",
    "publish_classifiers",
    "run_experiments",
    "run_studies",
    "write_scoreboard",
]


def publish_classifiers() -> None:
    """Train and publish the classifiers that read digits."""
    publishing.publish_classifiers()
    write_scoreboard()


def publish(run_dir: Path, *, weights: bool) -> None:
    """Put a run's numbers into the book, and its weights where they are asked for."""
    path = publishing.publish_run(run_dir, weights=weights)
    write_scoreboard()
    print(f"published {path.stem}; the scoreboard is filled again")


def add_worth(names: list[str], *, again: bool) -> None:
    """Measure what the energies of published runs are worth."""
    publishing.add_worth(names, again=again)
    write_scoreboard()


def run_experiments(runs: Path) -> None:
    """Train, publish and measure whatever is missing; ``runs`` is the folder of runs."""
    reproduce_runs(runs)
    run_studies([])
    write_scoreboard()
