"""Page 00's diagram and table: what they say of a model is what the model's code does."""

import re
from dataclasses import replace

import pytest
import torch
import yaml
from matplotlib.colors import to_hex
from shared import ROOT, tiny_model

from hebm_lib import Trainer, build_model, load_experiment
from hebm_lib.experiments import EXPERIMENTS, experiment_of
from hebm_lib.model import BUILDERS
from hebm_lib.plotting import ALPHA, BETA, DATA, PHI
from hebm_lib.reproduction.figures.family import (
    CODE,
    FAMILY,
    draw_costs,
    draw_family,
    draw_member,
    draw_redraws,
    on_digits,
    places,
)
from hebm_lib.reproduction.figures.relations import (
    CONDITIONAL,
    ONE_LEVEL,
    WITH_ENERGY,
    arrows,
    codes_of,
    drawn,
    followers,
    heard,
    sources,
)
from hebm_lib.reproduction.figures.systems import OTHERS, entry_of, family_table, others_table
from hebm_lib.training.phases import phases_of


def entry(kind: str):
    return load_experiment(experiment_of("mnist", kind))


def small(kind: str):
    torch.manual_seed(0)
    return build_model(on_digits(entry(kind)).model).double().eval()


# ---- the arrows and the code ----------------------------------------------------------------------------------------


def test_the_family_and_the_others_are_all_kinds_that_can_be_built():
    """Seventeen, none of them twice."""
    assert FAMILY.keys() | OTHERS.keys() == BUILDERS.keys() and len(FAMILY) + len(OTHERS) == len(BUILDERS) == 17


def test_the_groups_are_what_the_models_are():
    for kind in FAMILY:
        model = small(kind)
        assert (kind in ONE_LEVEL) == (model.latents.levels == 1)
        assert (kind in CONDITIONAL) == hasattr(model.prior, "walk")
        assert (kind in WITH_ENERGY) == (
            sum(p.numel() for p in model.prior.parameters()) > 0 and kind not in CONDITIONAL
        )


@pytest.mark.parametrize("kind", FAMILY)
def test_generation_arrows_are_what_the_model_computes(kind):
    """A level is redrawn: just the priors and images change to which an arrow leads."""
    model = small(kind)
    assert heard(model) == drawn(kind, model.latents.levels)


def test_generation_arrows_of_six_levels():
    torch.manual_seed(0)
    model = build_model(entry("biva").model)
    assert heard(model) == drawn("biva", 6) == {level: set(range(level + 1, 7)) for level in range(7)}
    assert all(sources(arrows("biva", 6).generation, code) == {"z6", "b5", "t5"} for code in ("b4", "t4"))


def test_generation_arrows_by_hand():
    assert drawn("vae") == drawn("lebm") == {0: {1}, 1: set()}
    assert drawn("vlae") == drawn("joint-ebm") == {0: {1, 2, 3}, 1: set(), 2: set(), 3: set()}
    assert drawn("lvae") == {0: {1}, 1: {2}, 2: {3}, 3: set()}
    assert drawn("hvae") == {0: {1, 2, 3}, 1: {2, 3}, 2: {3}, 3: set()}


def test_asking_a_model_leaves_it_as_it_was():
    model = small("hvae").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    heard(model)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def columns_of(model, kind: str) -> dict[str, slice]:
    """Which columns of z hold which code."""
    found, levels = {}, model.latents.levels
    for level in range(1, levels + 1):
        whole, codes = model.latents.columns(level), codes_of(kind, level, levels)
        size = (whole.stop - whole.start) // len(codes)
        found |= {code: slice(whole.start + k * size, whole.start + (k + 1) * size) for k, code in enumerate(codes)}
    return found


def reached_by(kind: str, node: str, levels: int) -> set[str]:
    """Codes that an inference arrow leads from to ``node``, by way of anything: other codes and features of both sides."""
    graph = arrows(kind, levels)
    edges = graph.inference + tuple(edge for edge in graph.generation if edge[1][0] == "h")
    found = {node}
    while more := {start for start, end in edges if end in found} - found:
        found |= more
    return {name for name in found - {node} if name[0] in "zbt"}


