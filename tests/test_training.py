"""Algorithm 1 and the trainer around it."""

import json
import math
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from forked_python import start_python
from lightning_fabric import Fabric
from shared import tiny_experiment, tiny_model

from hebm_lib import JointEBM, Trainer, build_model, load_dataset, load_run
from hebm_lib.algorithm import Update, algorithm_1, parameter_groups
from hebm_lib.checkpoint import CheckpointError, latest_checkpoint, load_state, read_config
from hebm_lib.config import LangevinConfig, OptimiserConfig, PriorConfig, TrainingConfig
from hebm_lib.data import ImageDataset
from hebm_lib.metrics.classifier import fit_classifier
from hebm_lib.training import DivergenceError


def trained(config, run_dir=None, images=None, **options) -> Trainer:
    """The tiny experiment from its own seed, trained to the end."""
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, run_dir, progress=False, **options)
    return trainer.fit(load_dataset("digits", "train") if images is None else images)


def weights(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(rows):
    """Logged rows without what a clock decides."""
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


def rows_of(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


# ---- Algorithm 1 ----------------------------------------------------------------------------------------------------


@pytest.fixture
def model():
    return build_model(tiny_model())


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 40))


def run_algorithm(model, x, config=None, epoch=0.0):
    config = config or TrainingConfig(langevin=LangevinConfig(steps=4, step_size=0.4))
    return algorithm_1(model, x, config, epoch, torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "order, groups", [("alpha-first", ["alpha", "beta_phi"]), ("alpha-last", ["beta_phi", "alpha"])]
)
def test_both_orders(model, x, order, groups):
    config = TrainingConfig(order=order, langevin=LangevinConfig(steps=4, step_size=0.4))
    assert [update.group for update in run_algorithm(model, x, config)] == groups


def test_groups_share_the_parameters_out(model):
    groups = parameter_groups(model)
    listed = [id(p) for parameters in groups.values() for p in parameters]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in groups["alpha"]} == {id(p) for p in model.prior.parameters()}


def test_the_loss_of_beta_and_phi_is_the_negative_bound(model, x):
    model.eval()
    update = [u for u in run_algorithm(model, x) if u.group == "beta_phi"][0]
    posterior = model.encode(x)
    z = posterior.mean + posterior.stddev * torch.randn(40, 5, generator=torch.Generator().manual_seed(3))
    bound = model.elbo(x, z=z, posterior=posterior).elbo_plus_log_z.mean()
    constant = 32 * math.log(2 * math.pi * model.sigma**2)  # of log p(x|z), 64 pixels
    torch.testing.assert_close(-update.loss - constant, bound)


def test_the_loss_of_alpha_is_eq_10(model, x):
    model.eval()
    update = [u for u in run_algorithm(model, x) if u.group == "alpha"][0]
    noise = torch.Generator().manual_seed(3)
    posterior = model.encode(x)
    z_plus = posterior.mean + posterior.stddev * torch.randn(40, 5, generator=noise)
    z_minus = model.prior.sample(40, 4, 0.4, generator=noise)
    f_plus, f_minus = model.prior(z_plus).mean(), model.prior(z_minus).mean()
    torch.testing.assert_close(update.loss, f_minus - f_plus)
    torch.testing.assert_close(update.terms["f_difference"], f_plus - f_minus)
    update.loss.backward()
    assert all(p.grad is None for p in [*model.generator.parameters(), *model.inference.parameters()])


def test_phi_feels_the_energy_through_the_draw(x):
    """Eq. 12: ∂/∂φ E_q[f] is part of φ's gradient; without the energy φ's gradient is another."""
    gradients = []
    for strength in (0.0, 1.0):
        torch.manual_seed(0)
        model = build_model(tiny_model(prior=PriorConfig(hidden=(12,), spectral_norm=False))).eval()
        model.prior.energy.layers[-1].weight.data *= 20 * strength
        update = [u for u in run_algorithm(model, x) if u.group == "beta_phi"][0]
        gradients.append(torch.autograd.grad(update.loss, model.inference.heads[0].mean.weight)[0])
    assert (gradients[1] - gradients[0]).norm() > 1e-3 * gradients[0].norm()


