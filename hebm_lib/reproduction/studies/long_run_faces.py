"""Long-run chains on faces (Fig. 8): 2,500 steps of ``celeba-64``, three training seeds, and a picture of the first.

The models are those of the study ``natural-images``, which are trained here where ``runs/`` does not hold them yet. A
thousand chains from N(0, I), an image every 100 steps; the distances are of `hebm_lib.metrics.natural`.
"""

from pathlib import Path

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.metrics.long_run import kept_steps
from hebm_lib.metrics.natural import long_chains, real_features
from hebm_lib.metrics.pixels import decoded
from hebm_lib.provenance import ROOT, rounded
from hebm_lib.reproduction.runs import trained
from hebm_lib.reproduction.studies.natural_images import real_images, write_grid
from hebm_lib.reproduction.studies.study import Study

__all__ = ["CHAINS", "ENDS", "EVERY", "PICTURE", "STEPS", "STUDY", "measure_long_run", "write_chains"]

STEPS, EVERY, LOOKS = 2_500, 100, 500
"""Length of the chains, steps between two pictures, and between two distances; K is looked at as well."""
CHAINS = 12
"""Chains whose images are kept."""
PICTURE = ROOT / "book" / "images" / "chains" / "celeba-64.webp"
"""A row per moment; `ENDS` has the first and the last alone."""
ENDS = PICTURE.with_name("celeba-64-ends.webp")


def write_chains(model, path: torch.Tensor, file: Path) -> None:
    """A picture with a row per moment of ``path``, ``(t, n, d)``, and a column for each of the first chains."""
    images = decoded(model, path[:, :CHAINS].flatten(0, 1)).clamp(-1, 1)
    write_grid(images, CHAINS, file, quality=80)


@torch.no_grad()
def measure_long_run(
    model, config: ExperimentConfig, test: torch.Tensor, *, steps: int = STEPS, picture: Path | None = None
) -> dict:
    """Chains from N(0, I) far beyond the K steps of training; plain JSON types.

    Args:
        model: of a joint EBM, in evaluation mode.
        config: its entry, for K, s and the seed.
        test: real images in [-1, 1], as many as there are chains.
        steps: length of the chains.
        picture: where the images of some chains are drawn, one every 100 steps; beside it, with ``-ends`` behind its name,
            the first and the last.

    Returns:
        ``K``, ``step_size``, ``steps``, the states that are kept; `long_chains` of them, with the steps of its distances as
        ``looks``; ``f_codes``, the mean of f over a draw from the posterior of each test image.
    """
    langevin, seed = config.training.langevin, config.training.seed
    kept, stride = kept_steps(langevin, steps, EVERY)
    noise = torch.Generator(device=model.device).manual_seed(seed)
    chain = {"trajectory": True, "every": stride, "generator": noise}
    path = model.prior.sample(len(test), steps, langevin.step_size, **chain)[[step // stride for step in kept]]
    looks = [i for i, step in enumerate(kept) if step == langevin.steps or step % LOOKS == 0]
    if picture is not None:
        write_chains(model, path[[i for i, step in enumerate(kept) if step % EVERY == 0]], picture)
        write_chains(model, path[[0, -1]], picture.with_stem(picture.stem + "-ends"))
    codes = torch.cat([model.draw(part, generator=noise) for part in test.split(100)])
    found = {"K": langevin.steps, "step_size": langevin.step_size, "steps": kept, "looks": [kept[i] for i in looks]}
    found |= long_chains(model, path, looks, real_features(test))
    return rounded(found | {"f_codes": model.prior(codes).mean().item()})


def measure_part(name: str, *, precision: str = "32-true") -> dict:
    """Train a run, or take it from ``runs/``, and let its chains run."""
    run = trained(name, precision=precision)
    test = real_images(run.config.data.name, "test")
    return measure_long_run(run.model, run.config, test, picture=PICTURE if name == "celeba-64" else None)


STUDY = Study(
    "long-run-faces",
    "2,500 Langevin steps of celeba-64 from N(0, I): energy, distance to the test images, pictures",
    {"celeba-64": (), "celeba-64@2": (), "celeba-64@3": ()},
    measure_part,
    trains=True,
)
