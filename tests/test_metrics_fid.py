"""FID by torchmetrics: with a stand-in for Inception against the book's own distance; without weights a clear word."""

import pytest
import torch

from hebm_lib.metrics import fid
from hebm_lib.metrics.fid import inception_fid, inception_path
from hebm_lib.metrics.long_run import frechet_distance


class Corners(torch.nn.Module):
    """Six numbers of an image in [0, 1]; as an extractor of features it is as good as any for a test."""

    num_features = 6

    def forward(self, x):
        return x[:, :, :2, 0].flatten(1).double()


def test_fid_is_the_frechet_distance_of_the_features():
    real, generated = torch.rand(300, 3, 4, 4) * 2 - 1, (torch.rand(200, 3, 4, 4) ** 2) * 2 - 1
    ours = frechet_distance(*(Corners()((images + 1) / 2) for images in (real, generated)))
    assert inception_fid(real, generated, features=Corners()) == pytest.approx(ours, rel=1e-3)


def test_grey_images_are_seen_as_rgb():
    real, generated = (torch.rand(50, 1, 4, 4) ** power * 2 - 1 for power in (1, 3))
    grey = inception_fid(real, generated, features=Corners())
    rgb = inception_fid(real.expand(-1, 3, -1, -1), generated.expand(-1, 3, -1, -1), features=Corners())
    assert grey == pytest.approx(rgb) and grey > 0.01


def test_without_weights_it_says_what_to_download(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="weights-inception-2015-12-05-6726825d.pth"):
        inception_fid(torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8))


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="1 or 3"):
        inception_fid(torch.zeros(4, 2, 8, 8), torch.zeros(4, 2, 8, 8))


def test_with_inception_itself():
    if not inception_path().is_file():
        pytest.skip(f"Inception's weights ({fid.INCEPTION_URL}) are not on this machine")
    images = torch.rand(60, 1, 28, 28) * 2 - 1
    assert inception_fid(images, images) < 1 < inception_fid(images, images.mul(0.2))
