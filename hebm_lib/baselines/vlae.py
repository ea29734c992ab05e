"""The variational ladder autoencoder: the joint EBM's ladders with f = 0.

Model and bound::

    p(z) = Π_i N(z_i; 0, I),   x from all levels through the ladder generator,   q(z|x) = Π_i q(z_i | r_i(x))
    log p(x) ≥ E_q log p(x|z) - Σ_i KL(q(z_i|x) ‖ N(0, I))

Source: Zhao, Song and Ermon (2017), and their code, ermongroup/Variational-Ladder-Autoencoder. The levels are independent
under the prior; what makes them a hierarchy is only how deep a network stands between each and the pixels.

As the controlled baseline (``mnist-vlae``, ``fashion-vlae``) nothing differs from the joint EBM but the energy. The
published model's own choices are settings: ``baseline.likelihood = "laplace"`` (L1 loss), ``inference.deviation =
"sigmoid"``, ``batch_norm`` on both networks, ``generator.join = "gate"``. Entry ``published-vlae`` has them all.

What differs there from the published code: its trunk has convolutions below level 1 only and fully connected layers
between the levels, ours reads levels 1 and 2 from a map of 7×7; batch norm stands inside the blocks and not on what joins;
images are in [-1, 1], so that their λ = 8 per pixel in [0, 1] becomes a Laplace scale of 1/4; the KL is raised linearly
over 7 epochs instead of by 1 - exp(-step/2000), step counting batches; weights start by Xavier's rule.
"""

from hebm_lib.baselines.common import VariationalBaseline, no_energy
from hebm_lib.config import ModelConfig
from hebm_lib.model import build_ladder, build_prior, register

__all__ = ["VLAE"]


class VLAE(VariationalBaseline):
    """Independent levels, f = 0; see the module's docstring.

    Example:
        >>> import torch
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("mnist-vlae"), torch.zeros(2, 1, 28, 28)
        >>> model.elbo(x).energy.tolist(), model.elbo(x).kl.shape
        ([0.0, 0.0], torch.Size([2, 3]))
    """


@register("vlae")
def build_vlae(config: ModelConfig) -> VLAE:
    return VLAE(*build_ladder(no_energy(config)), build_prior(config), config.sigma, config.baseline)
