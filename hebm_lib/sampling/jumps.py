"""Jumps between modes: a Metropolis step whose proposal is a mixture of Gaussians that was fitted to codes.

A Langevin chain with small steps stays in the mode in which it began, so how many chains stand in each mode says little
about how much mass f gives it. One independence step (Tierney 1994) before the Langevin steps mends that: it may carry a
chain from any mode into any other, and by Metropolis's rule the prior is its stationary law whatever the mixture is. A
poor mixture costs refusals, not truth.
"""

import math

import torch
from torch import Tensor, nn

__all__ = ["JumpProposal"]

PLAIN = 0.05
"""Share of proposals that come from N(0, I): the proposal's tails are then never lighter than the prior's own."""


class JumpProposal(nn.Module):
    """A mixture of ``components`` full Gaussians and, with a share of 5 %, N(0, I). Until `fit` it is N(0, I) alone.

    Its parameters are buffers: they are saved with the weights, move with the module and are not trained by gradient.

    Args:
        dim: d.
        components: number of fitted Gaussians, at least 1.

    Raises:
        ValueError: for fewer than one component.

    Example:
        >>> proposal = JumpProposal(2, components=3)
        >>> z = torch.zeros(5, 2)
        >>> new, taken = proposal.step(lambda z: -0.5 * z.square().sum(1), z)
        >>> new.shape, taken.dtype, proposal.log_prob(z)[0].item()
        (torch.Size([5, 2]), torch.bool, -1.837877...)
    """

    def __init__(self, dim: int, *, components: int):
        super().__init__()
        if components < 1:
            raise ValueError(f"a jump proposal has at least one component, got {components}")
        k = components + 1  # the last is N(0, I)
        self.register_buffer("log_weight", torch.full((k,), -math.log(k)))
        self.register_buffer("mean", torch.zeros(k, dim))
        self.register_buffer("scale_tril", torch.eye(dim).repeat(k, 1, 1))
        self.register_buffer("whitening", torch.eye(dim).repeat(k, 1, 1))  # its inverse

    @torch.no_grad()
    def fit(self, codes: Tensor, *, seed: int = 0) -> "JumpProposal":
        """Fit the mixture to codes ``(n, d)`` by expectation maximisation; the same codes and seed give the same mixture.

        Raises:
            ValueError: for fewer codes than components, or another width.
        """
        components, dim = len(self.mean) - 1, self.mean.shape[1]
        if codes.ndim != 2 or codes.shape[1] != dim or len(codes) < components:
            raise ValueError(f"{components} components need as many codes of width {dim}, got {tuple(codes.shape)}")
        from sklearn.mixture import GaussianMixture  # here: it takes a second to import, and few ask for jumps

        # Forty rounds are plenty: the last digits of a proposal do not matter.
        mixture = GaussianMixture(components, reg_covar=1e-3, max_iter=40, tol=1e-2, random_state=seed)
        mixture.fit(codes.double().cpu().numpy())

        def here(values) -> Tensor:
            return torch.as_tensor(values).to(self.mean)

        weight = torch.cat([here(mixture.weights_) * (1 - PLAIN), self.log_weight.new_tensor([PLAIN])])
        self.log_weight.copy_(weight.log())
        self.mean[:-1] = here(mixture.means_)
        factor = torch.linalg.cholesky(torch.as_tensor(mixture.covariances_))
        self.scale_tril[:-1] = here(factor)
        self.whitening[:-1] = here(torch.linalg.inv(factor))
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        """The mixture's log-density: ``(n, d) -> (n,)``."""
        # All components in one product: (n, d) @ (d, k d). Some hundred states are looked at in every training step.
        k, d = self.mean.shape
        shift = (self.whitening @ self.mean[:, :, None]).flatten()
        white = (z @ self.whitening.reshape(k * d, d).t() - shift).view(len(z), k, d)
        log_det = self.whitening.diagonal(dim1=1, dim2=2).log().sum(1)
        parts = -0.5 * white.square().sum(2) + log_det + self.log_weight
        return torch.logsumexp(parts, 1) - 0.5 * d * math.log(2 * math.pi)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` draws of the mixture, ``(n, d)``."""
        index = torch.multinomial(self.log_weight.exp(), n, replacement=True, generator=generator)
        like = {"dtype": self.mean.dtype, "device": self.mean.device, "generator": generator}
        noise = torch.randn(n, self.mean.shape[1], 1, **like)
        return self.mean[index] + (self.scale_tril[index] @ noise).squeeze(2)

    @torch.no_grad()
    def step(self, log_prob, z: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """One independence Metropolis step of every chain.

        Args:
            log_prob: the target's log-density up to a constant, ``(n, d) -> (n,)``.
            z: where the chains stand, ``(n, d)``.
            generator: source of all randomness.

        Returns:
            The new states ``(n, d)``, and which chains jumped, ``(n,)``.
        """
        new = self.draw(len(z), generator)
        both = torch.cat([new, z])
        there, here = (log_prob(both) - self.log_prob(both)).split(len(z))
        uniform = torch.rand(len(z), dtype=z.dtype, device=z.device, generator=generator)
        taken = uniform.log() < there - here
        return torch.where(taken[:, None], new, z), taken
