"""The command line: ``python -m hebm_lib COMMAND``, with the commands that ``--help`` lists.

Exit codes: 0 done; 2 the request was wrong (unknown name, bad setting, missing data), or the disk is full; 3 training
diverged; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import torch
import tyro

from hebm_lib import checkpoint
from hebm_lib.config import ExperimentConfig, TrainingConfig
from hebm_lib.data import Packed, available_datasets, fetch, load_split, pack_folder
from hebm_lib.experiments import EXPERIMENTS, load_experiment
from hebm_lib.model import build_model
from hebm_lib.reproduction.results import result_names, results_folder
from hebm_lib.training import DivergenceError, Trainer, TrainingInterrupted

RUNS = Path("runs")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hebm_lib", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name every experiment, published run and data set")
    train = commands.add_parser("train", help="train an experiment into runs/NAME", add_help=False)
    train.add_argument("--run-dir", type=Path, help="another folder for the run")
    train.add_argument("--overwrite", action="store_true", help="take the place of an earlier run in that folder")
    train.add_argument(
        "--set", action="store_true", help="the rest are settings: --training.epochs 3 or training.epochs=3"
    )
    for name, help_text in (
        ("resume", "go on with an interrupted run"),
        ("evaluate", "measure a run and draw its figures into its folder"),
        ("publish", "put a finished run's weights and numbers into the book"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("run", type=Path, help="a run's folder, or a name under runs/")
        if name == "evaluate":
            command.add_argument("--device", help="cpu, cuda, cuda:1 … (default: a GPU where there is one)")
        if name == "resume":
            command.add_argument(
                "--allow-changes", action="store_true", help="go on although other settings changed than the epochs"
            )
    command.add_argument("--numbers-only", action="store_true", help="keep the weights to yourself (further seeds)")
    commands.add_parser("fetch", help="download a data set").add_argument("name")
    add_pack_command(commands)
    commands.add_parser("classifiers", help="train and publish the digit classifiers that the class-change rates use")
    commands.add_parser("scoreboard", help="fill the tables of book/scoreboard.md and the README from book/results")
    worth = commands.add_parser("worth", help="add log Z, the tighter bound and the chains' health to published runs")
    worth.add_argument("names", nargs="*", metavar="NAME", help="which; all that have weights if none is named")
    worth.add_argument("--again", action="store_true", help="measure those that have it, too")
    commands.add_parser("experiments", help="train, publish and measure whatever of the book is not published yet")
    study = commands.add_parser("study", help="measure what pages read, where it is not stored yet (some train: hours)")
    study.add_argument("names", nargs="*", metavar="NAME", help="which studies; all if none is named")
    study.add_argument("--again", action="store_true", help="measure what is stored, too")
    study.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed"),
        default="32-true",
        help="of trainings; bf16-mixed takes less time on a CPU with AMX",
    )
    bench = commands.add_parser("bench", help="time prior sampling and training steps, ours beside others', here")
    bench.add_argument("--quick", action="store_true", help="seconds instead of minutes; nothing is stored")
    bench.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    bench.add_argument("--threads", type=int, default=1, help="CPU threads of all contenders (default: 1)")
    bench.add_argument("--only", choices=("family",), help="time one training step of every model of MNIST instead")
    bench.add_argument("--draw", action="store_true", help="only write the page and figures from what is stored")
    return parser


def add_pack_command(commands) -> None:
    pack = commands.add_parser("pack", help="make a data set of a folder of PNG, JPEG and WebP images")
    pack.add_argument("folder", type=Path, help="images, or one folder of them per class; or both in train/ and test/")
    pack.add_argument("name", help="what the data set shall be called")
    pack.add_argument("--out", type=Path, help="the folder of data sets (default: the one that HEBM_DATA names)")
    pack.add_argument("--size", type=int, help="side of the square images in pixels (default: as they are)")
    pack.add_argument(
        "--fit", choices=("resize", "pad"), default="resize", help="scale the centred square, or put black around"
    )
    pack.add_argument(
        "--crop", type=int, default=0, help="cut out the centred square of this side first (default: the largest)"
    )
    pack.add_argument("--channels", type=int, choices=(1, 3), help="grey or colour (default: grey if all images are)")
    pack.add_argument("--test-share", type=float, default=0.1, help="kept for testing, of each class (default: 0.1)")
    pack.add_argument("--seed", type=int, default=0, help="of the choice of test images")
    pack.add_argument("--overwrite", action="store_true", help="replace a data set of that name")


def list_all() -> None:
    published, wide = set(checkpoint.pretrained_names()), max(map(len, EXPERIMENTS))
    print("experiments (train NAME; NAME@2 is the same with seed 2):")
    for name, config in EXPERIMENTS.items():
        print(f"  {name:<{wide}} {'published' if name in published else '':<10} {config.description}")
    try:
        print("results:", ", ".join(result_names()) or "none")
    except FileNotFoundError:  # an installed wheel: the book's numbers stay with the book
        print("results: in a clone of the book only")
    print("data sets:", ", ".join(available_datasets()))


def experiment_and_settings(rest: list[str]) -> tuple[str, list[str]]:
    """The experiment's name and the settings in what follows ``train``, in either order.

    A setting before the name takes one value: the ``3`` of ``--training.epochs 3 digits`` is no name.
    """
    free = [i for i, word in enumerate(rest) if not word.startswith("-") and "=" not in word]
    taken = {i for i in free if i and rest[i - 1].startswith("--") and "=" not in rest[i - 1]}
    names = [i for i in free if i not in taken]
    if rest and not rest[0].startswith("-") and "=" not in rest[0]:
        at = 0
    elif len(names) == 1:
        at = names[0]
    elif not rest:
        raise ValueError(f"train what? There are {', '.join(EXPERIMENTS)}")
    else:
        raise ValueError("train what? Name the experiment first: python -m hebm_lib train digits --training.epochs 3")
    return rest[at], rest[:at] + rest[at + 1 :]


def with_settings(config: ExperimentConfig, settings: list[str], command: str) -> ExperimentConfig:
    """A config with settings of the command line: ``--training.epochs 3`` or ``training.epochs=3``."""
    # tyro knows every setting's name and type.
    flags = [f"--{item}" if "=" in item and not item.startswith("-") else item for item in settings]
    program = f"python -m hebm_lib {command}"
    return tyro.cli(ExperimentConfig, default=config, args=flags, prog=program, use_underscores=True)


def in_asked_epochs(config: ExperimentConfig, settings: list[str]) -> ExperimentConfig:
    """A config in the epochs that the settings ask for, its phases scaled (`TrainingConfig.in_epochs`).

    Settings of the phases themselves come later and win.
    """
    asked = re.search(r"(?:^|\s)(?:--)?training\.epochs[=\s](\d+)(?:\s|$)", " ".join(settings))
    return replace(config, training=config.training.in_epochs(int(asked[1]))) if asked else config


def train(arguments: argparse.Namespace, rest: list[str]) -> None:
    name, settings = experiment_and_settings(rest)
    config = with_settings(in_asked_epochs(load_experiment(name), settings), settings, f"train {name}")
    run_dir = arguments.run_dir or RUNS / config.name
    # Whatever can be wrong with the request shows before an earlier run is touched.
    data = load_split(config.data, "train")
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, run_dir)
    replacing = arguments.overwrite and trainer.fabric.is_global_zero
    with checkpoint.set_aside(run_dir) if replacing else contextlib.nullcontext() as old:
        trainer.fit(data)
    say_where_next(trainer, run_dir)
    if old is not None and old.exists():
        print(f"{old} holds files that no run wrote: they were kept")


def resume(run_dir: Path, settings: list[str], allow_changes: bool) -> None:
    stored = checkpoint.read_config(run_dir)
    config = with_settings(stored, settings, f"resume {run_dir}") if settings else stored
    data = load_split(config.data, "train")
    trainer = Trainer(build_model(config.model), config).resume(run_dir, allow_changes=allow_changes).fit(data)
    say_where_next(trainer, run_dir)


def say_where_next(trainer: Trainer, run_dir: Path) -> None:
    if trainer.fabric.is_global_zero:
        print(f"trained {trainer.record.name}: {trainer.step} steps, {trainer.seconds:.0f} s, in {run_dir}")
        print(f"next: python -m hebm_lib evaluate {run_dir}")


def evaluate(run_dir: Path, device: str | None) -> None:
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"--device {device}: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here: evaluate with --device cpu")
    config = checkpoint.read_config(run_dir)
    history = checkpoint.load_state(checkpoint.latest_checkpoint(run_dir))["history"]
    from hebm_lib.evaluation import evaluate_run, metrics_table  # with matplotlib, which training does without

    metrics = evaluate_run(checkpoint.load_run(run_dir, device), config, history, run_dir)
    print(metrics_table(metrics, config))
    print(f"figures and tables are in {run_dir}: look at hierarchy_level_1.png (bottom) and the levels above it first;")
    print("then `make lab` opens the pages that say what they mean.")


def pack(options: argparse.Namespace) -> None:
    root = options.out or os.environ.get("HEBM_DATA")
    if not root:
        raise ValueError("where to? Set the variable HEBM_DATA to a folder for data sets, or name one with --out")
    choices = {name: getattr(options, name) for name in ("size", "fit", "crop", "channels", "test_share", "seed")}
    packed = pack_folder(options.folder, options.name, Path(root).expanduser(), **choices, overwrite=options.overwrite)
    print(packed)
    print("next, where data.size is model.image_size, a multiple of 4, and both have as many channels:")
    print(f"  {how_to_train(packed, options.name, options.out)}")


def how_to_train(packed: Packed, name: str, out: Path | None) -> str:
    """The command that trains on a pack, with all settings that must fit it."""
    size = -(-packed.size // 4) * 4  # the next multiple of 4: a border of black
    settings = [f"--name {name}", f"--data.name {name}", f"--data.size {size}", f"--model.image_size {size}"]
    if packed.channels == 3:
        settings += ["--data.channels 3", "--model.image_channels 3"]
    batch = TrainingConfig().batch_size
    if len(packed.train) < batch:
        settings.append(f"--training.batch_size {len(packed.train)}")
    return f"{f'HEBM_DATA={out} ' if out else ''}python -m hebm_lib train digits {' '.join(settings)}"


def into_the_book(options: argparse.Namespace, run: Path | None) -> None:
    """What is done for the book, by libraries that nobody else waits for."""
    if not getattr(options, "quick", False):
        results_folder()  # hours of work must not end in "there is no book here"
    from hebm_lib.reproduction import commands

    {
        "publish": lambda: commands.publish(run, weights=not options.numbers_only),
        "classifiers": commands.publish_classifiers,
        "scoreboard": commands.write_scoreboard,
        "worth": lambda: commands.add_worth(options.names, again=options.again),
        "experiments": lambda: commands.run_experiments(RUNS),
        "study": lambda: commands.run_studies(options.names, again=options.again, precision=options.precision),
        "bench": lambda: commands.bench(
            quick=options.quick, device=options.device, threads=options.threads, draw=options.draw, only=options.only
        ),
    }[options.command]()


def say_what_the_console_can() -> None:
    """Print a question mark for a letter that the console does not have (σ on Windows' cp1252) instead of dying of it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def complain(error: BaseException) -> None:
    print("\n".join([f"error: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    say_what_the_console_can()
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in ("train", "resume"):
        parser.error(f"unknown: {' '.join(rest)}")
    if options.command == "train" and rest and not set(rest) - {"-h", "--help"}:
        print("usage: python -m hebm_lib train NAME [--run-dir DIR] [--overwrite] [--set SETTINGS]")
        print("       python -m hebm_lib train NAME --help   lists every setting of that experiment")
        return 0
    run = getattr(options, "run", None)
    if run is not None and not (run / "config.json").exists() and (RUNS / run).exists():  # a folder of images, say
        run = RUNS / run
    actions = {
        "list": list_all,
        "train": lambda: train(options, rest),
        "resume": lambda: resume(run, rest, options.allow_changes),
        "evaluate": lambda: evaluate(run, options.device),
        "fetch": lambda: fetch(options.name),
        "pack": lambda: pack(options),
    }
    try:
        if options.command in actions:
            actions[options.command]()
        else:
            into_the_book(options, run)
        sys.stdout.flush()
    except DivergenceError as error:
        complain(error)
        return 3
    except BrokenPipeError:  # who reads the output, `head` for one, has seen enough; nothing is to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        complain(error)
        return 2
    except TrainingInterrupted as stop:
        complain(stop)
        return 128 + stop.signum
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
