"""The energy (Eq. 3): a perceptron f_α on all levels at once."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normed

__all__ = ["EnergyMLP"]


class EnergyMLP(nn.Module):
    """``f_α``: a perceptron on the joined code, the NEGATIVE energy of Eq. 3.

    Args:
        dim: d, the number of latent units of all levels together.
        hidden: widths of the hidden layers, at least one.
        spectral_norm: divide each weight by its largest singular value (tracked by one power iteration per
            call in training mode, frozen in evaluation mode).
        slope: negative slope of the leaky ReLUs.
        lipschitz: factor on the output; with spectral norm f is Lipschitz with this constant.

    Shapes: ``forward(z)`` maps ``(n, d)`` to ``(n,)``.
    """

    def __init__(
        self, dim: int, hidden: tuple[int, ...], spectral_norm: bool = True, slope: float = 0.2, lipschitz=1.0
    ):
        super().__init__()
        if not hidden:
            raise ValueError("an energy needs at least one hidden layer; use GaussianPrior for f = 0")
        self.slope, self.lipschitz = slope, float(lipschitz)
        widths = (dim, *hidden, 1)
        layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList([spectrally_normed(layer) for layer in layers] if spectral_norm else layers)

    def forward(self, z: Tensor) -> Tensor:
        h = z
        for layer in self.layers[:-1]:
            h = nn.functional.leaky_relu(layer(h), self.slope)
        return self.lipschitz * self.layers[-1](h).squeeze(-1)
