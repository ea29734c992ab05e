"""Table 1's protocol: how well does each level's inferred code tell the class?

Two linear layers with 256 hidden units and a ReLU between them, softmax on top, no dropout and no normalisation, as
the paper says. It does not say how they are trained; here: Adam, rate 1e-2 falling to zero, 30 passes in batches of
500 over the standardised posterior means.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebm_lib.data import ImageDataset

__all__ = ["encode_dataset", "fit_latent_classifier", "latent_accuracy"]


@torch.no_grad()
def encode_dataset(model, data: ImageDataset, *, sampled: bool = False, seed: int = 0, batch: int = 1000) -> Tensor:
    """Posterior means of all images, ``(n, d)`` on the CPU; with ``sampled`` one draw each instead."""
    generator = torch.Generator(device=model.device).manual_seed(seed)
    codes = []
    for index in torch.arange(len(data)).split(batch):
        x = data.batch(index).to(model.device)
        codes.append((model.draw(x, generator=generator) if sampled else model.encode(x).mean).cpu())
    return torch.cat(codes)


def fit_latent_classifier(
    codes: Tensor, labels: Tensor, *, epochs: int = 30, batch: int = 500, seed: int = 0
) -> nn.Module:
    """The paper's two-layer classifier on codes ``(n, d)``; the returned module takes raw codes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = codes.mean(0), codes.std(0).clamp_min(1e-6)
        body = nn.Sequential(nn.Linear(codes.shape[1], 256), nn.ReLU(), nn.Linear(256, int(labels.max()) + 1))
        optimiser = torch.optim.Adam(body.parameters(), 1e-2)
        steps = epochs * -(-len(codes) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        codes = (codes - mean) / deviation
        for _ in range(epochs):
            for index in torch.randperm(len(codes)).split(batch):
                loss = F.cross_entropy(body(codes[index]), labels[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return nn.Sequential(_Standardise(mean, deviation), body).eval()


class _Standardise(nn.Module):
    def __init__(self, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, z: Tensor) -> Tensor:
        return (z - self.mean) / self.deviation


def latent_accuracy(
    model, train: ImageDataset, test: ImageDataset, *, sampled: bool = False, seed: int = 0, epochs: int = 30
) -> list[float]:
    """Test accuracy of the latent classifier per level, z_1 first (Table 1).

    Args:
        train, test: labelled images of the model's size.
        sampled: use posterior draws instead of posterior means.
    """
    z_train = model.latents.split(encode_dataset(model, train, sampled=sampled, seed=seed))
    z_test = model.latents.split(encode_dataset(model, test, sampled=sampled, seed=seed + 1))
    result = []
    for a, b in zip(z_train, z_test, strict=True):
        classifier = fit_latent_classifier(a, train.labels.cpu(), seed=seed, epochs=epochs)
        with torch.no_grad():
            result.append((classifier(b).argmax(1) == test.labels.cpu()).float().mean().item())
    return result
