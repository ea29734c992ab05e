"""What every baseline promises: the joint EBM's methods, the same trainer, the same metrics, the same files."""

import contextlib
import json
import math
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment, tiny_model

from hebm_lib import Trainer, build_model, load_dataset, load_experiment
from hebm_lib.algorithm import algorithm_1, parameter_groups
from hebm_lib.baselines import (
    ABP,
    BIVA,
    HVAE,
    JEBM,
    LVAE,
    MEG,
    NCPVAE,
    RAE,
    SRI,
    VAE,
    VLAE,
    BiGAN,
    LatentEBM,
    MultiNCP,
    ProVLAE,
    TwoStageVAE,
)
from hebm_lib.checkpoint import CheckpointError, load_model, save_model
from hebm_lib.config import (
    BaselineConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
    from_dict,
    to_dict,
)
from hebm_lib.evaluation import draw_figures, metrics_table
from hebm_lib.experiments import EXPERIMENTS
from hebm_lib.experiments.recipe import STEADY
from hebm_lib.metrics.summary import measure_model
from hebm_lib.model import BUILDERS

NONE = PriorConfig(hidden=())
ONE_LEVEL = {
    "latent_dims": (3,),
    "generator": GeneratorConfig(
        factors=(),
        widths=(),
        entries=(),
        top_hidden=(16,),
        base_factor=4,
        base_width=8,
        plain_factors=(2,),
        plain_widths=(6,),
    ),
    "inference": InferenceConfig(
        factors=(), widths=(), reads=(), top_hidden=(16,), plain_factors=(2,), plain_widths=(6,)
    ),
}
THREE_MAPS = {
    "generator": GeneratorConfig(
        factors=(2, 4), widths=(6, 6), entries=("map", "map"), top_hidden=(16,), base_factor=4, base_width=8
    ),
    "inference": InferenceConfig(factors=(2, 4), widths=(6, 6), reads=("map", "map"), top_hidden=(16,)),
}
SHORT = BaselineConfig(posterior=LangevinConfig(steps=4, step_size=0.1))
MODELS: dict[str, tuple[type, ModelConfig]] = {
    "vae": (VAE, tiny_model(kind="vae", prior=NONE, **ONE_LEVEL)),
    "vlae": (VLAE, tiny_model(kind="vlae", prior=NONE)),
    "vlae, published choices": (
        VLAE,
        tiny_model(
            kind="vlae",
            prior=NONE,
            generator=GeneratorConfig(
                factors=(0,),
                widths=(12,),
                entries=("map",),
                top_hidden=(16,),
                base_factor=4,
                base_width=8,
                join="gate",
                batch_norm=True,
            ),
            inference=InferenceConfig(
                factors=(2,), widths=(6,), reads=("map",), top_hidden=(16,), batch_norm=True, deviation="sigmoid"
            ),
            baseline=BaselineConfig(likelihood="laplace"),
        ),
    ),
    "provlae": (ProVLAE, tiny_model(kind="provlae", prior=NONE, baseline=BaselineConfig(epochs_per_step=0.5))),
    "lebm": (
        LatentEBM,
        tiny_model(kind="lebm", baseline=BaselineConfig(posterior=LangevinConfig(steps=4, step_size=0.1)), **ONE_LEVEL),
    ),
    "abp": (ABP, tiny_model(kind="abp", prior=NONE, baseline=SHORT, **ONE_LEVEL)),
    "sri": (SRI, tiny_model(kind="sri", prior=NONE, latent_dims=(4, 3, 2), baseline=SHORT, **THREE_MAPS)),
    "twostage": (
        TwoStageVAE,
        tiny_model(
            kind="twostage",
            prior=NONE,
            latent_dims=(3, 2),
            generator=GeneratorConfig(
                factors=(0,), widths=(12,), entries=("map",), top_hidden=(16,), base_width=8, join="replace"
            ),
            baseline=BaselineConfig(first_stage=1.6),
        ),
    ),
    "rae": (RAE, tiny_model(kind="rae", prior=NONE, baseline=BaselineConfig(components=3), **ONE_LEVEL)),
    "meg": (MEG, tiny_model(kind="meg", prior=NONE, baseline=replace(SHORT, gradient_penalty=100.0), **ONE_LEVEL)),
    "bigan": (BiGAN, tiny_model(kind="bigan", prior=NONE, **ONE_LEVEL)),
    "multincp": (
        MultiNCP,
        tiny_model(kind="multincp", baseline=replace(SHORT, epochs_per_step=1.0), **ONE_LEVEL),
    ),
    "jebm": (JEBM, tiny_model(kind="jebm", baseline=SHORT)),
    "ncpvae": (NCPVAE, tiny_model(kind="ncpvae")),
    "lvae": (
        LVAE,
        tiny_model(
            kind="lvae",
            prior=NONE,
            latent_dims=(4, 3, 2),
            generator=replace(THREE_MAPS["generator"], join="replace"),
            inference=THREE_MAPS["inference"],
        ),
    ),
    "lvae, vectors": (
        LVAE,
        tiny_model(
            kind="lvae",
            prior=NONE,
            latent_dims=(4, 3, 2),
            generator=GeneratorConfig(
                factors=(0, 0),
                widths=(12, 10),
                entries=("map", "map"),
                top_hidden=(16,),
                base_factor=4,
                base_width=8,
                join="replace",
            ),
            inference=THREE_MAPS["inference"],
        ),
    ),
    "hvae": (
        HVAE,
        tiny_model(
            kind="hvae",
            prior=NONE,
            latent_dims=(2 * 16, 3, 2),
            generator=replace(THREE_MAPS["generator"], local_levels=(1,)),
            inference=THREE_MAPS["inference"],
            baseline=BaselineConfig(free_bits=0.5, free_bits_epochs=1),
        ),
    ),
    "hvae, dense": (HVAE, tiny_model(kind="hvae", prior=NONE, latent_dims=(2, 3, 2), **THREE_MAPS)),
    "biva": (
        BIVA,
        tiny_model(
            kind="biva", prior=NONE, latent_dims=(4, 6, 3), baseline=BaselineConfig(free_bits=0.5), **THREE_MAPS
        ),
    ),
    "biva, bernoulli": (
        BIVA,
        tiny_model(
            kind="biva",
            prior=NONE,
            latent_dims=(2, 2, 3),
            generator=replace(THREE_MAPS["generator"], join="concat"),
            inference=replace(THREE_MAPS["inference"], plain_factors=(8,), plain_widths=(5,)),
            baseline=BaselineConfig(likelihood="bernoulli"),
        ),
    ),
}
OURS = {
    "joint EBM": tiny_model(),
    "joint EBM, one f per level": tiny_model(prior=PriorConfig(hidden=(10,), levels="separate")),
    "joint EBM, persistent chains": tiny_model(prior=PriorConfig(hidden=(10,), chains=30)),
}
HIERARCHIES = [name for name, (kind, _) in MODELS.items() if kind in (LVAE, HVAE, BIVA, SRI, TwoStageVAE)]


