"""The page of 80 lines against the library, on the same weights and the same noise."""

import json

import pytest
import torch
from shared import ROOT
from torch import nn
from torch.distributions import Independent

from hebm_lib import JointEBM, JointEBMPrior, LatentSpec, langevin_dynamics
from hebm_lib.algorithm import learn_energy, learn_ladder
from hebm_lib.config import LangevinConfig, TrainingConfig

PAGE = ROOT / "notebooks" / "03-eighty-lines.ipynb"


def source(cell_id: str) -> str:
    cells = json.loads(PAGE.read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["id"] == cell_id))


@pytest.fixture
def page() -> dict:
    """What the page's cells define, before training."""
    names: dict = {}
    for cell_id in ("data", "networks", "model", "learning"):
        exec(source(cell_id), names)
    names["f"].eval()
    return names


@pytest.fixture
def prior(page) -> JointEBMPrior:
    prior = JointEBMPrior(LatentSpec((page["D_1"], page["D_2"])), hidden=(50, 50)).eval()
    for mine, theirs in zip(prior.energy.layers, page["layers"], strict=True):
        mine.load_state_dict(theirs.state_dict())
    return prior


@pytest.fixture
def model(page, prior) -> JointEBM:
    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([page["g_1"], page["g_2"]])

        def forward(self, z):
            return page["generate"](z)

    class Inference(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList([page[name] for name in ("h_1", "h_2", "head_1", "head_2")])

        def forward(self, x):
            return Independent(page["infer"](x), 1)

    return JointEBM(Generator(), Inference(), prior, sigma=page["SIGMA"])


def gradients(loss, parameters) -> list[torch.Tensor]:
    return torch.autograd.grad(loss, list(parameters))


def test_the_program_has_about_eighty_lines():
    cells = ("data", "networks", "model", "learning", "train")
    lines = [line for cell in cells for line in source(cell).splitlines() if line.strip()]
    assert len(lines) <= 85
    text = "\n".join(lines)
    assert "hebm_lib" not in text
    assert all(f"# Eq. {number}" in text for number in (3, 5, 8, 10, 11, 12, 13, 14))


def test_eq_3_is_the_librarys(page, prior):
    z = 2 * torch.randn(200, 2)
    torch.testing.assert_close(page["f"](z), prior(z))
    torch.testing.assert_close(page["log_prior"](z), prior.log_prob_unnormalized(z))


def test_eq_13_is_the_librarys(page, prior):
    z0 = torch.randn(100, 2)
    torch.manual_seed(3)
    found = page["langevin"](z0, 10, 0.4)
    noise = torch.Generator().manual_seed(3)
    expected = langevin_dynamics(prior.log_prob_unnormalized, z0, 10, 0.4, generator=noise)
    torch.testing.assert_close(found, expected)
    assert (found - z0).abs().mean() > 0.1


def test_the_bounds_terms_are_the_librarys(page, model):
    x = page["images"][:20]
    q = page["infer"](x)
    z = q.rsample()
    terms = model.elbo(x, z=z)
    torch.testing.assert_close(page["bound"](x, q, z), terms.elbo_plus_log_z)
    torch.testing.assert_close(page["bound"](x, q, z, warm=0.0), terms.reconstruction)


def test_eq_10_is_the_librarys(page, prior):
    z_plus = torch.randn(50, 2) + 1
    langevin = LangevinConfig(steps=8, step_size=0.4)
    (update,) = learn_energy(prior, z_plus, langevin, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(4)
    z_minus = page["langevin"](torch.randn(50, 2), 8, 0.4)
    loss = page["alpha_loss"](z_plus, z_minus)
    torch.testing.assert_close(loss, update.loss)
    for mine, theirs in zip(gradients(update.loss, prior.parameters()), gradients(loss, page["f"].parameters())):
        torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=1e-4)


def test_eq_11_and_12_are_the_librarys(page, model):
    x = page["images"][:30]
    q = page["infer"](x)
    z = q.rsample()
    ladder = [*model.generator.parameters(), *model.inference.parameters()]
    mine = torch.autograd.grad(-page["bound"](x, q, z).mean(), ladder, retain_graph=True)
    settings = TrainingConfig(epochs=1, kl_warmup_epochs=0)
    (update,) = learn_ladder(model, x, settings, 1.0, z=z, posterior=Independent(q, 1))
    for a, b in zip(mine, gradients(update.loss, ladder)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert any(gradient.abs().max() > 0 for gradient in mine)
