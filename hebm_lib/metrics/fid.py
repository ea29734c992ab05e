"""FID, the Fréchet distance in the features of Inception (Heusel et al. 2017), where its weights are on the machine.

torchmetrics computes it; the weights, some 90 MB, are torch-fidelity's. Nothing is downloaded behind the reader's back:
without them there is no FID, and the book uses the same distance in its digit classifier's features, under its own name
(`hebm_lib.metrics.long_run.frechet_distance`).
"""

from pathlib import Path

import torch
from torch import Tensor

__all__ = ["INCEPTION_URL", "inception_fid", "inception_path"]

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
"""Where the weights are from; their name ends in the first digits of their SHA-256."""


def inception_path() -> Path:
    """Where the weights are looked for: in torch's own cache, as torch-fidelity does.

    Example:
        >>> inception_path().name
        'weights-inception-2015-12-05-6726825d.pth'
    """
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_URL.rsplit("/", 1)[1]


@torch.no_grad()
def inception_fid(real: Tensor, generated: Tensor, *, batch: int = 100, features=2048) -> float:
    """FID of two sets of images ``(n, C, H, W)`` in [-1, 1], one or three channels.

    Args:
        real, generated: the images; at least two each.
        batch: images that go through Inception at once.
        features: what torchmetrics takes: the number of Inception's features, or another extractor, a module
            ``(n, 3, H, W) -> (n, d)``.

    Raises:
        FileNotFoundError: where Inception's weights are not on the machine, with what to download.
        ValueError: for images that are not grey or RGB.

    Example:
        >>> class Corner(torch.nn.Module):  # in Inception's place: three numbers of an image in [0, 1]
        ...     num_features = 3
        ...     def forward(self, x):
        ...         return x[:, :, 0, 0].double()
        >>> images = 2 * torch.rand(50, 3, 8, 8) - 1
        >>> inception_fid(images, images, features=Corner()) < 1e-6
        True
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    for images in (real, generated):
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"FID is of images (n, 1 or 3, H, W), got {tuple(images.shape)}")
    if isinstance(features, int) and not inception_path().is_file():
        raise FileNotFoundError(f"FID needs Inception's weights: download {INCEPTION_URL} to {inception_path()}")
    size = None if isinstance(features, int) else (3, *real.shape[2:])
    metric = FrechetInceptionDistance(features, normalize=True, **({} if size is None else {"input_img_size": size}))
    metric = metric.to(real.device).set_dtype(torch.float64)
    for images, is_real in ((real, True), (generated, False)):
        for part in images.to(real.device).split(batch):
            seen = ((part + 1) / 2).clamp(0, 1)
            metric.update(seen.expand(-1, 3, -1, -1), real=is_real)
    return float(metric.compute())
