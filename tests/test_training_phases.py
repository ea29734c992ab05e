"""Learning the energy beyond Algorithm 1 as printed: phases, persistent chains with restarts, the average, the ratio."""

import copy
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment, tiny_model

from hebm_lib import JointEBMPrior, LatentSpec, Trainer, build_model, load_dataset, load_run
from hebm_lib.algorithm import algorithm_1, learn_energy, learn_ratio
from hebm_lib.checkpoint import latest_checkpoint, load_state
from hebm_lib.config import EnergyConfig, LangevinConfig, OptimiserConfig, PriorConfig, TrainingConfig
from hebm_lib.exact import Grid2D
from hebm_lib.exact.targets import CoupledMixture, fit_by_chains
from hebm_lib.plotting import plot_curves
from hebm_lib.reproduction.publishing import thin
from hebm_lib.training.phases import Average, FixedCodes, Phase, alpha_rate, ladder_alone, phases_of

FREE = PriorConfig(hidden=(12, 12), spectral_norm=False, start="zero", chains=40, restart=0.1, jumps=2)
PHASES = EnergyConfig(ladder_epochs=1, fit_steps=9, end_steps=7, batch_alone=50, schedule="cosine", average=0.9)
"""With 14 steps to an epoch and two epochs: ladder 0 … 14, fit … 23, joint … 37, end … 44."""


def experiment(energy=PHASES, prior=FREE, **training):
    return tiny_experiment(model=tiny_model(prior=prior), energy=energy, **training)


def trainer_of(config, run_dir=None):
    torch.manual_seed(config.training.seed)
    return Trainer(build_model(config.model), config, run_dir, progress=False)


def trained(config, run_dir=None, **options):
    return trainer_of(config, run_dir).fit(load_dataset("digits", "train"), **options)


def weights(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- persistent chains and their restarts ---------------------------------------------------------------------------


def test_the_restart_share_of_chains_starts_anew_and_no_other():
    """Chains that stand far out and take no step: those that come back to N(0, I) are the restarted ones."""
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), spectral_norm=False, chains=5000, restart=0.2)
    prior.chains.fill_(100.0)
    z = prior.negatives(7, 0, 0.1, generator=torch.Generator().manual_seed(1))
    anew = (z != 100).any(1)
    assert anew.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (z[~anew] == 100).all() and torch.equal(prior.chains, z)
    assert z[anew].mean().abs() < 0.1 and z[anew].std().item() == pytest.approx(1, abs=0.1)
    again = prior.negatives(7, 0, 0.1, generator=torch.Generator().manual_seed(2))
    assert (again == 100).all(1).float().mean().item() == pytest.approx(0.64, abs=0.03)


def test_without_restart_persistent_chains_draw_no_other_noise():
    """The stream of noise, and so every number of an earlier run, is what it was."""
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), chains=6)
    start = prior.chains.clone()
    z = prior.negatives(3, 5, 0.3, generator=one)
    assert torch.equal(z, prior.sample(6, 5, 0.3, z0=start, generator=other))


@pytest.mark.parametrize("chains", [0, 4000])
def test_negatives_can_be_corrected(chains):
    """With f = 0 and a huge step plain chains are far too wide, corrected ones are not."""
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), spectral_norm=False, chains=chains, zero=True)
    plain, corrected = (prior.negatives(4000, 60, 1.5, metropolis=metropolis) for metropolis in (False, True))
    assert plain.var().item() == pytest.approx(1 / (1 - 1.5**2 / 4), rel=0.1)
    z = prior.negatives(4000, 100, 1.5, metropolis=True) if chains else corrected
    assert z.var().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("levels", ["joint", "separate"])
def test_an_energy_can_start_from_zero(levels):
    prior = build_model(tiny_model(prior=replace(FREE, levels=levels))).prior
    z = torch.randn(20, 5)
    assert (prior(z) == 0).all()
    loss = next(learn_energy(prior, z, LangevinConfig(steps=3, step_size=0.2))).loss
    loss.backward()
    moved = [name for name, p in prior.named_parameters() if p.grad.abs().sum() > 0]
    assert moved and all("layers.2." in name for name in moved)