def beta_phi_loss(model, x, epoch=0.0, **training):
    """The second update's loss on always the same noise, and what was logged with it."""
    config = TrainingConfig(langevin=LangevinConfig(steps=4, step_size=0.4), **training)
    update = [u for u in run_algorithm(model, x, config, epoch) if u.group == "beta_phi"][0]
    return update.loss, update.terms


def test_kl_weights_weigh_the_levels(model, x):
    model.eval()
    plain, terms = beta_phi_loss(model, x)
    heavy, light = (beta_phi_loss(model, x, kl_weights=weights)[0] for weights in ((1.0, 101.0), (-99.0, 1.0)))
    torch.testing.assert_close(heavy - plain, 100 * terms["kl"][1], rtol=1e-3, atol=0)
    torch.testing.assert_close(plain - light, 100 * terms["kl"][0], rtol=1e-3, atol=0)


def test_warm_up_raises_the_priors_terms_from_zero(model, x):
    """At epoch 0 only the reconstruction counts; KL and f come in together, in full from the end of the warm-up on."""
    model.eval()
    full, terms = beta_phi_loss(model, x)
    reconstruction = terms["sse"] / (2 * model.sigma**2)
    for epoch, share in ((0.0, 0.0), (1.0, 0.25), (4.0, 1.0), (9.0, 1.0)):
        loss, _ = beta_phi_loss(model, x, epoch, kl_warmup_epochs=4.0)
        torch.testing.assert_close(loss, reconstruction + share * (full - reconstruction))


def test_a_gaussian_prior_has_nothing_to_learn(x):
    model = build_model(tiny_model(prior=PriorConfig(hidden=())))
    assert list(parameter_groups(model)) == ["beta_phi"]
    assert [u.group for u in run_algorithm(model, x)] == ["beta_phi"]
    config = tiny_experiment(model=tiny_model(prior=PriorConfig(hidden=())), epochs=1)
    assert "f_prior" not in trained(config).history[-1]


# ---- who is moved by which step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["alpha-first", "alpha-last"])
def test_each_update_moves_its_own_parameters_only(x, order):
    """The energy's parameters get no gradient from the β, φ step, nor these from the energy's."""
    config = tiny_experiment(order=order)
    trainer = Trainer(build_model(config.model), config, progress=False)
    model = trainer.model.train()
    seen = []

    def watch(group, step):
        def watched(*args, **kwargs):
            gradients = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            step(*args, **kwargs)
            moved = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
            seen.append((group, gradients, moved))

        return watched

    for group, optimiser in trainer.optimisers.items():
        optimiser.step = watch(group, optimiser.step)
    trainer._one_step(x, 0.0)
    alpha = {name for name, _ in model.named_parameters() if name.startswith("prior.")}
    rest = {name for name, _ in model.named_parameters()} - alpha
    constant = {"prior.energy.layers.2.bias"}  # added to f everywhere: Eq. 10 does not move it
    assert [group for group, *_ in seen] == (["alpha", "beta_phi"] if order == "alpha-first" else ["beta_phi", "alpha"])
    first, second = seen
    for (group, gradients, moved), own in ((first, None), (second, None)):
        own = alpha if group == "alpha" else rest
        assert own - constant <= moved <= own
        assert own - constant <= gradients
    # At the first update nothing else has a gradient at all.
    own = alpha if first[0] == "alpha" else rest
    assert first[1] <= own


def test_the_beta_phi_step_adds_nothing_to_the_energys_gradient(x):
    config = tiny_experiment(order="alpha-first")
    trainer = Trainer(build_model(config.model), config, progress=False)
    after_alpha = {}

    def remember(*args, **kwargs):
        after_alpha.update({name: p.grad.clone() for name, p in trainer.model.prior.named_parameters()})

    trainer.optimisers["alpha"].step = remember
    trainer._one_step(x, 0.0)
    assert after_alpha
    for name, p in trainer.model.prior.named_parameters():
        assert torch.equal(p.grad, after_alpha[name])