def make(name: str, seed: int = 0):
    torch.manual_seed(seed)
    return build_model(MODELS[name][1])


def experiment(name: str, **training):
    settings = {"langevin": LangevinConfig(steps=3 if MODELS[name][1].prior.hidden else 0, step_size=0.4)} | training
    return tiny_experiment(model=MODELS[name][1], **settings)


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 6))


# ---- build ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_config_says_which_model(name):
    kind, config = MODELS[name]
    assert type(make(name)) is kind
    assert from_dict(ModelConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="no model of kind 'nvae'; there are .*biva, .*hvae, .*joint-ebm, .*lebm, .*lvae, .*provlae"
    ):
        build_model(tiny_model(kind="nvae"))


def test_a_file_of_an_unknown_kind_is_named(tmp_path):
    save_model(make("vae"), replace(MODELS["vae"][1], kind="nvae"), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="names another library's.*'nvae'"):
        load_model(tmp_path / "model.safetensors")


def test_a_config_written_before_there_were_baselines_still_loads():
    values = to_dict(tiny_model())
    for part, names in (
        ("generator", ("plain_factors", "plain_widths", "local_levels", "batch_norm")),
        ("inference", ("plain_factors", "plain_widths", "batch_norm", "deviation")),
    ):
        for name in names:
            del values[part][name]
    del values["baseline"]
    assert from_dict(ModelConfig, values) == tiny_model()


