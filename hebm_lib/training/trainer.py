"""The loop that runs Algorithm 1 on one processor or many: batches, optimisers, logs, checkpoints.

The algorithm itself is `hebm_lib.algorithm.algorithm_1`; which networks learn when is `hebm_lib.training.phases`.
"""

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from hebm_lib import checkpoint
from hebm_lib.algorithm import Update, algorithm_1, parameter_groups
from hebm_lib.config import ExperimentConfig, TrainingConfig
from hebm_lib.data import ImageDataset
from hebm_lib.sampling.cpu_speed import kept_memory, tuned
from hebm_lib.training.batches import Batches, as_batches
from hebm_lib.training.needs import OwnAlgorithm, age_of, begin_run, chains_to_save, end_epoch, show_images, take_chains
from hebm_lib.training.phases import (
    Average,
    FixedCodes,
    Phase,
    alpha_alone,
    alpha_rate,
    chains_lag,
    epochs_before,
    fit_jumps,
    ladder_alone,
    phases_of,
)
from hebm_lib.training.processes import (
    TrainingInterrupted,
    asked_to_stop,
    chains_of_all,
    check_precision,
    make_fabric,
    put_on_device,
    same_weights_everywhere,
    take_own_chains,
)
from hebm_lib.training.record import RunRecord, how_to_go_on, last_good

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["DivergenceError", "Trainer"]


class DivergenceError(RuntimeError):
    """Training has left the region where its numbers mean anything; the last good checkpoint stays."""


