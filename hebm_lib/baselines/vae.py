"""The variational autoencoder: one level of codes, Gaussian prior.

Model and bound::

    p(z) = N(0, I),   p(x|z) = N(g(z), σ² I),   q(z|x) = N(μ(x), diag σ²(x))
    log p(x) ≥ E_q log p(x|z) - KL(q(z|x) ‖ N(0, I))

Source: Kingma and Welling (2014), Rezende, Mohamed and Wierstra (2014). The networks are those of the joint EBM of the
same data, with the same number of units, all in one level.

What differs from published settings: there are none to differ from. The paper's table 3 quotes a VAE row from earlier
work, whose network is not stated anywhere.
"""

from hebm_lib.baselines.common import VariationalBaseline, no_energy
from hebm_lib.config import ModelConfig
from hebm_lib.model import build_ladder, build_prior, register

__all__ = ["VAE"]


class VAE(VariationalBaseline):
    """One level, f = 0; see the module's docstring. Raises `ValueError` for a latent of more levels.

    Example:
        >>> import torch
        >>> from hebm_lib import load_pretrained
        >>> model = load_pretrained("mnist-vae")
        >>> model.latents.levels, model.reconstruct(torch.zeros(2, 1, 28, 28)).shape
        (1, torch.Size([2, 1, 28, 28]))
    """

    def __init__(self, generator, inference, prior, sigma, settings):
        super().__init__(generator, inference, prior, sigma, settings)
        if self.latents.levels != 1:
            raise ValueError(f"a VAE has one level, got {self.latents.dims}; with more it is kind 'vlae'")


@register("vae")
def build_vae(config: ModelConfig) -> VAE:
    return VAE(*build_ladder(no_energy(config)), build_prior(config), config.sigma, config.baseline)
