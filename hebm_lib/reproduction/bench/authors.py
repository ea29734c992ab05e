"""The training of the authors' code as a contender: written anew from its facts, in their way.

Their Langevin loop calls autograd at every step on an energy in training mode, so that spectral norm iterates and
divides at every step too. Their step updates generator and inference network first and lets the gradient run into the
energy as well, where it is thrown away; Adam is torch's plain one and images lie in torch's plain memory order. Their
code keeps one tensor per level; here all levels are one tensor, which is faster and to their favour.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from hebm_lib.config import ExperimentConfig
from hebm_lib.model import build_model

__all__ = ["AuthorsEnergy", "AuthorsStep", "authors_chain"]


class AuthorsEnergy(nn.Module):
    """A perceptron with spectral norm on every layer: ``(n, d) -> (n, 1)``, the negative energy."""

    def __init__(self, dim: int, hidden: tuple[int, ...], slope: float = 0.2):
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip((dim, *hidden), (*hidden, 1), strict=True):
            layers += [spectral_norm(nn.Linear(a, b)), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def authors_chain(energy: nn.Module, z: Tensor, steps: int, step_size: float) -> Tensor:
    """``K`` steps from ``z``: ``(n, d) -> (n, d)``."""
    for _ in range(steps):
        z = z.detach().clone().requires_grad_(True)
        gradient = torch.autograd.grad(energy(z).sum(), z)[0]
        z.data += 0.5 * step_size**2 * (gradient - z.data) + step_size * torch.randn_like(z)
    return z.detach()


class AuthorsStep:
    """One whole training step on a batch, for any experiment of the registry."""

    def __init__(self, config: ExperimentConfig, device: torch.device):
        self.config, o = config, config.training.optimiser
        self.model = build_model(config.model).to(device).train()
        for module in self.model.modules():
            if isinstance(module, nn.LeakyReLU):
                module.inplace = False  # their activations make a new tensor each
        prior = config.model.prior
        self.energy = AuthorsEnergy(self.model.latents.total, prior.hidden, prior.slope).to(device).train()
        networks = [*self.model.generator.parameters(), *self.model.inference.parameters()]
        self.networks = torch.optim.Adam(networks, lr=o.lr_beta_phi, betas=o.betas, weight_decay=o.weight_decay)
        self.alpha = torch.optim.Adam(self.energy.parameters(), lr=o.lr_alpha, betas=o.betas)

    def __call__(self, x: Tensor) -> None:
        self._learn_energy(self._learn_networks(x))

    def sample(self, like: Tensor) -> Tensor:
        """z⁻: as many prior draws as ``like`` has rows, where it is."""
        langevin = self.config.training.langevin
        z = torch.randn(len(like), self.model.latents.total, device=like.device)
        return authors_chain(self.energy, z, langevin.steps, langevin.step_size)

    def _learn_networks(self, x: Tensor) -> Tensor:
        posterior = self.model.encode(x)
        z = posterior.rsample()
        normal = torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z))
        kl = posterior.log_prob(z) - normal.log_prob(z).sum(1)  # one draw, as they do
        sse = (x - self.model.decode(z)).square().sum(dim=(1, 2, 3))
        loss = (sse / (2 * self.model.sigma**2) + kl - self.energy(z).squeeze(1)).mean()
        self.networks.zero_grad()
        self.energy.zero_grad()
        loss.backward()
        self.networks.step()
        return z.detach()

    def _learn_energy(self, z_plus: Tensor) -> None:
        z_minus = self.sample(z_plus)
        loss = self.energy(z_minus).mean() - self.energy(z_plus).mean()
        self.alpha.zero_grad()
        loss.backward()
        self.alpha.step()