class Trainer:
    """Trains a model.

    Args:
        model: a `JointEBM` of the library's parts or of one's own, or any model with methods ``parameter_groups()`` and
            ``algorithm(x, config, epoch, generator)`` of the same form as the functions of `hebm_lib.algorithm`.
        config: how to train; or a whole experiment, whose ``training`` part is used here while all of it is written into
            the run.
        run_dir: where config, metrics and checkpoints go; None trains in memory only.
        fabric: a Lightning Fabric that is launched already; None makes one for this machine (one GPU if there is one,
            all processes under ``fabric run``).
        progress: show a progress bar on the main process.

    Raises:
        ValueError: if ``kl_weights`` do not fit the model's levels, or the precision is not the fabric's.

    Under several processes all begin with the first one's weights.

    Attributes:
        history: what metrics.jsonl holds, a list of dicts.
        step, epoch: steps and whole epochs done so far.
        seconds: time spent training, over all resumes.

    Example:
        >>> import hebm_lib as hl
        >>> model = hl.build_model(hl.load_experiment("digits").model)
        >>> config = hl.TrainingConfig(epochs=1, batch_size=20, log_every=2)
        >>> trainer = Trainer(model, config, progress=False).fit(2 * torch.rand(80, 1, 8, 8) - 1)
        >>> trainer.step, [row["step"] for row in trainer.history]
        (4, [2, 4])
    """

    def __init__(
        self,
        model,
        config: TrainingConfig | ExperimentConfig,
        run_dir=None,
        *,
        fabric: "Fabric | None" = None,
        progress=True,
    ):
        self.config = config
        self.training = config if isinstance(config, TrainingConfig) else config.training
        self.record = RunRecord(model, config, run_dir)
        self.fabric = fabric or make_fabric(self.training.precision)
        check_precision(self.fabric, self.training.precision)
        self.model = put_on_device(model, self.fabric.device)
        same_weights_everywhere(self.model, self.fabric)
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.progress = progress and self.fabric.is_global_zero
        own = isinstance(model, OwnAlgorithm)
        self.algorithm = model.algorithm if own else lambda *a: algorithm_1(model, *a)
        e = self.training.energy
        if own and (e.ladder_epochs or e.fit_steps or e.end_steps):
            raise ValueError(
                f"{type(model).__name__} has an algorithm of its own: training.energy's ladder_epochs, fit_steps and "
                "end_steps are phases of Algorithm 1 and must be 0 for it"
            )
        groups = model.parameter_groups() if own else parameter_groups(model)
        # What somebody froze before stays as it is.
        self.groups = {name: [p for p in params if p.requires_grad] for name, params in groups.items()}
        self.groups = {name: params for name, params in self.groups.items() if params}
        self.optimisers = {name: self._optimiser(name, params) for name, params in self.groups.items()}
        # Noise differs between processes and is part of every checkpoint; the order of images is a function of the
        # seed and the epoch, the same everywhere.
        self.generator = torch.Generator(device=self.fabric.device)
        self.generator.manual_seed(self.training.seed * 1_000 + self.fabric.global_rank)
        self.step, self.epoch, self.seconds, self.history = 0, 0, 0.0, []
        self.average = self._new_average()
        self.begun: list[tuple[str, int]] = []  # name and first step of every phase so far
        self.window: dict[str, Tensor] = {}
        self.window_steps = 0
        self.asked: list[int] = []  # signals to stop that this process got
        self.votes = torch.zeros(1, device=self.fabric.device)  # above 0 once any process got one
        self.agreed = False  # all processes know, and know it at the same step

    def _optimiser(self, group: str, parameters) -> torch.optim.Optimizer:
        o = self.training.optimiser
        rate, decay = (o.lr_alpha, 0.0) if group == "alpha" else (o.lr_beta_phi, o.weight_decay)
        return torch.optim.Adam(parameters, lr=rate, betas=o.betas, weight_decay=decay, fused=True)

    def _new_average(self) -> Average | None:
        decay = self.training.energy.average
        return Average(self.groups["alpha"], decay) if decay and "alpha" in self.groups else None

    @torch.enable_grad()  # a caller who measures may have switched gradients off
    def fit(
        self, train: ImageDataset | Tensor | Dataset, *, on_epoch: Callable[["Trainer"], None] | None = None
    ) -> "Trainer":
        """Train until the config's ``epochs`` are done, from wherever this trainer stands.

        Args:
            train: the images: an `ImageDataset`; a tensor ``(n, …)`` of floats in [-1, 1] or of uint8; or a torch data set
                with items ``x``, ``(x,)`` or ``(x, y)``. Tensors and image sets are moved to the device as a whole, items
                of other data sets are read when their batch comes. Labels are not used.
            on_epoch: called after each epoch with the trainer, the model in evaluation mode.

        Raises:
            TypeError: if ``train`` is nothing of that.
            ValueError: if there are fewer images than one batch takes, values far outside [-1, 1], or images of several
                shapes.
            FileExistsError: if ``run_dir`` holds checkpoints and this trainer was not resumed from them, or if somebody
                else is training in it.
            checkpoint.WriteError: if the disk is full. The last good checkpoint stays.
            DivergenceError: if a logged term is not a number or the energy passes its bound.
            TrainingInterrupted: after Ctrl-C or SIGTERM: the step was finished and saved where the run has a folder.
                Several processes stop together, at the next line of the log.
        """
        train = as_batches(train, next((p.dtype for p in self.model.parameters()), torch.float32))
        stops = asked_to_stop(grace=0.0 if self.fabric.world_size == 1 else 2.0)
        try:
            with self._locked(), stops as self.asked:
                return self._fit(train, on_epoch)
        except TrainingInterrupted as stop:
            raise TrainingInterrupted(how_to_go_on(self.run_dir, self.step, stop.signum), stop.signum) from None

    def _fit(self, train: Batches, on_epoch) -> "Trainer":
        c, world = self.training, self.fabric.world_size
        per_epoch = len(train) // (c.batch_size * world)
        if per_epoch == 0:
            raise ValueError(f"{len(train)} images are fewer than one batch of {c.batch_size} on {world} process(es)")
        phases = phases_of(c, per_epoch)
        self._check_phases(phases)
        if self.run_dir is not None and self.fabric.is_global_zero:
            self.record.open(self.run_dir, train, self.step, self.history, device=self.fabric.device)
        train = train.to(self.fabric.device)
        begin_run(self.model, len(train), self.generator, processes=world)
        total = phases[-1].end if phases else 0
        bar = tqdm(total=total, initial=self.step, disable=not self.progress, desc=self.record.name, unit="step")
        self.clock = time.perf_counter()
        with bar, kept_memory() if self.fabric.device.type == "cpu" else contextlib.nullcontext():
            for phase in phases:
                if self.step < phase.end:
                    self._enter(phase)
                    (self._learn_alone if phase.alone else self._learn_from_images)(
                        phase, train, per_epoch, bar, on_epoch
                    )
        return self

    def _learn_from_images(self, phase: Phase, train: Batches, per_epoch: int, bar, on_epoch) -> None:
        """The epochs of a phase, from wherever this trainer stands in it."""
        before = epochs_before(phase, self.training)
        while self.step < phase.end:
            epoch, first = divmod(self.step - phase.start, per_epoch)
            epoch += before
            batches = self._order(len(train), epoch, per_epoch)
            self.model.train()
            for i in range(first, per_epoch):
                self._set_rates(phase, epoch)
                show_images(self.model, batches[i])
                self._one_step(train.batch(batches[i]), epoch + i / per_epoch)
                self._after_step(bar, last=self.step == phase.end, save=i + 1 < per_epoch)
            self.epoch = epoch + 1
            if self.step == phase.end:
                self._leave()
            with self._pause():
                self.model.eval()
                end_epoch(self.model, train, seed=self.training.seed)
                if on_epoch is not None:
                    on_epoch(self)
                self._save()
            self._stop_if_asked(saved=True)

    def _learn_alone(self, phase: Phase, train: Batches, per_epoch: int, bar, on_epoch) -> None:
        """The updates of α alone, on codes of the ladder that are inferred once: it stands still, and so do they."""
        codes = FixedCodes.of(self.model, train)
        if self.step == phase.start:
            fit_jumps(self.model.prior, codes, seed=self.training.seed)
        self.model.train()
        while self.step < phase.end:
            self._set_rates(phase, self.epoch)
            self._take(alpha_alone(self.model.prior, codes, phase, self.step, self.training, self.generator))
            self._after_step(bar, last=self.step == phase.end, save=self.step < phase.end)
        self._leave()
        with self._pause():
            self.model.eval()
            self._save()
        self._stop_if_asked(saved=True)

    def _enter(self, phase: Phase) -> None:
        """At a phase's first step α starts with a fresh optimiser and a fresh average; later nothing is to be done."""
        if self.step == phase.start and self.step > 0 and "alpha" in self.groups:
            self.optimisers["alpha"] = self._optimiser("alpha", self.groups["alpha"])
            self.average = self._new_average()
        if (phase.name, phase.start) not in self.begun:
            self.begun.append((phase.name, phase.start))

    def _leave(self) -> None:
        """A phase is over: the average, where there is one, takes the place of α's last weights."""
        if self.average is not None:
            self.average.take_over()

    def _check_phases(self, phases: list[Phase]) -> None:
        """A run that goes on must have had the phases that its config now asks for."""
        asked = [(phase.name, phase.start) for phase in phases if phase.start < self.step]
        if self.begun and asked != self.begun:
            raise ValueError(
                f"this run stands at step {self.step} after the phases {self.begun}, but its settings ask for {asked}: "
                "epochs can be added only where no phase follows them, and phases that are done cannot change"
            )

    @contextlib.contextmanager
    def _pause(self):
        """Measuring and saving are not training: the clock stands still."""
        start = time.perf_counter()
        yield
        self.clock += time.perf_counter() - start

    def _after_step(self, bar, *, last: bool, save: bool) -> None:
        """Progress, and where it is time a log line; with ``save`` also a checkpoint, and an end where it is asked for."""
        c = self.training
        bar.update()
        if self.step % c.log_every == 0 or last:
            self._log(time.perf_counter() - self.clock, bar)
            self.clock = time.perf_counter()
        if save:
            due = c.checkpoint_every and self.step % c.checkpoint_every == 0
            if due:
                self._save()
            self._stop_if_asked(saved=bool(due))

    def _one_step(self, x: Tensor, epoch: float) -> None:
        """All updates of the present phase's algorithm on one batch."""
        if self.begun and self.begun[-1][0] == "ladder":
            self._take(ladder_alone(self.model, x, self.training, epoch, self.generator))
        else:
            self._take(self.algorithm(x, self.training, epoch, self.generator))

    def _take(self, updates: Iterator[Update]) -> None:
        """One step of the run: the gradient steps that are asked for. Nothing here waits for the device."""
        log_norms = (self.step + 1) % self.training.log_every == 0
        # Tuned forms for this step alone: what a user calls between steps, and afterwards, is plain.
        with self.fabric.autocast(), tuned():
            for update in updates:
                parameters = self.groups.get(update.group)
                if parameters is None:  # all frozen
                    continue
                optimiser = self.optimisers[update.group]
                optimiser.zero_grad()
                # `inputs` keeps the gradient out of every parameter that this update does not own.
                self.fabric.backward(update.loss, inputs=parameters)
                self._average_gradients(parameters)
                if log_norms:
                    gradients = [p.grad for p in parameters if p.grad is not None]
                    self.window[f"grad_norm_{update.group}"] = torch.nn.utils.get_total_norm(gradients)
                optimiser.step()
                if update.group == "alpha" and self.average is not None:
                    self.average.update()
                for name, term in update.terms.items():
                    term = term.detach().float()
                    self.window[name] = self.window[name] + term if name in self.window else term
        self.step += 1
        self.window_steps += 1

    def _average_gradients(self, parameters) -> None:
        """Mean of the gradients over processes, in one message; whether one was asked to stop travels with it."""
        if self.fabric.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        vote = torch.full_like(self.votes, float(bool(self.asked)))
        flat = self.fabric.all_reduce(torch.cat([*(g.flatten() for g in gradients), vote]), reduce_op="mean")
        *means, votes = flat.split([*(g.numel() for g in gradients), 1])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        self.votes += votes

    def _order(self, n: int, epoch: int, per_epoch: int) -> Tensor:
        """Indices of this process's images in each batch of an epoch, ``(steps, batch)``."""
        shuffle = torch.Generator().manual_seed(self.training.seed * 1_000_003 + epoch)
        order = torch.randperm(n, generator=shuffle)[: per_epoch * self.training.batch_size * self.fabric.world_size]
        order = order.view(per_epoch, self.fabric.world_size, self.training.batch_size)[:, self.fabric.global_rank]
        return order.to(self.fabric.device)

    def _set_rates(self, phase: Phase, epoch: int) -> None:
        o = self.training.optimiser
        for name, optimiser in self.optimisers.items():
            age = age_of(self.model, name, epoch, self.training.epochs)
            alpha = name == "alpha"
            rate = alpha_rate(phase, self.step, self.training, age) if alpha else o.lr_beta_phi * o.lr_decay**age
            for group in optimiser.param_groups:
                group["lr"] = rate

    # ---- logs -------------------------------------------------------------------------------------------------------

    def _log(self, seconds: float, bar) -> None:
        """Read the window's means from the device (the one place that waits for it), check them, write them down."""
        row = {"step": self.step, **self._means()}
        self.agreed = self.votes.item() > 0
        images = self.window_steps * self.training.batch_size * self.fabric.world_size
        row["images_per_second"] = round(images / seconds, 1)
        self.window, self.window_steps = {}, 0
        self.seconds += seconds
        self._check(row)
        self.history.append(row)
        shown = {k: f"{row[k]:.3g}" for k in ("sse", "loss", "f_difference") if k in row}
        gap = chains_lag(self.history, self.training.energy.lag)
        if gap is not None:
            row["chains_lag"] = gap
            shown["chains lag"] = f"{gap:.2g} nats"
        bar.set_postfix(shown, refresh=False)
        if self.run_dir is not None and self.fabric.is_global_zero:
            path = self.run_dir / "metrics.jsonl"
            with checkpoint.saying_why(path, last_good(self.run_dir)), open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _means(self) -> dict[str, float]:
        """Means over the present window; a term with a value per level becomes ``name_1 … name_L``."""
        row = {}
        for name, total in self.window.items():
            value = (total if name.startswith("grad_norm") else total / self.window_steps).tolist()
            row.update(
                {f"{name}_{i + 1}": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
            )
        return row

    def _check(self, row: dict) -> None:
        """Raise `DivergenceError` for a term that is not a number or an energy beyond its bound."""
        for name, value in row.items():
            bad = "is not a number" if not math.isfinite(value) else None
            if name in ("f_posterior", "f_prior") and abs(value) > self.training.energy_bound:
                bad = f"= {value:.3g} is beyond the bound {self.training.energy_bound:g}"
            if bad:
                raise DivergenceError(
                    f"training diverged at step {self.step}: {name} {bad}. {last_good(self.run_dir)} The usual remedies are "
                    "a smaller learning rate for the energy (training.optimiser.lr_alpha), spectral norm, a larger sigma."
                )

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def _locked(self):
        """The run's folder, held by this process alone while the block runs."""
        if self.run_dir is None or not self.fabric.is_global_zero:
            return contextlib.nullcontext()
        return checkpoint.locked(self.run_dir)

    def _stop_if_asked(self, *, saved: bool = False) -> None:
        """Stop after this step where a signal came; several processes stop together, at the next line of the log."""
        if self.agreed if self.fabric.world_size > 1 else self.asked:
            if not saved:
                self._save()
            raise TrainingInterrupted("stopped after a step", self.asked[0] if self.asked else signal.SIGINT)

    def _save(self) -> None:
        if self.run_dir is None:
            return
        # Numbers are checked before a checkpoint is written, so that one that exists is a good one.
        weights = [p for parameters in self.groups.values() for p in parameters]
        self._check({**self._means(), "weights": torch.nn.utils.get_total_norm(weights).item()})
        generators = self.fabric.all_gather(self.generator.get_state()) if self.fabric.world_size > 1 else None
        chains = chains_of_all(self.model, self.fabric)
        if self.fabric.is_global_zero:
            state = {
                "step": self.step,
                "epoch": self.epoch,
                "seconds": self.seconds,
                "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
                "generators": [self.generator.get_state()] if generators is None else list(generators.cpu()),
                "torch_rng": torch.get_rng_state(),
                "average": None if self.average is None else self.average.values,
                "begun": self.begun,
                "window": self.window,
                "window_steps": self.window_steps,
                "history": self.history,
                "config": json.dumps(self.record.written),
                "image_chains": chains_to_save(self.model),
                "chains": chains,
            }
            keep = self.training.keep_checkpoints
            checkpoint.save_checkpoint(self.run_dir, self.step, self.model, self.record.model, state, keep)
        self.fabric.barrier()

    def resume(self, run_dir, *, allow_changes: bool = False) -> "Trainer":
        """Take weights, optimisers, random states and logs from the newest checkpoint of a run; `fit` then goes on.

        On the CPU the weights end bit-identical to those of a run that was never interrupted.

        Args:
            run_dir: the run's folder.
            allow_changes: go on with other settings than the run had. More epochs, another ``log_every``,
                ``checkpoint_every`` or ``keep_checkpoints`` need no leave. All changes are written into provenance.json.

        Raises:
            checkpoint.CheckpointError: if there is no checkpoint, or it is damaged, or of another model.
            ValueError: if settings changed without ``allow_changes``; `fit` raises it for other images.
        """
        self.run_dir = Path(run_dir)
        latest = checkpoint.latest_checkpoint(self.run_dir)
        checkpoint.read_provenance(self.run_dir)  # said now if it is damaged, not after hours
        state = checkpoint.load_state(latest)
        if len(state["generators"]) != self.fabric.world_size:
            raise checkpoint.CheckpointError(
                f"{run_dir} was trained by {len(state['generators'])} process(es) and cannot be resumed by "
                f"{self.fabric.world_size}: start as many"
            )
        checkpoint.load_weights(self.model, checkpoint.read_weights(latest / "model.safetensors"), latest)
        self.record.compare(self.run_dir, state, allow_changes)
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.average is not None and state.get("average") is not None:
            self.average.load(state["average"])
        take_chains(self.model, state.get("image_chains"))
        take_own_chains(self.model, self.fabric, state.get("chains"))
        self.begun = [tuple(phase) for phase in state.get("begun", [])]
        # A copy: `set_state` reads from the beginning of a tensor's memory, and a gathered state lies further back.
        self.generator.set_state(state["generators"][self.fabric.global_rank].clone())
        torch.set_rng_state(state["torch_rng"])
        self.step, self.epoch, self.seconds = state["step"], state["epoch"], state["seconds"]
        self.history = state["history"]
        self.window = {name: value.to(self.fabric.device) for name, value in state["window"].items()}
        self.window_steps = state["window_steps"]
        return self