WRONG = [
    (lambda: build_model(tiny_model(kind="vlae")), "has no energy: set model.prior.hidden"),
    (lambda: build_model(tiny_model(kind="vae", prior=NONE)), "a VAE has one level"),
    (lambda: build_model(tiny_model(kind="lebm")), "the latent EBM has one level"),
    (lambda: build_model(replace(MODELS["biva"][1], latent_dims=(3, 6, 3))), "must be even"),
    (
        lambda: build_model(
            replace(
                MODELS["biva"][1],
                inference=InferenceConfig(factors=(2, 2), widths=(6, 6), reads=("map", "map"), top_hidden=(16,)),
            )
        ),
        "factors must be equal",
    ),
    (
        lambda: build_model(
            tiny_model(kind="lvae", prior=NONE, inference=InferenceConfig(factors=(2,), widths=(6,), reads=("pooled",)))
        ),
        "reads maps",
    ),
    (lambda: GeneratorConfig(join="replace", entries=("gain",)), "nothing to shift or to multiply"),
    (lambda: GeneratorConfig(plain_factors=(2,)), "one positive plain_widths each"),
    (lambda: GeneratorConfig(plain_factors=(4,), plain_widths=(8,)), "lie below the bottom level"),
    (lambda: InferenceConfig(plain_factors=(3,), plain_widths=(8,)), "ascending powers of two"),
    (lambda: InferenceConfig(factors=(4,), plain_factors=(2,), plain_widths=(8,)), "do not fall"),
    (lambda: GeneratorConfig(local_levels=(2,)), "local_levels must be levels below the top"),
    (lambda: tiny_model(generator=replace(tiny_model().generator, local_levels=(1,))), "multiple of the 16 places"),
    (lambda: BaselineConfig(likelihood="poisson"), "BaselineConfig.likelihood"),
    (lambda: BaselineConfig(free_bits=-1.0), "free_bits must not be negative"),
    (lambda: BaselineConfig(epochs_per_step=0.0), "epochs_per_step must be positive"),
]