@pytest.mark.parametrize("kind", [k for k in FAMILY if k != "lebm"])
def test_inference_arrows_are_what_the_model_computes(kind, digits):
    """The noise of one code is changed: just the posterior means move to which arrows lead from it."""
    model, x = small(kind), digits.batch(slice(0, 4)).double()
    if kind == "joint-ebm":  # its draw is encode's; nothing in encode sees a code
        assert not any(reached_by(kind, f"z{level}", 3) for level in (1, 2, 3))
        return
    levels, noise = model.latents.levels, torch.randn(4, model.latents.total, dtype=torch.float64)
    columns = columns_of(model, kind)
    first = model.infer(x, noise)
    for moved, place in columns.items():
        other = noise.clone()
        other[:, place] += 1
        again = model.infer(x, other)
        for code, own in columns.items():
            changed = not torch.equal(first.mean[:, own], again.mean[:, own])
            assert changed == (moved in reached_by(kind, code, levels)), (moved, code)


@pytest.mark.parametrize("kind", FAMILY)
def test_every_code_is_inferred_from_the_image(kind, digits):
    model, x = small(kind), digits.batch(slice(0, 4)).double()
    first, again = model.encode(x).mean, model.encode(x.flip(3)).mean
    graph = arrows(kind, model.latents.levels)
    for code, own in columns_of(model, kind).items():
        assert not torch.equal(first[:, own], again[:, own])
        start = {s for s, end in graph.inference if end == code}
        assert start and start <= {"x"} | {node for edge in graph.inference + graph.generation for node in edge}


def test_who_infers():
    """The latent EBM has no inference network and reads its codes through the generator; the ladders do not."""
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    for kind in ("lebm", "vae", "vlae", "joint-ebm"):
        model = small(kind)
        before = model.encode(x).mean.clone()
        with torch.no_grad():
            for parameter in model.generator.parameters():
                parameter.mul_(1.5)
        assert torch.equal(before, model.encode(x).mean) == (kind != "lebm")
        assert (sum(p.numel() for p in model.inference.parameters()) == 0) == (kind == "lebm")


def test_what_an_energy_ties():
    """The density of z_1 given the rest depends on z_3 under the joint energy, and not under independent Gaussians."""
    for kind, tied in (("joint-ebm", True), ("vlae", False)):
        model = small(kind)
        if tied:  # a fresh f is zero everywhere
            torch.nn.init.normal_(model.prior.energy.layers[-1].weight)
        z = torch.randn(5, model.latents.total, dtype=torch.float64).requires_grad_()
        slope = torch.autograd.grad(model.prior.log_prob_unnormalized(z).sum(), z)[0][:, model.latents.columns(1)]
        moved = model.latents.redraw(z.detach(), 3, 3 * torch.randn_like(z)).requires_grad_()
        other = torch.autograd.grad(model.prior.log_prob_unnormalized(moved).sum(), moved)[0]
        assert torch.equal(slope, other[:, model.latents.columns(1)]) is not tied


def test_followers_by_hand():
    assert followers("vlae", 3) == {"x"}
    assert followers("lvae", 3) == {"z2", "z1", "x"} and followers("lvae", 1) == {"x"}
    assert followers("hvae", 2) == {"z1", "x"}
    assert followers("biva", 2) == {"b1", "t1", "x"}
    assert followers("vae", 1) == {"x"}


# ---- the drawings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILY)
def test_a_panel_has_every_arrow_in_its_colour(kind):
    ax, graph = draw_member(kind), arrows(kind)
    drawn = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    colors = [to_hex(text.arrow_patch.get_edgecolor()).upper() for text in drawn]
    infers = DATA if kind == "lebm" else PHI
    assert colors == [BETA] * len(graph.generation) + [infers] * len(graph.inference)
    solid = [text.arrow_patch.get_linestyle() == "-" for text in drawn]
    assert solid == [True] * len(graph.generation) + [False] * len(graph.inference)
    spots = places(kind)
    for text, (start, end) in zip(drawn, graph.generation + graph.inference, strict=True):
        assert (text.xyann, text.xy) == (spots[start], spots[end])