def test_settings_that_contradict_each_other_are_refused():
    for wrong, message in (
        (lambda: PriorConfig(hidden=(4,), start="zero"), "spectral norm"),
        (lambda: PriorConfig(hidden=(4,), restart=0.1), "start from noise anyway"),
        (lambda: PriorConfig(hidden=(4,), chains=3, restart=1.5), "share between 0 and 1"),
        (lambda: PriorConfig(hidden=(4,), jumps=3), "no mode to jump from"),
        (lambda: PriorConfig(hidden=(4,), chains=3, jumps=-1), "not be negative"),
        (lambda: JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), jumps=3), "persistent chains"),
        (lambda: EnergyConfig(average=1.0), "below 1"),
        (lambda: EnergyConfig(density_ratio=True), "fit_steps"),
        (lambda: EnergyConfig(updates=0), "at least 1"),
        (lambda: TrainingConfig(epochs=2, energy=EnergyConfig(ladder_epochs=3)), "3 of 2"),
        (lambda: JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), zero=True), "spectral_norm=False"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


# ---- what is learned ------------------------------------------------------------------------------------------------


def test_density_and_chain_agree_with_a_target_in_the_plane():
    """Oracle on the grid: the learned density comes near the target, and short and long chains have its moments.

    Two modes with a pass between them that chains cross: where they cannot, nothing tells f how much each mode weighs.
    """
    target = CoupledMixture(((-0.7, -0.8), (0.7, 0.8)), ((0.5, 0.4), (0.4, 0.5)), (2.0, 1.0))
    grid = Grid2D(4.0, 81)
    codes = target.sample(20_000, torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    prior = JointEBMPrior(
        LatentSpec((1, 1)), hidden=(50, 50), spectral_norm=False, chains=1000, restart=0.05, zero=True
    )
    fit_by_chains(prior, codes, 20, 0.2, updates=700, lr=1e-2, generator=torch.Generator().manual_seed(2))
    p = grid.density(target.log_prob)
    fitted = grid.density(prior.double().log_prob_unnormalized)
    start = grid.density(lambda z: -0.5 * z.square().sum(1))
    assert grid.kl(p, fitted) < 0.03 < 0.05 * grid.kl(p, start)
    assert grid.total_variation(p, fitted) < 0.1
    prior.float()
    mean = (fitted.flatten()[:, None] * grid.z).sum(0) * grid.cell
    square = (fitted.flatten()[:, None] * grid.z.square()).sum(0) * grid.cell
    for steps, near in ((200, 0.15), (2000, 0.05)):
        z = prior.sample(10_000, steps, 0.2, generator=torch.Generator().manual_seed(5)).double()
        torch.testing.assert_close(z.mean(0), mean, atol=near, rtol=0)
        torch.testing.assert_close(z.square().mean(0), square, atol=0.05, rtol=0)


def test_with_jumps_the_mass_of_far_modes_is_learned():
    """Two modes that chains of s = 0.2 do not leave, three to one: what f gives each is right with jumps alone."""
    target = CoupledMixture(((-1.5, -1.5), (1.5, 1.5)), ((0.3, 0.3), (0.3, 0.3)), (3.0, 1.0))
    codes, grid = target.sample(20_000, torch.Generator().manual_seed(1)), Grid2D(4.0, 81)
    distance = {}
    for jumps in (0, 2):
        torch.manual_seed(3)
        prior = JointEBMPrior(
            LatentSpec((1, 1)), hidden=(50, 50), spectral_norm=False, chains=500, restart=0.05, jumps=jumps, zero=True
        )
        if jumps:
            prior.jumps.fit(codes[:5000])
        fit_by_chains(prior, codes, 20, 0.2, updates=700, lr=1e-2, generator=torch.Generator().manual_seed(2))
        fitted = grid.density(prior.double().log_prob_unnormalized)
        distance[jumps] = float(grid.total_variation(grid.density(target.log_prob), fitted))
    assert distance[2] < 0.1 < 2 * distance[2] < distance[0]


def test_the_ratio_of_two_densities_is_their_logit():
    """Oracle: codes from N(m, I) have log q - log p_0 = m·z - |m|²/2; with f linear enough the classifier finds it."""
    mean = torch.tensor([1.0, -0.5])
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(30,), spectral_norm=False)
    optimiser, noise = torch.optim.Adam(prior.parameters(), lr=1e-2), torch.Generator().manual_seed(4)
    for _ in range(400):
        codes = mean + torch.randn(500, 2, generator=noise)
        (update,) = learn_ratio(prior, codes, generator=noise)
        optimiser.zero_grad()
        update.loss.backward()
        optimiser.step()
    z = torch.randn(1000, 2, generator=noise) * 0.7 + mean / 2
    exact = z @ mean - 0.5 * mean.square().sum()
    assert (prior(z) - exact).abs().mean() < 0.12


