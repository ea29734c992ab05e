"""Jumps between modes: a Metropolis step whose proposal is a mixture of Gaussians that was fitted to codes.

A Langevin chain with small steps stays in the mode in which it began, so how many chains stand in each mode says little
about how much mass f gives it. One independence step (Tierney 1994) before the Langevin steps mends that: it may carry a
chain from any mode into any other, and by Metropolis's rule the prior is its stationary law whatever the mixture is. A
poor mixture costs refusals, not truth.
"""

import torch
from torch import Tensor

from hebm_lib.sampling.mixture import MixtureOfGaussians

__all__ = ["JumpProposal"]

PLAIN = 0.05
"""Share of proposals that come from N(0, I): the proposal's tails are then never lighter than the prior's own."""


class JumpProposal(MixtureOfGaussians):
    """A mixture of ``components`` full Gaussians and, with a share of 5 %, N(0, I). Until `fit` it is N(0, I) alone.

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
        super().__init__(dim, components=components, plain=PLAIN)

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