@pytest.mark.parametrize("kind", FAMILY)
def test_a_panel_names_every_code_and_ties_the_energy_to_each(kind):
    ax = draw_member(kind)
    codes = {node for node in places(kind) if node[0] in "zbt"}
    words = [text.get_text() for text in ax.texts]
    assert sum(word.startswith("$z") for word in words) == len(codes) == len({w for w in words if w.startswith("$z")})
    ties = [line for line in ax.lines if line.get_color() == ALPHA and len(line.get_xdata()) == 3]
    ends = {(line.get_xdata()[-1], line.get_ydata()[-1]) for line in ties}
    assert ends == ({places(kind)[code] for code in codes} if kind in WITH_ENERGY else set())
    assert (r"$f_\alpha$" in words) == (kind in WITH_ENERGY)
    assert (words[-3:] == ["learned first", "second", "third"]) == (kind == "provlae")


def test_what_is_redrawn_is_filled_and_what_follows_lightly():
    faces = {}
    for line in draw_member("biva", marked=2).lines:
        if line.get_markersize() == 2 * CODE:
            faces[tuple(float(v[0]) for v in line.get_data())] = to_hex(line.get_markerfacecolor())
    spots = places("biva")
    assert {faces[spots[node]] for node in ("b2", "t2")} == {BETA.lower()}
    assert {faces[spots[node]] for node in ("b1", "t1", "x")} == {"#f6c9a8"} and faces[spots["z3"]] == "#ffffff"


def test_no_two_nodes_touch():
    for kind in FAMILY:
        spots = list(places(kind).values())
        gaps = [abs(complex(*a) - complex(*b)) for i, a in enumerate(spots) for b in spots[:i]]
        assert min(gaps) > 0.6


def test_the_diagram_has_a_panel_per_model():
    figure = draw_family()
    assert [ax.get_title() for ax in figure.axes] == [f"{m.name}\n{m.density}" for m in FAMILY.values()]
    assert figure.get_size_inches()[0] <= 6.4, "labels shrink with the figure on a phone"
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"generation", "inference by a network", "inference by a chain"} <= names


@pytest.mark.parametrize("kind", ["vae", "lvae", "joint-ebm"])
def test_redraws_move_the_images(kind):
    model = small(kind)
    for level in (1, 3):
        left, right = draw_redraws(model.float(), kind, level, {"steps": 2, "step_size": 0.4}, rows=2, columns=3).axes
        grid = right.images[0].get_array()
        assert grid.shape == (2 * 9 + 1, 3 * 9 + 1)
        assert abs(grid[1:9, 1:9] - grid[1:9, 10:18]).max() > 0, "in LVAE too, where the image sees z_1 alone"


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> dict:
    """Made-up times."""
    rows = {}
    for seconds, kind in enumerate(FAMILY, start=2):
        chains = {"prior": {"steps": 60, "seconds": 0.1}} if kind in WITH_ENERGY else {}
        chains |= {"posterior": {"steps": 8, "seconds": 0.5}} if kind == "lebm" else {}
        rows[kind] = {
            "parameters": {"generator": 500_000, "inference": 250_000, "prior": 0},
            "step": {"seconds": float(seconds)},
            "chains": chains,
            "seconds_per_epoch": 600.0 * seconds,
        }
    return rows