def test_several_updates_share_one_visit_of_the_chains():
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(4,), spectral_norm=False, chains=6)
    visits, terms = [], []
    for update in learn_energy(prior, torch.randn(5, 2), LangevinConfig(steps=2, step_size=0.1), updates=3):
        visits.append(prior.chains.clone())
        terms.append(update.terms)
    assert len(visits) == 3 and torch.equal(visits[0], visits[2])
    assert terms[0].keys() == {"f_posterior", "f_prior", "f_difference"} and terms[1] == terms[2] == {}


def test_algorithm_1_is_its_two_halves(digits):
    """The plain case: the same losses as its lines written out, on the same noise."""
    model, x = build_model(tiny_model(prior=PriorConfig(hidden=(12,), spectral_norm=False))), digits.batch(slice(0, 30))
    config = TrainingConfig(langevin=LangevinConfig(steps=4, step_size=0.4))
    one, other = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    alpha, beta_phi = algorithm_1(model, x, config, 1.0, one)
    q = model.encode(x)
    z_plus = q.mean + q.stddev * torch.randn(30, 5, generator=other)
    z_minus = model.prior.sample(30, 4, 0.4, generator=other)
    torch.testing.assert_close(alpha.loss, model.prior(z_minus).mean() - model.prior(z_plus).mean())
    bound = model.elbo(x, z=z_plus, posterior=q)
    expected = (bound.sse / (2 * model.sigma**2) + bound.kl.sum(1) - bound.energy).mean()
    torch.testing.assert_close(beta_phi.loss, expected)


# ---- the average ----------------------------------------------------------------------------------------------------


def test_the_average_is_its_closed_form():
    p = torch.nn.Parameter(torch.tensor([0.0, 10.0]))
    average, values = Average([p], 0.75), [p.detach().clone()]
    for i in range(1, 6):
        p.data = torch.tensor([float(i), 10.0 - i * i])
        average.update()
        values.append(p.detach().clone())
    closed = 0.75**5 * values[0] + sum(0.25 * 0.75 ** (5 - i) * values[i] for i in range(1, 6))
    torch.testing.assert_close(average.values[0], closed)
    average.take_over()
    torch.testing.assert_close(p.detach(), closed)


def test_a_run_ends_with_the_average_of_its_weights():
    energy = EnergyConfig(average=0.9)
    config, seen = experiment(energy, epochs=1), []
    trainer = trainer_of(config)
    step = trainer.optimisers["alpha"].step

    def watched(*args, **kwargs):
        step(*args, **kwargs)
        seen.append(trainer.model.prior.energy.layers[0].weight.detach().clone())

    start = trainer.model.prior.energy.layers[0].weight.detach().clone()
    trainer.optimisers["alpha"].step = watched
    trainer.fit(load_dataset("digits", "train"))
    closed = 0.9**14 * start + sum(0.1 * 0.9 ** (13 - i) * w for i, w in enumerate(seen))
    torch.testing.assert_close(trainer.model.prior.energy.layers[0].weight.detach(), closed)
    assert not torch.equal(seen[-1], closed)


# ---- phases ---------------------------------------------------------------------------------------------------------


def test_the_plain_config_is_one_phase_of_algorithm_1():
    assert phases_of(TrainingConfig(epochs=3), 10) == [Phase("joint", 0, 30)]
    assert phases_of(TrainingConfig(epochs=0), 10) == []


def test_rates_fall_along_a_cosine_within_a_phase():
    config = TrainingConfig(
        epochs=4,
        optimiser=OptimiserConfig(lr_alpha=2e-4),
        energy=EnergyConfig(ladder_epochs=2, fit_steps=10, lr_alone=1e-3, schedule="cosine"),
    )
    _, fit, joint = phases_of(config, 5)
    assert [alpha_rate(fit, step, config, 2) for step in (10, 15)] == pytest.approx([1e-3, 5e-4])
    assert [alpha_rate(joint, step, config, 2) for step in (20, 25)] == pytest.approx([2e-4, 1e-4])
    constant = replace(config, energy=replace(config.energy, schedule="constant"))
    assert alpha_rate(joint, 25, constant, 3) == pytest.approx(2e-4)