@pytest.mark.parametrize("make_it, message", WRONG, ids=[message for _, message in WRONG])
def test_what_does_not_fit_is_an_error(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


# ---- the joint EBM's methods ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_shapes_of_every_method(name, x):
    model = make(name).eval()
    d, levels = model.latents.total, model.latents.levels
    posterior = model.encode(x)
    assert posterior.mean.shape == posterior.stddev.shape == (6, d) and posterior.batch_shape == (6,)
    assert (posterior.stddev > 0).all()
    z = posterior.mean
    assert model.decode(z).shape == x.shape and model.decode(z).abs().max() <= 1
    torch.testing.assert_close(model.reconstruct(x), model.decode(z))
    terms = model.elbo(x)
    assert terms.kl.shape == (6, levels)
    assert terms.reconstruction.shape == terms.energy.shape == terms.sse.shape == (6,)
    assert model.log_joint(x, z).shape == model.log_likelihood(x, z).shape == (6,)
    assert [part.shape[1] for part in model.latents.split(z)] == list(model.latents.dims)
    images = model.sample(5, 2, 0.4)
    assert images.shape == (5, 1, 8, 8) and not images.requires_grad


@pytest.mark.parametrize("name", MODELS)
def test_images_of_another_shape_are_refused(name):
    model = make(name)
    with pytest.raises(ValueError, match="expected images"):
        model.encode(torch.zeros(2, 1, 9, 9))


@pytest.mark.parametrize("name", MODELS)
def test_samples_are_repeatable(name):
    model = make(name).eval()
    a, b, c = (model.prior.sample(3, 2, 0.4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("name", MODELS)
def test_log_joint_by_hand(name, x):
    model = make(name).eval()
    z = torch.randn(6, model.latents.total)
    by_hand = model.pixel_log_likelihood(x, model.decode(z)) + model.prior.log_prob_unnormalized(z)
    torch.testing.assert_close(model.log_joint(x, z), by_hand)


# ---- training -------------------------------------------------------------------------------------------------------


def updates(model, x, config, epoch=1.0):
    return model.algorithm(x, config.training, epoch, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", MODELS)
def test_a_gradient_reaches_every_parameter(name, digits):
    model, config = make(name).train(), experiment(name)
    if hasattr(model, "settings"):
        model.settings = replace(model.settings, free_bits=0.0)  # free units have no gradient, that is their point
    stages = {"multincp": (0.0, 1.0, 2.0), "twostage": (0.0, 2.0)}  # which learn one after another
    for epoch in stages.get(name, (1.0,)):
        for update in updates(model, digits.batch(slice(0, 60)), config, epoch):
            update.loss.backward(inputs=model.parameter_groups()[update.group])
    silent = {n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0}
    # What is added to f everywhere: its gradient is 0 by Eq. 10.
    assert silent <= {"prior.energy.layers.2.bias", *(f"prior.energy.levels.{i}.layers.2.bias" for i in (0, 1))}


@pytest.mark.parametrize("name", MODELS)
def test_groups_share_the_parameters_out(name):
    model = make(name)
    listed = [id(p) for group in model.parameter_groups().values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    parts = [id(p) for part in (model.generator, model.inference, model.prior) for p in part.parameters()]
    assert sorted(parts) == sorted(listed), "publishing counts the three parts"


@pytest.mark.parametrize("name", MODELS)
def test_ten_steps_on_the_embedded_digits(name, tmp_path):
    data = load_dataset("digits", "train").subset(slice(0, 500))
    rate = 2e-2 if name == "twostage" else 5e-3  # whose first stage has but eight steps here
    config = experiment(name, epochs=2, log_every=1, optimiser=OptimiserConfig(lr_beta_phi=rate))
    torch.manual_seed(1)
    trainer = Trainer(build_model(config.model), config, tmp_path / "run", progress=False).fit(data)
    assert trainer.step == 10
    rows = trainer.history
    assert all(math.isfinite(value) for row in rows for value in row.values())
    errors = [row["sse"] for row in rows if "sse" in row]  # a later stage may make no images
    assert (
        errors[-1] < 0.95 * errors[0] if errors else name in ("meg", "bigan")
    )  # whose samples have a test of their own
    whole = trainer.model.state_dict()

    half = Trainer(
        build_model(config.model), replace(config, training=replace(config.training, epochs=1)), progress=False
    )
    half.run_dir = tmp_path / "half"
    torch.manual_seed(1)
    half.model.load_state_dict(build_model(config.model).state_dict())
    half.fit(data)
    again = Trainer(build_model(config.model), config, progress=False).resume(tmp_path / "half").fit(data)
    assert all(torch.equal(whole[key], tensor) for key, tensor in again.model.state_dict().items())


@pytest.mark.parametrize("name", [*MODELS, *OURS])
def test_a_step_stays_on_its_device(name, monkeypatch):
    """On torch's meta device to read a value, or to add or multiply with a tensor of the CPU, is an error."""
    config = OURS[name] if name in OURS else MODELS[name][1]
    langevin = LangevinConfig(steps=3 if config.prior.hidden else 0, step_size=0.4)
    training = tiny_experiment(model=config, langevin=langevin, kl_warmup_epochs=2).training
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # unknown to this device
    model = build_model(config).to("meta").train()
    own = hasattr(model, "algorithm")
    groups = model.parameter_groups() if own else parameter_groups(model)
    x = torch.empty(5, config.image_channels, config.image_size, config.image_size, device="meta")
    steps = model.algorithm(x, training, 0.5, None) if own else algorithm_1(model, x, training, 0.5, None)
    for update in steps:
        update.loss.backward(inputs=groups[update.group])
        assert {term.device.type for term in (update.loss, *update.terms.values())} == {"meta"}


def test_a_seed_makes_a_run():
    data, config = load_dataset("digits", "train").subset(slice(0, 300)), experiment("biva", epochs=1)
    one, again = (Trainer(make("biva"), config, progress=False).fit(data) for _ in range(2))
    state, other = one.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_from_its_file(name, x, tmp_path):
    model = make(name)
    for update in updates(model, x, experiment(name)):  # batch norm's statistics and pro-VLAE's stage have moved
        assert update.loss.isfinite()
    model.eval()
    save_model(model, MODELS[name][1], tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert type(again) is type(model) and again.config == MODELS[name][1] and not again.training
    state, other = model.state_dict(), again.state_dict()
    assert state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)
    # What is loaded has its channels last, which sums in another order.
    assert torch.equal(again.reconstruct(x), model.to(memory_format=torch.channels_last).reconstruct(x))
    a, b = (m.prior.sample(4, 2, 0.4, generator=torch.Generator().manual_seed(1)) for m in (model, again))
    assert torch.equal(a, b)

    save_model(model, MODELS[name][1], tmp_path / "half.safetensors", half=True)
    torch.testing.assert_close(load_model(tmp_path / "half.safetensors").decode(a), model.decode(a), atol=2e-2, rtol=0)


# ---- metrics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_measure_of_the_book_can_be_taken(name, tmp_path):
    model, config = make(name).eval(), experiment(name)
    train, test = (load_dataset("digits", split).subset(slice(0, 120)) for split in ("train", "test"))
    metrics = measure_model(model, config, train, test)
    levels = model.latents.levels
    assert len(metrics["kl"]) == len(metrics["latent_accuracy"]) == levels
    total = metrics["reconstruction"] - sum(metrics["kl"]) + metrics["f_posterior"]
    assert metrics["elbo_plus_log_z"] == pytest.approx(total, rel=1e-4)
    assert (abs(metrics["f_prior"]) < 1e-4) == (not MODELS[name][1].prior.hidden)
    assert f"z_{levels} (top)" in metrics_table(metrics, config) or levels == 1
    made = {path.stem for path in draw_figures(model, config, test, [], tmp_path)}
    assert made >= {"samples", "reconstructions"} | {f"hierarchy_level_{i + 1}" for i in range(levels)}
    assert ("energy_profile" in made) == bool(MODELS[name][1].prior.hidden)


# ---- the registry ---------------------------------------------------------------------------------------------------

ENTRIES = {name: config for name, config in EXPERIMENTS.items() if config.model.kind != "joint-ebm"}


def test_every_kind_has_an_entry_for_mnist_and_three_for_fashion():
    kinds = {config.model.kind for config in ENTRIES.values()}
    contrastive = {"ncpvae", "multincp", "jebm"}  # theirs hang on the ladder with fresh chains
    for kind in kinds:
        assert f"mnist-{'capped-' if kind in contrastive else ''}{kind}" in ENTRIES
        assert kind == "vae" or f"published-{kind}" in ENTRIES
    assert kinds == set(BUILDERS) - {"joint-ebm"}
    assert {"fashion-vae", "fashion-vlae", "fashion-hvae"} <= ENTRIES.keys()


def test_vlae_is_the_joint_ebm_without_the_energy():
    joint, ladder = load_experiment("mnist-capped"), load_experiment("mnist-vlae")
    assert ladder.data == joint.data
    assert replace(ladder.model, kind=joint.model.kind, prior=joint.model.prior) == joint.model
    assert replace(ladder.training, langevin=joint.training.langevin) == joint.training


@pytest.mark.parametrize("name", [n for n in ENTRIES if not n.startswith("published")])
def test_entries_of_one_table_share_what_they_can(name):
    base = next((known for known in ("mnist-012", "shapes3d") if name.startswith(known)), name.rpartition("-")[0])
    capped = {"mnist": "mnist-capped", "fashion": "mnist-capped", "mnist-012": "mnist-012-capped"}
    joint = load_experiment(capped.get(base, base))
    config = ENTRIES[name]
    assert config.model.sigma == joint.model.sigma and config.data.size == joint.data.size
    # An energy learns at a rate of its own: how sharp its codes are decides how fast. So do two networks against each other.
    rates = ["lr_alpha"] + ["lr_beta_phi"] * (config.model.kind in ("meg", "bigan"))
    own = {rate: getattr(config.training.optimiser, rate) for rate in rates}
    if base in STEADY and name.rpartition("-")[2] not in STEADY[base]:  # trained before that recipe was found
        own["betas"] = (0.5, 0.999)
    assert config.training.optimiser == replace(joint.training.optimiser, **own)
    longer = 3 if name.endswith("-long") else 1  # it says so, and stands in no table of like budgets
    assert config.training.epochs <= longer * joint.training.epochs
    assert config.training.batch_size == joint.training.batch_size
    with torch.device("meta"):
        model = build_model(config.model)
    count = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("generator", "inference")}
    prior = sum(p.numel() for p in model.prior.parameters())
    whole = 4 if config.model.prior.hidden else 2  # an energy is stored in float32
    assert 2 * sum(count.values()) + whole * prior < 2_950_000, "weights are published in at most 3 MB"