def test_the_table_links_each_model_to_its_file_and_its_pages(bench):
    lines = family_table(bench).splitlines()
    assert len(lines) == 2 + len(FAMILY) and len({line.count("|") for line in lines}) == 1
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    for (kind, member), line in zip(FAMILY.items(), lines[2:], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        file = re.match(rf"\[{re.escape(member.name)}\]\({re.escape(url)}/blob/main/([\w/]+\.py)\)", cells[0]).group(1)
        assert f'@register("{kind}")' in (ROOT / file).read_text()
        for number, page in re.findall(r"\[(\d\d)\]\(([\w-]+\.ipynb)\)", cells[0]):
            assert page.startswith(number) and number in member.pages
            assert member.name in (ROOT / "notebooks" / page).read_text()
        assert cells[1] == ", ".join(map(str, entry(kind).model.latent_dims)) and cells[-2] == "0.75M"
    assert "10-full-training.ipynb" in lines[-1]


def test_the_steps_in_the_table_are_those_of_the_registry(bench):
    lines = dict(zip(FAMILY, family_table(bench).splitlines()[2:], strict=True))
    posterior = entry("lebm").model.baseline.posterior.steps
    assert f"{posterior} steps through" in lines["lebm"]
    assert all(f"{entry(kind).training.langevin.steps} steps on" in lines[kind] for kind in WITH_ENERGY)
    assert all("steps" not in line for kind, line in lines.items() if kind not in WITH_ENERGY)
    assert all(entry(kind).training.langevin.steps == 0 for kind in FAMILY if kind not in WITH_ENERGY)


def test_the_others_stand_with_what_their_entries_and_runs_say():
    lines = dict(zip(OTHERS, others_table().splitlines()[2:], strict=True))
    for kind, line in lines.items():
        config, cells = entry_of(kind), [cell.strip() for cell in line.strip("|").split("|")]
        assert f"baselines/{BUILDERS[kind].__module__.split('.')[-1]}.py" in cells[0]
        assert cells[1] == ", ".join(map(str, config.model.latent_dims))
        assert ("steps on" in line) == bool(config.training.langevin.steps)
        assert (f"{config.model.baseline.posterior.steps} steps through" in line) == (
            kind in ("abp", "sri", "multincp", "jebm")
        )
        assert re.fullmatch(r"FD \d+|AUPRC 0\.\d\d", cells[-1])
        assert cells[0].endswith(
            "[20](20-natural-images.ipynb)" if "FD" in line else "[16](16-anomaly-detection.ipynb)"
        )


def test_the_bars_add_up(bench):
    ax = draw_costs(bench)
    prior, posterior, rest = (container.patches for container in ax.containers)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [member.name for member in FAMILY.values()][::-1]
    for kind, *bars in zip(list(FAMILY)[::-1], prior, posterior, rest, strict=True):
        total = bench[kind]["seconds_per_epoch"]
        assert sum(bar.get_width() for bar in bars) == pytest.approx(total)
        assert bars[0].get_width() == pytest.approx(60.0 if kind in WITH_ENERGY else 0)
        assert bars[1].get_width() == pytest.approx(300.0 if kind == "lebm" else 0)


# ---- small versions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILY)
def test_every_entry_trains_on_the_embedded_digits(kind, digits):
    config = on_digits(entry(kind), epochs=1)
    assert config.training.optimiser == entry(kind).training.optimiser and config.model.kind == kind
    assert len(config.model.latent_dims) == min(len(entry(kind).model.latent_dims), 3)
    if config.training.energy.fit_steps:  # hundreds of updates of α alone say no more than ten
        config = replace(
            config,
            training=replace(config.training, energy=replace(config.training.energy, fit_steps=10, end_steps=10)),
        )
    trainer = Trainer(build_model(config.model), config, progress=False).fit(digits.subset(slice(0, 200)))
    assert (
        trainer.step == phases_of(config.training, 2)[-1].end
        and torch.isfinite(torch.tensor(list(trainer.history[-1].values()))).all()
    )


def test_a_local_code_shrinks_with_its_places_and_six_levels_become_three():
    assert on_digits(EXPERIMENTS["mnist-hvae"]).model.latent_dims == (2 * 4**2, 16, 8)
    biva = on_digits(EXPERIMENTS["mnist-biva"]).model
    assert biva.latent_dims == (4, 4, 8) and biva.generator.factors == biva.inference.factors == (2, 4)
    two = replace(EXPERIMENTS["digits"], model=tiny_model())
    assert on_digits(two).model.latent_dims == (2, 3)