def test_each_phase_moves_its_own_parameters_only():
    config, states = experiment(log_every=1), {}
    trainer = trainer_of(config)
    save = trainer._save
    states[0] = weights(trainer.model)
    trainer._save = lambda: (states.__setitem__(trainer.step, weights(trainer.model)), save())
    trainer.fit(load_dataset("digits", "train"))
    assert list(states) == [0, 14, 23, 37, 44]

    def moved(a, b):
        return {name.split(".")[0] for name in states[a] if not torch.equal(states[a][name], states[b][name])}

    assert moved(0, 14) == {"generator", "inference"}
    assert moved(14, 23) == {"prior"}
    assert moved(23, 37) == {"generator", "inference", "prior"}
    assert moved(37, 44) == {"prior"}
    logged = [{"sse", "f_posterior"} & row.keys() for row in trainer.history]
    assert logged[5] == {"sse"} and logged[17] == logged[40] == {"f_posterior"} and len(logged[30]) == 2


def test_the_ladder_of_the_first_phase_is_that_of_f_0():
    """The control: the same config with f = 0 for all epochs goes through the very same ladder, and its f stays 0."""
    at_14 = {}

    def keep(trainer):
        at_14.setdefault(trainer.config.training.energy.fit_steps, weights(trainer.model))

    control = EnergyConfig(ladder_epochs=2)
    trained(experiment(), on_epoch=keep)
    end = trained(experiment(control), on_epoch=keep)
    ladder = [n for n in at_14[9] if not n.startswith("prior.")]
    assert all(torch.equal(at_14[9][name], at_14[0][name]) for name in ladder)
    assert (end.model.prior(torch.randn(30, 5)) == 0).all()


def test_fixed_codes_are_draws_of_the_posterior(digits):
    model = build_model(tiny_model()).train()
    codes = FixedCodes.of(model, digits.subset(slice(0, 50)), batch=20)
    assert model.training and codes.mean.shape == codes.deviation.shape == (50, 5)
    q = model.eval().encode(digits.batch(slice(0, 50)))
    torch.testing.assert_close(codes.mean, q.mean)
    torch.testing.assert_close(codes.deviation, q.stddev)
    one = FixedCodes(codes.mean[:1], codes.deviation[:1]).draw(20_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(one.mean(0), codes.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(one.std(0), codes.deviation[0], atol=0.05, rtol=0.02)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [14, 16, 23, 30, 37, 40, 44])
def test_resuming_is_bit_identical_across_every_phase(at, tmp_path):
    """Stopped in the middle or at the end of any phase; chains, average, optimisers and the log go on as if nothing were."""
    energy = replace(PHASES, density_ratio=True, updates=2)
    config = experiment(
        energy, checkpoint_every=2, langevin=LangevinConfig(steps=3, step_size=0.2, metropolis=at % 2 == 0)
    )
    whole = trained(config)
    first = trainer_of(config, tmp_path / "run")
    save = first._save

    def stop():
        save()
        if first.step >= at:
            raise Interrupted

    first._save = stop
    with pytest.raises(Interrupted):
        first.fit(load_dataset("digits", "train"))
    torch.manual_seed(99)
    second = Trainer(build_model(config.model), config, progress=False).resume(tmp_path / "run")
    assert second.step == at
    second.fit(load_dataset("digits", "train"))
    assert second.step == whole.step == 44
    assert same(weights(second.model), weights(whole.model))
    rows = [[{k: v for k, v in row.items() if k != "images_per_second"} for row in t.history] for t in (whole, second)]
    assert rows[0] == rows[1]
    assert same(weights(load_run(tmp_path / "run")), weights(whole.model))
    assert load_state(latest_checkpoint(tmp_path / "run"))["begun"][-1] == ("end", 37)


def test_phases_need_no_experiment_and_no_image_set(digits):
    """Settings of training alone, a tensor of images: what a stranger has."""
    torch.manual_seed(1)
    config = experiment()
    by_tensor = Trainer(build_model(config.model), config.training, progress=False).fit(digits.batch(slice(None)))
    assert same(weights(by_tensor.model), weights(trained(config).model))


def test_a_run_whose_phases_are_done_cannot_get_others(tmp_path):
    constant = replace(PHASES, schedule="constant")  # a cosine is refused before: its rate depends on the last epoch
    trained(experiment(constant), tmp_path / "run")
    longer = experiment(constant, epochs=3)
    trainer = Trainer(build_model(longer.model), longer, progress=False).resume(tmp_path / "run")
    with pytest.raises(ValueError, match="epochs can be added only where no phase follows"):
        trainer.fit(load_dataset("digits", "train"))


def test_a_model_with_its_own_algorithm_has_no_such_phases():
    config = experiment(EnergyConfig(ladder_epochs=1), prior=PriorConfig(hidden=()))
    config = replace(config, model=replace(config.model, kind="vlae"))
    with pytest.raises(ValueError, match="an algorithm of its own"):
        trainer_of(config)


def test_a_run_whose_chains_lag_says_so_in_its_log_and_its_bar(monkeypatch, capsys):
    """Two steps of a chain cannot follow an f that learns this fast; a calm run says nothing."""
    config = experiment(
        EnergyConfig(lag=0.2),
        PriorConfig(hidden=(12, 12), spectral_norm=False),
        epochs=3,
        log_every=1,
        langevin=LangevinConfig(steps=1, step_size=0.01),
        optimiser=OptimiserConfig(lr_alpha=0.01),
    )
    torch.manual_seed(1)
    rows = Trainer(build_model(config.model), config).fit(load_dataset("digits", "train")).history
    said = [row for row in rows if "chains_lag" in row]
    assert said and "chains lag" in capsys.readouterr().err
    first = rows.index(said[0])
    expected = sum(row["f_difference"] for row in rows[first - 9 : first + 1]) / 10
    assert said[0]["chains_lag"] == pytest.approx(expected) and expected > 0.2
    assert not any("chains_lag" in row for row in trained(experiment(epochs=3, log_every=1)).history)


def test_the_curves_of_a_run_in_phases_have_gaps():
    history = trained(experiment(log_every=7)).history
    figure = plot_curves(history)
    sse, kl = figure.axes[0].lines[0].get_ydata(), figure.axes[1].lines[0].get_ydata()
    assert len(sse) == len(kl) == len(history)
    assert [x != x for x in sse] == [x != x for x in kl] == ["sse" not in row for row in history]
    columns = thin(history)
    assert columns["sse"][-1] is None and columns["sse"][0] is not None and columns["f_prior"][0] is None


@pytest.mark.parametrize("learn", ["energy", "ratio"])
def test_both_means_of_a_difference_are_of_one_f(learn):
    """With spectral norm each call in training mode moves the power iteration: two calls would be of two functions."""
    prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(9, 9)).train()
    codes, before = torch.randn(20, 5), copy.deepcopy(prior)
    if learn == "energy":
        updates = learn_energy(prior, codes, LangevinConfig(steps=3, step_size=0.4))
    else:
        updates = learn_ratio(prior, codes)
    next(updates)
    before(codes)  # one call
    for now, then in zip(prior.buffers(), before.buffers(), strict=True):
        assert torch.equal(now, then)


