"""A mixture of full-covariance Gaussians, fitted to codes by scikit-learn and evaluated by torch."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

__all__ = ["MixtureOfGaussians"]


class MixtureOfGaussians(nn.Module):
    """``components`` Gaussians with full covariances and, with a share of ``plain``, N(0, I). Before `fit` all are N(0, I).

    Its parameters are buffers: they are saved with the weights, move with the module and are not trained by gradient.

    Args:
        dim: d.
        components: number of fitted Gaussians, at least 1.
        plain: share of N(0, I), which is one component more; 0 leaves it out.

    Raises:
        ValueError: for fewer than one component.

    Example:
        >>> mixture = MixtureOfGaussians(2, components=3).fit(3 + 0.1 * torch.randn(500, 2))
        >>> mixture.draw(4).round().tolist(), bool(mixture.log_prob(torch.full((1, 2), 3.0)) > 0)
        ([[3.0, 3.0], [3.0, 3.0], [3.0, 3.0], [3.0, 3.0]], True)
    """

    def __init__(self, dim: int, *, components: int, plain: float = 0.0):
        super().__init__()
        if components < 1:
            raise ValueError(f"a mixture has at least one component, got {components}")
        self.components, self.plain = components, plain
        k = components + (plain > 0)  # the last is N(0, I)
        self.register_buffer("log_weight", torch.full((k,), -math.log(k)))
        self.register_buffer("mean", torch.zeros(k, dim))
        self.register_buffer("scale_tril", torch.eye(dim).repeat(k, 1, 1))
        self.register_buffer("whitening", torch.eye(dim).repeat(k, 1, 1))  # its inverse

    @torch.no_grad()
    def fit(
        self, codes: Tensor, *, seed: int = 0, ridge: float = 1e-3, rounds: int = 40, tolerance: float = 1e-2
    ) -> "MixtureOfGaussians":
        """Fit the mixture to codes ``(n, d)`` by expectation maximisation; the same codes and seed give the same mixture.

        Args:
            codes: what is fitted.
            seed: of the start, which is by k-means.
            ridge: added to the covariances' diagonals.
            rounds: of expectation and maximisation, at most.
            tolerance: nats per code; a smaller gain of a round ends the fit.

        Raises:
            ValueError: for fewer codes than components, or another width.
        """
        components, dim = self.components, self.mean.shape[1]
        if codes.ndim != 2 or codes.shape[1] != dim or len(codes) < components:
            raise ValueError(f"{components} components need as many codes of width {dim}, got {tuple(codes.shape)}")
        from sklearn.mixture import GaussianMixture  # here: it takes a second to import, and few ask for it

        mixture = GaussianMixture(components, reg_covar=ridge, max_iter=rounds, tol=tolerance, random_state=seed)
        mixture.fit(codes.double().cpu().numpy())

        def here(values) -> Tensor:
            return torch.as_tensor(values).to(self.mean)

        weight = here(mixture.weights_) * (1 - self.plain)
        if self.plain:
            weight = torch.cat([weight, weight.new_tensor([self.plain])])
        self.log_weight.copy_(weight.log())
        self.mean[:components] = here(mixture.means_)
        factor = torch.linalg.cholesky(torch.as_tensor(mixture.covariances_))
        self.scale_tril[:components] = here(factor)
        self.whitening[:components] = here(torch.linalg.inv(factor))
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        """The mixture's log-density: ``(n, d) -> (n,)``."""
        return torch.logsumexp(self._log_parts(z), 1) - 0.5 * z.shape[1] * math.log(2 * math.pi)

    def _log_parts(self, z: Tensor) -> Tensor:
        """``log(w_k N(z; μ_k, Σ_k))`` of every component up to one constant: ``(n, d) -> (n, k)``."""
        # All components in one product: (n, d) @ (d, k d). Some hundred states are looked at in every training step.
        k, d = self.mean.shape
        shift = (self.whitening @ self.mean[:, :, None]).flatten()
        white = (z @ self.whitening.reshape(k * d, d).t() - shift).view(len(z), k, d)
        log_det = self.whitening.diagonal(dim1=1, dim2=2).log().sum(1)
        return -0.5 * white.square().sum(2) + log_det + self.log_weight

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` draws of the mixture, ``(n, d)``."""
        index = torch.multinomial(self.log_weight.exp(), n, replacement=True, generator=generator)
        like = {"dtype": self.mean.dtype, "device": self.mean.device, "generator": generator}
        noise = torch.randn(n, self.mean.shape[1], 1, **like)
        return self.mean[index] + (self.scale_tril[index] @ noise).squeeze(2)

    def draw_columns(self, z: Tensor, columns: slice, generator: torch.Generator | None = None) -> Tensor:
        """``z`` with a block of columns drawn from the mixture given the other columns, exactly; those are kept.

        A component takes part by how well it explains the others, and given them its block is Gaussian again.
        """
        block = torch.zeros(z.shape[1], dtype=torch.bool, device=z.device)
        block[columns] = True
        rest, covariance = ~block, self.scale_tril @ self.scale_tril.mT
        across, within = covariance[:, block][:, :, rest], covariance[:, rest][:, :, rest]
        away = z[:, None, rest] - self.mean[:, rest]  # (n, k, |rest|)
        if rest.any():
            marginal = MultivariateNormal(self.mean[:, rest], within, validate_args=False)
            log_weight = self.log_weight + marginal.log_prob(z[:, None, rest])
        else:
            log_weight = self.log_weight.expand(len(z), -1)
        index = torch.multinomial(log_weight.softmax(1), 1, generator=generator).squeeze(1)
        gain = torch.linalg.solve(within, across.mT).mT  # Σ_ab Σ_bb⁻¹, (k, |block|, |rest|)
        left = torch.linalg.cholesky(covariance[:, block][:, :, block] - gain @ across.mT)
        noise = torch.randn(len(z), int(block.sum()), 1, dtype=z.dtype, device=z.device, generator=generator)
        moved = (gain[index] @ away[torch.arange(len(z)), index, :, None] + left[index] @ noise).squeeze(2)
        drawn = z.clone()
        drawn[:, block] = self.mean[index][:, block] + moved
        return drawn
