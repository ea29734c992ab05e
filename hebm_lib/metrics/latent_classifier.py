"""Table 1's protocol: how well does each level's inferred code tell the class? And a linear probe beside it.

Two linear layers with 256 hidden units and a ReLU between them, softmax on top, no dropout and no normalisation, as
the paper says. It does not say how they are trained; here: Adam, rate 1e-2 falling to zero, 30 passes in batches of
500 over the standardised posterior means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebm_lib.data import ImageDataset

__all__ = [
    "Codes",
    "accuracy_of_codes",
    "encode_dataset",
    "encode_posterior",
    "fit_latent_classifier",
    "latent_accuracy",
    "linear_probe",
]


@torch.no_grad()
def encode_dataset(model, data: ImageDataset, *, sampled: bool = False, seed: int = 0, batch: int = 1000) -> Tensor:
    """Posterior means of all images, ``(n, d)`` on the CPU; with ``sampled`` one draw each instead.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> model, data = load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 20))
        >>> encode_dataset(model, data).shape
        torch.Size([20, 10])
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    codes = []
    for x in data.batches(batch, model.device):
        codes.append((model.draw(x, generator=generator) if sampled else model.encode(x).mean).cpu())
    return torch.cat(codes)


@dataclass(frozen=True)
class Codes:
    """What the inference network says of a data set, each ``(n, d)`` on the CPU.

    Attributes:
        mean, scale: of q(z|x) per image; in a hierarchy along the path on which every level takes its mean.
        draw: one draw from q(z|x) per image.

    Example:
        >>> codes = Codes(torch.zeros(4, 3), torch.ones(4, 3), torch.randn(4, 3))
        >>> codes.draw.shape
        torch.Size([4, 3])
    """

    mean: Tensor
    scale: Tensor
    draw: Tensor


@torch.no_grad()
def encode_posterior(model, data: ImageDataset, *, seed: int = 0, batch: int = 1000) -> Codes:
    """Mean, deviation and a draw for every image from one pass; ``draw`` is that of `encode_dataset` with this seed.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> model, data = load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 20))
        >>> torch.equal(encode_posterior(model, data, seed=1).draw, encode_dataset(model, data, sampled=True, seed=1))
        True
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    parts = []
    for x in data.batches(batch, model.device):
        posterior = model.encode(x)
        draw = model.draw(x, posterior=posterior, generator=generator)
        parts.append((posterior.mean.cpu(), posterior.stddev.cpu(), draw.cpu()))
    return Codes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def fit_latent_classifier(
    codes: Tensor, labels: Tensor, *, epochs: int = 30, batch: int = 500, seed: int = 0, standardise: bool = True
) -> nn.Module:
    """The paper's two-layer classifier on codes ``(n, d)``; the returned module takes raw codes.

    With ``standardise`` it scales them to mean 0 and deviation 1 first; the paper mentions no scaling.

    Example:
        >>> labels = torch.arange(200) % 2
        >>> classifier = fit_latent_classifier(labels[:, None] + 0.1 * torch.randn(200, 1), labels, epochs=5)
        >>> classifier(torch.tensor([[0.0], [1.0]])).argmax(1).tolist()
        [0, 1]
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: a GPU's would be reset as well
        mean, deviation = codes.mean(0), codes.std(0).clamp_min(1e-6)
        if not standardise:
            mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
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

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
        >>> bottom, top = latent_accuracy(load_pretrained("digits"), train, test, epochs=5)
        >>> bottom < 0.5 < top
        True
    """
    z_train = model.latents.split(encode_dataset(model, train, sampled=sampled, seed=seed))
    z_test = model.latents.split(encode_dataset(model, test, sampled=sampled, seed=seed + 1))
    return accuracy_of_codes(z_train, train.labels.cpu(), z_test, test.labels.cpu(), seed=seed, epochs=epochs)


def accuracy_of_codes(
    train: Sequence[Tensor],
    labels: Tensor,
    test: Sequence[Tensor],
    truth: Tensor,
    *,
    seed: int = 0,
    epochs: int = 30,
    standardise: bool = True,
) -> list[float]:
    """`latent_accuracy` of codes that are there already: one pair ``(n, d_i)``, ``(m, d_i)`` per level, and their labels.

    Example:
        >>> labels = torch.arange(200) % 2
        >>> knows, noise = labels[:, None].float(), torch.zeros(200, 1)
        >>> accuracy_of_codes([noise, knows], labels, [noise, knows], labels, epochs=5)
        [0.5, 1.0]
    """
    result = []
    for a, b in zip(train, test, strict=True):
        classifier = fit_latent_classifier(a, labels, seed=seed, epochs=epochs, standardise=standardise)
        with torch.no_grad():
            result.append((classifier(b).argmax(1) == truth).float().mean().item())
    return result


def linear_probe(
    train: Sequence[Tensor], labels: Tensor, test: Sequence[Tensor], truth: Tensor, *, images: int = 20_000
) -> list[float]:
    """Test accuracy of a linear classifier per level: scikit-learn's logistic regression on standardised codes.

    Args:
        train, labels, test, truth: as of `accuracy_of_codes`.
        images: how many of the training codes are used, evenly spaced; a linear map has few numbers to learn.

    Example:
        >>> labels = torch.arange(200) % 2
        >>> knows, noise = labels[:, None].float(), torch.zeros(200, 1)
        >>> linear_probe([noise, knows], labels, [noise, knows], labels)
        [0.5, 1.0]
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chosen = torch.arange(0, len(labels), max(1, -(-len(labels) // images)))
    result = []
    for a, b in zip(train, test, strict=True):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
        probe.fit(a[chosen].numpy(), labels[chosen].numpy())
        result.append(float(probe.score(b.numpy(), truth.numpy())))
    return result
