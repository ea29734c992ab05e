"""What a prior is worth to its generator: the ablations' measures (Tables 4 and 5).

Samples of several kinds go through the same generator. The digit Fréchet distance of their images to the test images
(`frechet_distance`, in the features of the book's classifier) says how good they are; MMD says how far their codes are from
the posterior's. The kinds:

- ``prior``: K Langevin steps from noise, as in training;
- ``long``: twenty times as many, which shows whether the chain has arrived or was stopped in time;
- ``gaussian``: N(0, I), the same generator without its prior;
- ``persistent``: the chains that training went on with, where there are any, going on;
- ``codes``: posterior draws of training images, what a perfect prior would give this generator;
- ``shuffled``: those with the levels of different images put together, what a perfect prior per level would give. What lies
  between the two is all that a joint energy can win over separate ones.
"""

import torch
from torch import Tensor, nn

from hebm_lib.config import LangevinConfig
from hebm_lib.data import ImageDataset
from hebm_lib.metrics.bound import measure_bound
from hebm_lib.metrics.fid import inception_fid, inception_path
from hebm_lib.metrics.latent_classifier import encode_posterior
from hebm_lib.metrics.long_run import frechet_distance, read_images
from hebm_lib.metrics.pixels import decoded
from hebm_lib.metrics.two_sample import LONG, median_distance, mmd2

__all__ = ["prior_report", "prior_samples"]

COMPARED = 2000
"""Codes and samples that MMD is estimated with."""


@torch.no_grad()
def prior_samples(model, langevin: LangevinConfig, n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """``n`` codes of every kind that needs no images, each ``(n, d)`` on the model's device.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> samples = prior_samples(load_pretrained("digits"), LangevinConfig(steps=2), 4, torch.Generator())
        >>> {name: tuple(z.shape) for name, z in samples.items()}
        {'gaussian': (4, 10), 'prior': (4, 10), 'long': (4, 10), 'persistent': (4, 10)}
    """
    prior, d = model.prior, model.latents.total
    if not prior.has_energy:  # exact draws, with as many steps as it likes
        return {"prior": prior.sample(n, 0, langevin.step_size, generator=generator)}
    samples = {"gaussian": torch.randn(n, d, generator=generator, device=model.device)}
    for name, steps in (("prior", langevin.steps), ("long", LONG * langevin.steps)):
        samples[name] = prior.sample(n, steps, langevin.step_size, generator=generator)
    if prior.chains is not None:
        rounds, z = [], prior.chains
        for _ in range(-(-n // len(z))):
            z = prior.sample(len(z), langevin.steps, langevin.step_size, z0=z, generator=generator)
            rounds.append(z)
        samples["persistent"] = torch.cat(rounds)[:n]
    return samples


@torch.no_grad()
def prior_report(
    model,
    langevin: LangevinConfig,
    train: ImageDataset,
    test: ImageDataset,
    classifier: nn.Module,
    *,
    n: int = 4000,
    seed: int = 1,
) -> dict:
    """Measure one model.

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        langevin: K and s of its training.
        train: images whose codes are compared with samples.
        test: images that samples are compared with.
        classifier: a `DigitClassifier`.
        n: samples of every kind.
        seed: of everything that is drawn.

    Returns:
        Plain JSON types. ``distance`` and ``mmd2`` by kind of sample; ``distance_data``: of ``n`` training images to the
        test images, the floor; ``fid`` by kind, only where Inception's weights are on the machine; ``gap``, mean f on
        codes of test images minus mean f on samples; ``mse``, ``kl`` per level, ``elbo_plus_log_z``.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> from hebm_lib.metrics.classifier import DigitClassifier
        >>> train, test = (load_dataset("digits", split).subset(slice(0, 40)) for split in ("train", "test"))
        >>> reader = DigitClassifier(size=8).eval()
        >>> report = prior_report(load_pretrained("digits"), LangevinConfig(steps=2), train, test, reader, n=40)
        >>> list(report["distance"]), len(report["kl"])
        (['gaussian', 'prior', 'long', 'persistent', 'codes', 'shuffled'], 2)
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    some = train.subset(order[: min(n, len(train))])
    codes = encode_posterior(model, some, seed=seed).draw.to(model.device)
    parts = [
        part[torch.randperm(len(codes), generator=generator, device=codes.device)]
        for part in model.latents.split(codes)
    ]
    shuffled = model.latents.join(parts)
    samples = prior_samples(model, langevin, n, generator) | {"codes": codes, "shuffled": shuffled}
    features, _ = read_images(classifier, test.batch(slice(None)))
    own, _ = read_images(classifier, some.batch(slice(None)))
    distance, fid, mmd = {}, {}, {}
    half = min(COMPARED, len(codes) // 2)
    bandwidth = median_distance(codes[:half])
    for name, z in samples.items():
        images = decoded(model, z)
        distance[name] = frechet_distance(read_images(classifier, images)[0], features)
        if inception_path().is_file():
            fid[name] = inception_fid(test.batch(slice(None)), images)
        other = z[half : 2 * half] if name in ("codes", "shuffled") else z[:half]  # not the codes themselves
        mmd[name] = mmd2(other, codes[:half], bandwidth)
    bound = measure_bound(model, test, steps=langevin.steps, step_size=langevin.step_size, seed=seed)
    return {
        "distance": distance,
        "distance_data": frechet_distance(own, features),
        "mmd2": mmd,
        "fid": fid,
        "gap": bound.f_posterior - bound.f_prior,
        "mse": bound.mse,
        "kl": list(bound.kl),
        "elbo_plus_log_z": bound.elbo_plus_log_z,
    }
