"""What each level of a model of photographs changes, as numbers: Figure 4 on ``svhn``, and attributes of ``celeba-64``.

Parts of the study ``natural-images``.
"""

from pathlib import Path

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.data import load_split
from hebm_lib.metrics.attributes import fit_attribute_reader
from hebm_lib.metrics.classifier import accuracy, fit_classifier, predict
from hebm_lib.metrics.hierarchy import brightness, class_change, pixel_variance_share, tint
from hebm_lib.metrics.natural import image_features, real_features
from hebm_lib.provenance import ROOT, rounded
from hebm_lib.reproduction.studies.study import write_redraws

__all__ = ["FACES", "FACES_PICTURE", "LEVELS", "measure_faces", "measure_street_numbers"]

SAMPLES = 1_000
"""Street numbers that are redrawn, and test faces that readers are tested on; of faces half as many are redrawn."""
READER_EPOCHS = 15
"""Of the classifier of street numbers."""
BY_LEVEL = "level by level"
LEVELS = tuple(f"svhn{seed}, {BY_LEVEL}" for seed in ("", "@2", "@3"))
"""Figure 4's numbers, a part per training seed."""
FACES = f"celeba-64, {BY_LEVEL}"
FACES_READ = 5_000
"""Training faces that the readers of attributes learn from."""
FACES_PICTURE = ROOT / "book" / "images" / "levels" / "celeba-64.webp"


@torch.no_grad()
def measure_street_numbers(model, config: ExperimentConfig) -> dict:
    """Figure 4 as numbers: what each level of a model of SVHN changes when it is taken from another sample.

    A small classifier, trained here on the same crops, reads the digit.

    Args:
        model, config: of ``svhn``, in evaluation mode.

    Returns:
        ``reader_accuracy`` on test images; per level, z_1 first, ``class_change``, and the shares of the variance of
        ``light``, ``colour`` and ``pixels`` (`pixel_variance_share`); ``class_change_all`` between two samples.
    """
    train, test = (load_split(config.data, split) for split in ("train", "test"))
    reader = fit_classifier(train, epochs=READER_EPOCHS, progress=False)
    langevin, noise = config.training.langevin, torch.Generator().manual_seed(config.training.seed)
    z, donors = (model.prior.sample(SAMPLES, langevin.steps, langevin.step_size, generator=noise) for _ in range(2))
    one, other = (predict(reader, model.decode(codes)) for codes in (z, donors))
    return rounded(
        {
            "reader_accuracy": accuracy(reader, test),
            "class_change": class_change(model, reader, z, donors),
            "class_change_all": (one != other).float().mean().item(),
            "light": pixel_variance_share(model, z, donors, statistic=brightness),
            "colour": pixel_variance_share(model, z, donors, statistic=tint),
            "pixels": pixel_variance_share(model, z, donors),
        }
    )


@torch.no_grad()
def measure_faces(model, config: ExperimentConfig, picture: Path | None = None) -> dict:
    """Which attributes of a face each level changes when it is taken from another sample, of chains of 10 K steps.

    Args:
        model, config: of ``celeba-64``.
        picture: where samples with one level redrawn at a time are drawn, too.

    Returns:
        ``samples``, their number; ``attributes``: by name ``auroc``, how well real test faces are read; ``flips`` per level,
        z_1 first, the share of samples whose reading changes; ``flips_all``, between two samples.
    """
    langevin, noise = config.training.langevin, torch.Generator().manual_seed(config.training.seed)
    chain = {"steps": 10 * langevin.steps, "step_size": langevin.step_size, "generator": noise}
    train, test = (load_split(config.data, split) for split in ("train", "test"))
    names = [str(name) for name in train.about["attribute_names"]]
    truth = [torch.as_tensor(part.extra["attributes"]).clamp_min(0).int() for part in (train, test)]
    seen = real_features(train.batch(slice(0, FACES_READ)))
    reader = fit_attribute_reader(seen, truth[0][:FACES_READ])
    areas = reader.auroc(real_features(test.batch(slice(0, SAMPLES))), truth[1][:SAMPLES])
    z, donors = (model.prior.sample(SAMPLES // 2, **chain) for _ in range(2))

    def features(codes):
        return image_features(torch.cat([model.decode(part) for part in codes.split(100)]).clamp(-1, 1))

    before, levels = features(z), range(1, model.latents.levels + 1)
    flips = [reader.flips(before, features(model.latents.redraw(z, level, donors))) for level in levels]
    everything = reader.flips(before, features(donors))
    if picture is not None:
        write_redraws(model, z[:5], donors[:7], picture, dpi=130, quality=80)
    found = {
        name: {
            "auroc": areas[k],
            "flips": [level[k].item() for level in flips],
            "flips_all": everything[k].item(),
        }
        for k, name in enumerate(names)
    }
    return rounded({"samples": SAMPLES // 2, "attributes": found})
