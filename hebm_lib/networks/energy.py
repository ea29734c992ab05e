"""The energy (Eq. 3): a perceptron f_α on all levels at once; and, to compare with, one perceptron per level."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normed

from hebm_lib.latents import LatentSpec
from hebm_lib.networks.blocks import full_precision
from hebm_lib.sampling import ACTIVATIONS

__all__ = ["EnergyMLP", "SeparateEnergies"]


class EnergyMLP(nn.Module):
    """``f_α``: a perceptron on the joined code, the NEGATIVE energy of Eq. 3.

    Args:
        dim: d, the number of latent units of all levels together.
        hidden: widths of the hidden layers, at least one.
        spectral_norm: divide each weight by its largest singular value (tracked by one power iteration per
            call in training mode, frozen in evaluation mode).
        slope: negative slope of the leaky ReLUs.
        lipschitz: factor on the output; with spectral norm f is Lipschitz with this constant.
        activation: ``leaky``, or ``silu``, ``x · sigmoid(x)``, which makes ∇f smooth. SiLU's slope reaches 1.1, so with
            spectral norm each hidden layer lets f be that much steeper.

    Shapes: ``forward(z)`` maps ``(n, d)`` to ``(n,)``.

    Example:
        >>> f = EnergyMLP(5, hidden=(8, 8), lipschitz=2.0).eval()
        >>> a, b = torch.randn(2, 100, 5)
        >>> f(a).shape, bool(((f(a) - f(b)).abs() <= 2.2 * (a - b).norm(dim=1)).all())  # 2, but for the power iteration's rest
        (torch.Size([100]), True)
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: tuple[int, ...],
        spectral_norm: bool = True,
        slope: float = 0.2,
        lipschitz: float = 1.0,
        activation: str = "leaky",
    ):
        super().__init__()
        if not hidden:
            raise ValueError("an energy needs at least one hidden layer; use GaussianPrior for f = 0")
        if activation not in ACTIVATIONS:
            raise ValueError(f"there is no activation {activation!r}: there are {', '.join(ACTIVATIONS)}")
        self.slope, self.lipschitz, self.activation = slope, float(lipschitz), activation
        widths = (dim, *hidden, 1)
        layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList([spectrally_normed(layer) for layer in layers] if spectral_norm else layers)

    def forward(self, z: Tensor) -> Tensor:
        h = z
        with full_precision(z):
            for layer in self.layers[:-1]:
                h = layer(h)
                h = nn.functional.leaky_relu(h, self.slope) if self.activation == "leaky" else nn.functional.silu(h)
            return self.lipschitz * self.layers[-1](h).squeeze(-1)


class SeparateEnergies(nn.Module):
    """``f(z) = Σ_i f_i(z_i)``: a perceptron per level, the energy that cannot tie levels together.

    Under it the prior is a product, ``Π_i p(z_i)``. It is what the joint energy of Eq. 3 is to be compared with.

    Args:
        latents: sizes of z_1 … z_L.
        hidden, spectral_norm, slope, lipschitz, activation: of every `EnergyMLP`. With spectral norm f is Lipschitz with
            constant ``lipschitz`` in each level, so with ``√L lipschitz`` in all of them together.

    Shapes: ``forward(z)`` maps ``(n, d)`` to ``(n,)``.

    Example:
        >>> latents = LatentSpec((2, 3))
        >>> f, (a, b) = SeparateEnergies(latents, hidden=(8,)).eval(), torch.randn(2, 4, 5)
        >>> swapped = f(latents.redraw(a, 1, b)) + f(latents.redraw(b, 1, a))
        >>> torch.allclose(f(a) + f(b), swapped, atol=1e-5)  # what one level does, another cannot tell
        True
    """

    def __init__(self, latents: LatentSpec, **settings):
        super().__init__()
        self.latents = latents
        self.levels = nn.ModuleList([EnergyMLP(dim, **settings) for dim in latents.dims])
        self.slope, self.activation = self.levels[0].slope, self.levels[0].activation

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([f(part) for f, part in zip(self.levels, self.latents.split(z), strict=True)]).sum(0)