# ---- levels that join one after the other ---------------------------------------------------------------------------


def test_a_level_that_waits_says_nothing_and_its_kl_has_a_weight_of_its_own():
    """Level 1 of two waits: the generator learns nothing of its code, its encoder only of its KL; later all is as ever."""
    model = build_model(tiny_model())
    x = load_dataset("digits", "train").batch(slice(0, 10))
    training = TrainingConfig(epochs=4, energy=EnergyConfig(ladder_epochs=4, level_epochs=2, inactive_kl=0.25))

    def loss_at(epoch, config=training):
        (update,) = ladder_alone(model, x, config, epoch, torch.Generator().manual_seed(1))
        return update

    early, entry = loss_at(1.9), next(r.entry for r in model.generator.rungs if r.entry is not None).linear.weight
    assert not torch.autograd.grad(early.loss, entry, retain_graph=True)[0].any()
    kl = early.terms["kl"]
    expected = early.terms["sse"] / (2 * model.sigma**2) + 0.25 * kl[0] + kl[1]
    assert early.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    late = loss_at(2.0)
    assert torch.autograd.grad(late.loss, entry)[0].any()
    at_once = replace(training, energy=EnergyConfig(ladder_epochs=4))
    assert late.loss.item() == loss_at(2.0, at_once).loss.item() != early.loss.item()


def test_all_levels_must_have_joined_before_the_energy_learns():
    with pytest.raises(ValueError, match="last level joins after 2 epochs"):
        experiment(EnergyConfig(ladder_epochs=2, level_epochs=2), epochs=3)
    with pytest.raises(ValueError, match="level_epochs must not be negative"):
        EnergyConfig(level_epochs=-1)
