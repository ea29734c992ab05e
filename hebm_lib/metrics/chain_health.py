"""What an energy is worth, and whether its chains show it: nats, samples at many lengths, f on both sides.

A good prior has all of this at once: f gains nats on codes of test images; samples after training's K steps are good, and
so are those after 2,500; f is as high on long chains as on codes; and a Metropolis check takes nearly all proposals, so that
the plain chain with this step size is near its target. A short-run model has the second alone.
"""

import torch
from torch import Tensor, nn

from hebm_lib.config import LangevinConfig
from hebm_lib.data import ImageDataset
from hebm_lib.langevin import metropolis_langevin
from hebm_lib.metrics.latent_classifier import encode_posterior
from hebm_lib.metrics.long_run import frechet_distance, read_images
from hebm_lib.metrics.pixels import decoded
from hebm_lib.sampling import LogZ

__all__ = ["LONG_RUN", "chain_health", "gain", "lengths_of"]

LONG_RUN = 2500
"""Steps of the longest chains: those of Fig. 8."""


def lengths_of(steps: int) -> list[int]:
    """The lengths at which chains are looked at, for training's K: K/2, K, 2K, 10K and 2,500, ascending.

    >>> lengths_of(60)
    [30, 60, 120, 600, 2500]
    >>> lengths_of(1)
    [1, 2, 10, 2500]
    """
    return sorted({max(1, steps // 2), steps, 2 * steps, 10 * steps, LONG_RUN})


@torch.no_grad()
def gain(prior, codes: Tensor, log_z: LogZ) -> tuple[float, float, float]:
    """Nats per image that f adds to the bound, ``E f(codes) - log Z``: the estimate, and what log Z's bracket makes of it.

    It is ``E_q log p_α(z) - E_q log N(z; 0, I)``, so 0 for f = 0, and at most KL(codes ‖ N(0, I)) for any f.

    Args:
        prior: a `Prior`.
        codes: posterior draws of images that the prior was not learned on, ``(n, d)``.
        log_z: ``prior.log_z()``.

    Example:
        >>> from hebm_lib import GaussianPrior, LatentSpec
        >>> prior = GaussianPrior(LatentSpec((1, 1)))
        >>> gain(prior, torch.ones(5, 2), prior.log_z())
        (0.0, 0.0, 0.0)
    """
    mean = torch.cat([prior(part) for part in codes.split(2000)]).double().mean().item()
    return mean - log_z.estimate, mean - log_z.upper, mean - log_z.lower


@torch.no_grad()
def chain_health(
    model,
    langevin: LangevinConfig,
    test: ImageDataset,
    *,
    log_z: LogZ,
    classifier: nn.Module | None = None,
    n: int = 4000,
    seed: int = 1,
) -> dict:
    """Measure the prior of one model.

    Args:
        model: a `Model` whose prior has an energy, in evaluation mode.
        langevin: K and s of its training.
        test: images that it was not trained on.
        log_z: ``model.prior.log_z()``.
        classifier: a `DigitClassifier` that reads such images; without one there are no distances.
        n: chains, and codes.
        seed: of everything that is drawn.

    Returns:
        Plain JSON types. ``gain`` and ``gain_bracket``; ``steps``, and at each of these lengths ``f``, its mean over
        chains from N(0, I), and ``distance``, the digit Fréchet distance of their images to the test images; ``f_codes``
        and ``f_long``, mean and deviation on codes of test images and on the longest chains; ``acceptance``, the share of
        proposals that Metropolis's rule takes at training's s, from samples of training's K; ``references``, distances of
        test images' codes, of those with their levels shuffled among images, of N(0, I).

    Example:
        >>> import hebm_lib as hl
        >>> model = hl.load_pretrained("mnist-012-2d")
        >>> test = ImageDataset(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
        >>> chain_health(model, LangevinConfig(steps=2, step_size=0.1), test, log_z=LogZ.exact(), n=20)["steps"]
        [1, 2, 4, 20, 2500]
    """
    prior, d, device = model.prior, model.latents.total, model.device
    noise = torch.Generator(device=device).manual_seed(seed)
    codes = encode_posterior(model, test, seed=seed).draw.to(device)
    best, low, high = gain(prior, codes, log_z)
    features = None if classifier is None else read_images(classifier, test.batch(slice(None)))[0]

    def distance(z: Tensor) -> float:
        images = decoded(model, z)
        return frechet_distance(read_images(classifier, images)[0], features)

    z, at = torch.randn(n, d, device=device, generator=noise), 0
    start, found = z, {"gain": best, "gain_bracket": [low, high], "steps": lengths_of(langevin.steps), "f": []}
    if classifier is not None:
        found["distance"] = []
    for steps in found["steps"]:
        z, at = prior.sample(n, steps - at, langevin.step_size, z0=z, generator=noise), steps
        found["f"].append(prior(z).mean().item())
        if classifier is not None:
            found["distance"].append(distance(z))
        if steps == langevin.steps:
            arrived = z
    found |= {"f_codes": mean_and_deviation(prior(codes)), "f_long": mean_and_deviation(prior(z))}
    _, taken = metropolis_langevin(prior.log_prob_unnormalized, arrived[:500], 20, langevin.step_size, generator=noise)
    found["acceptance"] = taken.mean().item()
    if classifier is not None:
        some = codes[torch.randperm(len(codes), generator=noise, device=device)[:n]]
        parts = [p[torch.randperm(len(p), generator=noise, device=device)] for p in model.latents.split(some)]
        kinds = {"codes": some, "shuffled": model.latents.join(parts), "gaussian": start}
        found["references"] = {name: distance(each) for name, each in kinds.items()}
    return found


def mean_and_deviation(values: Tensor) -> list[float]:
    """``[mean, standard deviation]``."""
    return [values.mean().item(), values.std().item()]