def test_the_order_matters():
    one, other = (trained(tiny_experiment(order=order, epochs=1)) for order in ("alpha-first", "alpha-last"))
    assert not same(weights(one.model), weights(other.model))


# ---- the loop -------------------------------------------------------------------------------------------------------


def test_the_loss_falls_on_digits():
    history = trained(tiny_experiment(epochs=12)).history
    assert history[-1]["sse"] < 0.7 * history[0]["sse"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_every_logged_row_has_the_named_terms(tmp_path):
    trained(tiny_experiment(epochs=2, log_every=7), tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [7, 14, 21, 28]
    terms = {"step", "sse", "kl_1", "kl_2", "loss", "f_posterior", "f_prior", "f_difference"}
    terms |= {"grad_norm_alpha", "grad_norm_beta_phi", "images_per_second"}
    for row in rows:
        assert row.keys() == terms
        assert all(math.isfinite(value) for value in row.values())
        assert row["f_difference"] == pytest.approx(row["f_posterior"] - row["f_prior"], abs=1e-5)
        assert row["sse"] > 0 and row["kl_1"] > 0 and row["grad_norm_alpha"] > 0 and row["images_per_second"] > 0


def test_a_row_holds_means_over_its_window_and_norms_of_its_last_step(tmp_path):
    every = trained(tiny_experiment(epochs=1, log_every=1)).history
    seventh = trained(tiny_experiment(epochs=1, log_every=7)).history
    for name in ("sse", "kl_1", "kl_2", "loss", "f_prior"):
        assert seventh[0][name] == pytest.approx(sum(row[name] for row in every[:7]) / 7, rel=1e-5)
    for name in ("grad_norm_alpha", "grad_norm_beta_phi"):
        assert seventh[0][name] == pytest.approx(every[6][name], rel=1e-5)


def test_the_last_steps_are_logged_when_they_do_not_fill_a_window():
    history = trained(tiny_experiment(epochs=1, log_every=10)).history
    assert [row["step"] for row in history] == [10, 14]


def test_a_seed_makes_a_run():
    one, again, other = (trained(tiny_experiment(epochs=1, seed=seed)) for seed in (1, 1, 2))
    assert same(weights(one.model), weights(again.model))
    assert timeless(one.history) == timeless(again.history)
    assert not same(weights(one.model), weights(other.model))


def test_what_learns_does_so_where_the_caller_has_switched_gradients_off(digits):
    """A study measures under `torch.no_grad`, and may have to train first."""
    with torch.no_grad():
        switched_off = trained(tiny_experiment(epochs=1))
        fit_classifier(digits, epochs=1, progress=False)
        assert not torch.is_grad_enabled()
    assert same(weights(switched_off.model), weights(trained(tiny_experiment(epochs=1)).model))


def test_batches_cover_every_image_once_per_epoch_in_a_new_order():
    config = tiny_experiment(batch_size=10)
    trainer = Trainer(build_model(config.model), config, progress=False)
    first, second = (trainer._order(40, epoch, 4) for epoch in (0, 1))
    assert first.shape == (4, 10)
    assert sorted(first.flatten().tolist()) == sorted(second.flatten().tolist()) == list(range(40))
    assert first.tolist() != second.tolist()
    assert first.flatten().tolist() != list(range(40))


def test_an_epoch_reads_each_image_once(digits):
    read = []

    class Watched(ImageDataset):
        def to(self, device):
            return self

        def batch(self, indices):
            read.append(indices)
            return super().batch(indices)

    images = digits.subset(slice(0, 300))
    trained(tiny_experiment(epochs=2), images=Watched(images.images, images.labels))
    assert len(read) == 6
    for epoch in (read[:3], read[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(300))


def test_fewer_images_than_a_batch_are_refused(digits):
    with pytest.raises(ValueError, match="99 images are fewer than one batch of 100"):
        trained(tiny_experiment(), images=digits.subset(slice(0, 99)))


def test_rates_fall_per_epoch():
    config = tiny_experiment(epochs=3, optimiser=OptimiserConfig(lr_alpha=1e-4, lr_beta_phi=1e-3, lr_decay=0.5))
    trainer = trained(config)
    assert trainer.optimisers["alpha"].param_groups[0]["lr"] == pytest.approx(1e-4 / 4)
    assert trainer.optimisers["beta_phi"].param_groups[0]["lr"] == pytest.approx(1e-3 / 4)


def test_weight_decay_is_for_beta_and_phi():
    config = tiny_experiment(optimiser=OptimiserConfig(weight_decay=5e-4, betas=(0.0, 0.99)))
    optimisers = Trainer(build_model(config.model), config, progress=False).optimisers
    assert optimisers["alpha"].param_groups[0]["weight_decay"] == 0
    assert optimisers["beta_phi"].param_groups[0]["weight_decay"] == 5e-4
    assert all(o.param_groups[0]["betas"] == (0.0, 0.99) for o in optimisers.values())


def test_on_epoch_is_called_in_evaluation_mode():
    seen = []
    trained_epochs = tiny_experiment(epochs=3)
    trainer = Trainer(build_model(trained_epochs.model), trained_epochs, progress=False)
    trainer.fit(load_dataset("digits", "train"), on_epoch=lambda t: seen.append((t.epoch, t.step, t.model.training)))
    assert seen == [(1, 14, False), (2, 28, False), (3, 42, False)]


def test_another_model_brings_its_own_algorithm(digits):
    """What the baselines rely on: a model with `algorithm` and `parameter_groups` is trained by the same loop."""

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.image = torch.nn.Parameter(torch.zeros(1, 8, 8))

        def parameter_groups(self):
            return {"mean": [self.image]}

        def algorithm(self, x, config, epoch, generator):
            loss = (x - self.image).square().mean()
            yield Update("mean", loss, {"mse": loss})

    config = tiny_experiment(epochs=20, optimiser=OptimiserConfig(lr_beta_phi=0.02))
    trainer = Trainer(Mean(), config, progress=False).fit(digits)
    assert (trainer.model.image - digits.batch(slice(None)).mean(0)).abs().max() < 0.1
    assert "mse" in trainer.history[-1] and "grad_norm_mean" in trainer.history[-1]


# ---- nothing waits for the device -----------------------------------------------------------------------------------

WAITS = ["item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__", "new_tensor", "nonzero"]


def test_no_host_synchronisation_inside_a_step(x, monkeypatch):
    """What would read a value back from a device, or copy one there, is forbidden in a step that is not logged."""
    config = tiny_experiment(log_every=10, kl_warmup_epochs=2, kl_weights=(1.0, 2.0))
    trainer = Trainer(build_model(config.model), config, progress=False)
    trainer.model.train()
    trainer._one_step(x, 0.0)  # optimisers make their state in the first step

    def forbidden(name):
        def wait(*args, **kwargs):
            pytest.fail(f"a training step calls {name}, which waits for the device")

        return wait

    with monkeypatch.context() as patch:
        for name in WAITS:
            patch.setattr(torch.Tensor, name, forbidden(f"Tensor.{name}"))
        for name in ("tensor", "as_tensor"):
            patch.setattr(torch, name, forbidden(f"torch.{name}"))
        for step in range(5):
            trainer._one_step(x, step / 14)
    assert trainer.step == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_synchronisation_on_the_device_itself(digits):
    config = tiny_experiment(log_every=10, kl_warmup_epochs=2, kl_weights=(1.0, 2.0))
    trainer = Trainer(build_model(config.model), config, progress=False)
    trainer.model.train()
    x = digits.to(trainer.fabric.device).batch(slice(0, 40))
    trainer._one_step(x, 0.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(5):
            trainer._one_step(x, step / 14)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---- divergence -----------------------------------------------------------------------------------------------------


def test_a_run_away_energy_stops_the_run_and_the_last_checkpoint_stays(tmp_path):
    model = tiny_model(prior=PriorConfig(hidden=(12, 12), spectral_norm=False))
    config = tiny_experiment(model=model, epochs=40, energy_bound=50.0, optimiser=OptimiserConfig(lr_alpha=0.05))
    with pytest.raises(DivergenceError) as error:
        trained(config, tmp_path / "run")
    last = latest_checkpoint(tmp_path / "run")
    message = str(error.value)
    assert "at step" in message and "beyond the bound 50" in message and str(last) in message
    assert any(f"f_{side} = " in message for side in ("prior", "posterior"))
    model = load_run(tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_nan_names_the_term_and_the_step_and_is_never_saved(tmp_path):
    config = tiny_experiment(epochs=4)
    torch.manual_seed(1)

    def poison(trainer):
        if trainer.step == 28:  # after the second epoch, before its checkpoint is written
            trainer.model.generator.to_map.weight.data[0, 0] = math.nan

    trainer = Trainer(build_model(config.model), config, tmp_path / "run", progress=False)
    with pytest.raises(DivergenceError, match="diverged at step 28: weights is not a number.*step-00000014; it stays"):
        trainer.fit(load_dataset("digits", "train"), on_epoch=poison)
    assert latest_checkpoint(tmp_path / "run").name == "step-00000014"
    assert all(torch.isfinite(tensor).all() for tensor in load_run(tmp_path / "run").state_dict().values())


def test_nan_in_a_loss_is_seen_at_the_next_logged_step():
    config = tiny_experiment(epochs=1)
    torch.manual_seed(1)
    trainer = Trainer(build_model(config.model), config, progress=False)
    trainer.model.inference.heads[0].mean.bias.data[0] = math.nan
    with pytest.raises(DivergenceError, match="at step 5: .* is not a number. This run kept no checkpoints"):
        trainer.fit(load_dataset("digits", "train"))


def test_divergence_before_the_first_checkpoint_says_so(tmp_path):
    config = tiny_experiment(epochs=1)
    trainer = Trainer(build_model(config.model), config, tmp_path / "run", progress=False)
    trainer.model.inference.heads[0].mean.bias.data[0] = math.nan
    with pytest.raises(DivergenceError, match="There was no checkpoint yet"):
        trainer.fit(load_dataset("digits", "train"))


# ---- runs and resuming ----------------------------------------------------------------------------------------------


def test_a_run_holds_what_design_says(tmp_path):
    config = tiny_experiment(epochs=3, keep_checkpoints=2)
    trainer = trained(config, tmp_path / "run")
    names = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000028", "step-00000042"]
    assert read_config(tmp_path / "run") == config
    assert timeless(rows_of(tmp_path / "run")) == timeless(trainer.history)
    assert same(weights(load_run(tmp_path / "run")), weights(trainer.model))
    assert not load_run(tmp_path / "run").training


def test_a_run_is_not_overwritten(tmp_path):
    trained(tiny_experiment(epochs=1), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(FileExistsError, match="resume it .*python -m hebm_lib resume"):
        trained(tiny_experiment(epochs=1, seed=2), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


class Stopped(Exception):
    pass


def interrupted(config, run_dir, step: int):
    """Train until ``step`` and then fall over, as a process does that is taken away."""
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, run_dir, progress=False)
    one_step = trainer._one_step

    def stop(x, epoch):
        if trainer.step == step:
            raise Stopped
        one_step(x, epoch)

    trainer._one_step = stop
    with pytest.raises(Stopped):
        trainer.fit(load_dataset("digits", "train"))


@pytest.mark.parametrize("stop_at", [4, 11, 14, 25])
@pytest.mark.parametrize("order", ["alpha-first", "alpha-last"])
def test_resuming_is_bit_identical(tmp_path, stop_at, order):
    """Stopped before, in the middle of and after an epoch; checkpoints lie between two logged steps on purpose."""
    config = tiny_experiment(epochs=2, checkpoint_every=4, log_every=3, order=order, kl_warmup_epochs=1.5)
    config = replace(config, training=replace(config.training, optimiser=OptimiserConfig(lr_decay=0.5)))
    whole = trained(config, tmp_path / "whole")
    interrupted(config, tmp_path / "cut", stop_at)
    torch.manual_seed(99)  # whatever the new process's state is, the checkpoint's counts
    resumed = Trainer(build_model(config.model), config, progress=False).resume(tmp_path / "cut")
    assert resumed.step == {4: 4, 11: 8, 14: 14, 25: 24}[stop_at]
    resumed.fit(load_dataset("digits", "train"))
    assert same(weights(resumed.model), weights(whole.model))
    assert timeless(rows_of(tmp_path / "cut")) == timeless(rows_of(tmp_path / "whole"))
    assert torch.equal(resumed.generator.get_state(), whole.generator.get_state())


def test_a_finished_run_resumed_stays_as_it_is(tmp_path):
    config = tiny_experiment(epochs=1)
    whole = trained(config, tmp_path / "run")
    again = Trainer(build_model(config.model), config, progress=False).resume(tmp_path / "run")
    again.fit(load_dataset("digits", "train"))
    assert again.step == whole.step and same(weights(again.model), weights(whole.model))


def test_more_epochs_continue_a_finished_run(tmp_path):
    short, long = tiny_experiment(epochs=1), tiny_experiment(epochs=2)
    trained(short, tmp_path / "run")
    longer = Trainer(build_model(long.model), long, progress=False).resume(tmp_path / "run")
    longer.fit(load_dataset("digits", "train"))
    assert same(weights(longer.model), weights(trained(long).model))


def test_resuming_what_cannot_be_resumed(tmp_path):
    config = tiny_experiment(epochs=1)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        Trainer(build_model(config.model), config, progress=False).resume(tmp_path)
    trained(config, tmp_path / "run")
    other = tiny_experiment(model=tiny_model(latent_dims=(2, 4)))
    with pytest.raises(CheckpointError, match="does not fit the model"):
        Trainer(build_model(other.model), other, progress=False).resume(tmp_path / "run")
    state = latest_checkpoint(tmp_path / "run") / "state.pt"
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="state.pt cannot be read"):
        Trainer(build_model(config.model), config, progress=False).resume(tmp_path / "run")


KILLED = """
import sys, torch
from shared import tiny_experiment
from hebm_lib import Trainer, build_model, load_dataset
from hebm_lib.config import LangevinConfig

torch.set_num_threads(1)
config = tiny_experiment(epochs=4, checkpoint_every=3, log_every=4, langevin=LangevinConfig(steps=20, step_size=0.4))
torch.manual_seed(config.training.seed)
Trainer(build_model(config.model), config, sys.argv[1], progress=False).fit(load_dataset("digits", "train"))
"""


def test_killed_with_sigkill_and_resumed_the_weights_are_bit_identical(tmp_path):
    script, run = tmp_path / "train.py", tmp_path / "run"
    script.write_text(KILLED)
    victim = start_python([str(script), str(run)], tmp_path)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and victim.poll() is None:
            if len(list((run / "checkpoints").glob("step-*"))) >= 2:
                time.sleep(0.1 * torch.rand((), generator=torch.Generator().manual_seed(os.getpid())).item())
                break
            time.sleep(0.002)
    finally:
        victim.kill()  # SIGKILL
    assert victim.wait(30) == -signal.SIGKILL, "the run ended before it could be killed"
    config = read_config(run)
    assert 3 <= load_state(latest_checkpoint(run))["step"] < 4 * 14
    resumed = Trainer(build_model(config.model), config, progress=False).resume(run)
    resumed.fit(load_dataset("digits", "train"))
    whole = trained(config)
    assert resumed.step == whole.step == 4 * 14
    assert same(weights(load_run(run)), weights(whole.model))
    assert timeless(rows_of(run)) == timeless(whole.history)


# ---- several processes ----------------------------------------------------------------------------------------------


def test_fabric_takes_every_backward_and_the_model_stays_the_users_own(monkeypatch):
    backwards = []
    backward = Fabric.backward
    monkeypatch.setattr(
        Fabric, "backward", lambda self, *args, **kwargs: (backwards.append(1), backward(self, *args, **kwargs))[1]
    )
    config = tiny_experiment(epochs=1)
    model = build_model(config.model)
    before = weights(model)
    trainer = Trainer(model, config, progress=False).fit(load_dataset("digits", "train"))
    assert trainer.model is model and type(model) is JointEBM, "a wrapper was handed out"
    assert not same(before, weights(model))
    assert len(backwards) == 2 * trainer.step == 28, "one for alpha, one for beta and phi, at each step"
