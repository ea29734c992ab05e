"""The measuring tools on inputs whose answer is known beforehand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shared import require_data, tiny_model
from torch import nn
from torch.distributions import Independent, Normal

from hebm_lib import GaussianPrior, LatentSpec, build_model, load_dataset
from hebm_lib.checkpoint import CheckpointError
from hebm_lib.data import ImageDataset
from hebm_lib.metrics import classifier as classifiers
from hebm_lib.metrics.bound import measure_bound
from hebm_lib.metrics.classifier import (
    DigitClassifier,
    accuracy,
    fit_classifier,
    load_classifier,
    predict,
    reading_accuracy,
)
from hebm_lib.metrics.hierarchy import (
    brightness,
    class_change,
    level_pairs,
    pixel_variance_share,
    slant,
    stroke_width,
    style_variation,
    tint,
    traversal_classes,
    traversal_range,
    traverse_report,
)
from hebm_lib.metrics.latent_classifier import encode_dataset, fit_latent_classifier, latent_accuracy
from hebm_lib.metrics.summary import class_measures, exact_log_z
from hebm_lib.prior import standard_normal_log_prob
from hebm_lib.reproduction.results import load_classifier_accuracy

# ---- stroke width and slant -----------------------------------------------------------------------------------------


def bars(*widths, side=32):
    images = torch.full((len(widths), 1, side, side), -1.0)
    for image, width in zip(images, widths):
        start = (side - width) // 2
        image[0, 4:-4, start : start + width] = 1
    return images


def test_stroke_width_of_bars():
    """On a long bar of even width w the measure is w but for the bar's ends; on an odd one 1/w more."""
    widths = stroke_width(bars(2, 4, 6))
    assert widths == pytest.approx([2, 4, 6], rel=0.12)
    assert stroke_width(bars(3))[0] == pytest.approx(3 + 1 / 3, rel=0.1)


def test_stroke_width_does_not_depend_on_place_direction_or_length():
    upright = bars(4)
    assert stroke_width(upright.transpose(2, 3)) == pytest.approx(stroke_width(upright))
    assert stroke_width(torch.roll(upright, (2, 5), (2, 3))) == pytest.approx(stroke_width(upright))
    shorter = upright.clone()
    shorter[:, :, :10] = -1
    assert stroke_width(shorter) == pytest.approx(stroke_width(upright), rel=0.1)


def sheared(shear, side=33):
    """A vertical bar of width 5 pushed right by ``shear`` pixels per row upwards, with soft edges."""
    rows = side // 2 - torch.arange(side).float()
    columns = torch.arange(side).float() - side // 2
    distance = (columns[None, :] - shear * rows[:, None]).abs()
    image = (3 - distance).clamp(0, 1) * (rows.abs() <= 10)[:, None]
    return (2 * image - 1)[None, None]


@pytest.mark.parametrize("shear", [-0.5, -0.2, 0.0, 0.3, 0.6])
def test_slant_of_sheared_bars(shear):
    assert slant(sheared(shear))[0] == pytest.approx(shear, abs=0.03)


def test_slant_is_positive_to_the_right():
    image = torch.full((1, 1, 16, 16), -1.0)
    for i in range(12):
        image[0, 0, 13 - i, 2 + i] = 1  # from the lower left to the upper right: /
    assert slant(image)[0] == pytest.approx(1, abs=0.01)
    assert slant(image.flip(3))[0] == pytest.approx(-1, abs=0.01)


def test_slant_does_not_depend_on_place():
    assert slant(torch.roll(sheared(0.3), (3, -4), (2, 3))) == pytest.approx(slant(sheared(0.3)), abs=1e-6)


def test_an_empty_image_has_neither():
    empty = torch.full((2, 1, 8, 8), -1.0)
    assert np.isnan(stroke_width(empty)).all()
    assert np.isnan(slant(empty)).all()


# ---- what changes with a level: a model whose levels do what is known ----------------------------------------------


class FakeModel(nn.Module):
    """An "image" whose pixels say what the levels say: z_1 its brightness, z_2 its class by sign and size."""

    latents = LatentSpec((1, 2))

    def decode(self, z):
        return z[:, :, None, None]


class BySign(nn.Module):
    """Class 0, 1 or 2 by one channel: below -1, between, above 1."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, x):
        value = x[:, self.channel, 0, 0]
        label = (value > -1).long() + (value > 1).long()
        return nn.functional.one_hot(label, 3).float()


VALUES = torch.tensor([-2.0, 0.0, 2.0])


def test_classes_along_a_traversal():
    z = torch.zeros(2, 3)
    assert traversal_classes(FakeModel(), BySign(1), z, 2, 0, VALUES).tolist() == [[0, 1, 2]] * 2
    assert traversal_classes(FakeModel(), BySign(1), z, 1, 0, VALUES).tolist() == [[1, 1, 1]] * 2


def test_traverse_report_of_a_level_that_decides_and_one_that_does_not():
    z = torch.randn(50, 3)
    decides = traverse_report(FakeModel(), BySign(1), z, 2, 0, VALUES, (0, 1, 2))
    idle = traverse_report(FakeModel(), BySign(1), z, 1, 0, VALUES, (0, 1, 2))
    assert (decides.stay, decides.visit) == (0, 1)
    assert (idle.stay, idle.visit) == (1, 0)


def test_traverse_report_counts_samples():
    """In a quarter of the samples the unit is overruled: stay 1/4, visit 3/4; of two wanted classes likewise."""

    class Overruled(FakeModel):
        def decode(self, z):
            z = z.clone()
            z[z[:, 0] > 0, 1] = 0
            return z[:, :, None, None]

    z = torch.zeros(8, 3)
    z[:2, 0] = 1
    report = traverse_report(Overruled(), BySign(1), z, 2, 0, VALUES, (0, 1, 2))
    assert (report.stay, report.visit) == (0.25, 0.75)
    assert traverse_report(Overruled(), BySign(1), z, 2, 0, VALUES[1:], (0, 1, 2)).visit == 0, "class 0 is never met"


def test_class_change_per_level():
    z, donors = torch.zeros(4, 3), torch.zeros(4, 3)
    donors[:3, 1] = 2.0  # three of four donors have another class, in level 2 only
    donors[:, 0] = 2.0
    assert class_change(FakeModel(), BySign(1), z, donors) == [0, 0.75]
    assert class_change(FakeModel(), BySign(0), z, donors) == [1, 0]


def test_class_change_of_levels_redrawn_together():
    z, donors = torch.zeros(4, 3), torch.zeros(4, 3)
    donors[:1, 0], donors[3:, 1] = 2.0, 2.0
    assert class_change(FakeModel(), BySign(1), z, donors, [(1, 2)]) == [0.25]
    assert level_pairs(FakeModel()) == [(1, 2)]
    with pytest.raises(ValueError, match="pairs"):
        level_pairs(SimpleNamespace(latents=LatentSpec((1, 1, 1))))


def test_pixel_variance_share_is_the_total_effect_index():
    """x = (z_1, 2 z_2 + z_3, z_2 z_3) of independent standard normals: total effects by hand, in variances.

    The whole variance is 1 + 5 + 1. z_1 (level 1) accounts for 1 of it, levels 2 and 3 for (4 + 1) and (1 + 1), since the
    product counts for both.
    """

    class Product(nn.Module):
        latents = LatentSpec((1, 1, 1))

        def decode(self, z):
            a, b, c = z.T
            return torch.stack([a, 2 * b + c, b * c], 1)[:, :, None, None]

    z, donors = torch.randn(2, 200_000, 3)
    share = pixel_variance_share(Product(), z, donors)
    assert share == pytest.approx([1 / 7, 5 / 7, 2 / 7], abs=0.01)
    assert pixel_variance_share(Product(), z, donors, [(1, 2, 3), (2, 3)]) == pytest.approx([1, 6 / 7], abs=0.01)


def test_light_and_colour_have_levels_of_their_own():
    """z_1 moves all channels alike, z_2 red against blue: all of the brightness is z_1's and all of the tint z_2's."""

    class Lamp(nn.Module):
        latents = LatentSpec((1, 1))

        def decode(self, z):
            light, red = z.T
            return torch.stack([light + red, light, light - red], 1)[:, :, None, None].expand(-1, -1, 2, 2)

    z, donors = torch.randn(2, 20_000, 2)
    for statistic, expected in ((brightness, [1, 0]), (tint, [0, 1]), (None, [3 / 5, 2 / 5])):
        share = pixel_variance_share(Lamp(), z, donors, statistic=statistic)
        assert share == pytest.approx(expected, abs=0.03)


def test_style_variation_is_the_spread_over_donors():
    """A model that draws a bar: z_1 is its width, z_2 its shear."""

    class Bars(nn.Module):
        latents = LatentSpec((1, 1))

        def decode(self, z):
            images = []
            for width, shear in z.tolist():
                rows = 16 - torch.arange(33).float()[:, None]
                distance = (torch.arange(33).float()[None] - 16 - shear * rows).abs()
                images.append(torch.where((distance <= width / 2) & (rows.abs() <= 12), 1.0, -1.0))
            return torch.stack(images)[:, None]

    z = torch.tensor([[5.0, 0.0], [5.0, 0.1]])
    donors = torch.tensor([[3.0, -0.3], [5.0, 0.0], [7.0, 0.3]])
    spread = style_variation(Bars(), z, donors)
    assert spread["stroke_width"][0] > 5 * spread["stroke_width"][1]
    assert spread["slant"][1] == pytest.approx(np.std([-0.3, 0, 0.3]), abs=0.03)
    assert spread["slant"][0] < 0.1 * spread["slant"][1]
    widths = stroke_width(Bars().decode(torch.tensor([[3.0, 0.0], [5.0, 0.0], [7.0, 0.0]])))
    tilted = stroke_width(Bars().decode(torch.tensor([[3.0, 0.1], [5.0, 0.1], [7.0, 0.1]])))
    assert spread["stroke_width"][0] == pytest.approx((widths.std() + tilted.std()) / 2, rel=1e-5)


def test_traversal_range_covers_the_middle_of_the_codes():
    codes = torch.linspace(-10, 10, 1001)
    values = traversal_range(codes, points=5, coverage=0.8)
    torch.testing.assert_close(values, torch.tensor([-8.0, -4.0, 0.0, 4.0, 8.0]), atol=1e-3, rtol=0)


# ---- the latent classifier (Table 1) --------------------------------------------------------------------------------


class CodeModel(nn.Module):
    """Encodes an image as its own first pixels: z_1 the first, z_2 the next two."""

    latents = LatentSpec((1, 2))
    device = torch.device("cpu")

    def encode(self, x):
        mean = x.flatten(1)[:, :3]
        return Independent(Normal(mean, torch.full_like(mean, 0.5)), 1)

    def draw(self, x, *, generator):
        return self.encode(x).mean + 0.5 * torch.randn(len(x), 3, generator=generator)


def coded(n, seed):
    """Pixels: noise in z_1; in z_2 the class, one of four corners, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (n,), generator=generator)
    images = torch.randint(256, (n, 1, 2, 2), generator=generator)
    corners = torch.tensor([[40, 40], [40, 200], [200, 40], [200, 200]])[labels]
    images.view(n, 4)[:, 1:3] = corners + torch.randint(-30, 30, (n, 2), generator=generator)
    return ImageDataset(images.to(torch.uint8), labels)


def test_latent_accuracy_tells_a_level_that_knows_from_one_that_does_not():
    bottom, top = latent_accuracy(CodeModel(), coded(1000, 1), coded(2000, 2), epochs=10)
    assert top > 0.99
    assert bottom == pytest.approx(0.25, abs=0.05)


def test_the_classifier_is_not_linear():
    """Exclusive or: no linear map gets past 1/2."""
    codes = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
    labels = (codes[:, 0] * codes[:, 1] > 0).long()
    classifier = fit_latent_classifier(codes[:1000], labels[:1000])
    assert (classifier(codes[1000:]).argmax(1) == labels[1000:]).float().mean() > 0.95
    hidden = [m for m in classifier.modules() if isinstance(m, nn.Linear)]
    assert [tuple(m.weight.shape) for m in hidden] == [(256, 2), (2, 256)]


def test_the_classifier_takes_raw_codes_of_any_scale():
    codes = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
    labels = (codes[:, 0] > 0).long()
    far = 1e-3 * codes + 500.0
    classifier = fit_latent_classifier(far, labels)
    assert (classifier(far).argmax(1) == labels).float().mean() > 0.9


def test_fitting_is_repeatable_and_leaves_the_random_state_alone():
    codes, labels = torch.randn(200, 2), torch.arange(200) % 2
    state = torch.get_rng_state()
    one, two, other = (fit_latent_classifier(codes, labels, epochs=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one(codes), two(codes)) and not torch.equal(one(codes), other(codes))


def test_codes_are_means_or_draws():
    data = coded(300, 1)
    means = encode_dataset(CodeModel(), data, batch=128)
    assert torch.equal(means, data.batch(slice(None)).flatten(1)[:, :3])
    sampled = encode_dataset(CodeModel(), data, sampled=True, batch=128)
    assert (sampled - means).std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(sampled, encode_dataset(CodeModel(), data, sampled=True, batch=128))


# ---- the bound ------------------------------------------------------------------------------------------------------


def test_measure_bound_is_the_mean_over_the_data(digits):
    model = build_model(tiny_model()).eval()
    data = digits.subset(slice(0, 230))
    report = measure_bound(model, data, steps=5, seed=3, batch=100)
    generator = torch.Generator().manual_seed(3)
    x = data.batch(slice(None))
    q = model.encode(x)
    noise = torch.cat([torch.randn(n, 5, generator=generator) for n in (100, 100, 30)])
    terms = model.elbo(x, z=q.mean + q.stddev * noise, posterior=q)
    assert report.mse == pytest.approx((model.reconstruct(x) - x).square().mean().item(), rel=1e-5)
    assert report.mse01 == pytest.approx(((model.reconstruct(x) - x) / 2).square().mean().item(), rel=1e-5)
    assert report.reconstruction == pytest.approx(terms.reconstruction.mean().item(), rel=1e-5)
    assert report.kl == pytest.approx(terms.kl.mean(0).tolist(), rel=1e-5)
    assert report.elbo_plus_log_z == pytest.approx(terms.elbo_plus_log_z.mean().item(), rel=1e-5)
    assert report.f_posterior == pytest.approx(terms.energy.mean().item(), rel=1e-4)
    z = model.prior.sample(230, 5, 0.4, generator=generator)
    assert report.f_prior == pytest.approx(model.prior(z).mean().item(), rel=1e-4)


def test_measure_bound_with_a_gaussian_prior(digits):
    model = build_model(tiny_model()).eval()
    model.prior = GaussianPrior(model.latents)
    report = measure_bound(model, digits.subset(slice(0, 50)), steps=2)
    assert report.f_posterior == report.f_prior == 0
    assert report.elbo_plus_log_z == pytest.approx(report.reconstruction - sum(report.kl), rel=1e-4)


# ---- the digit classifier -------------------------------------------------------------------------------------------


def test_the_classifier_learns_digits():
    train, test = (load_dataset("digits", split, size=12) for split in ("train", "test"))
    classifier = fit_classifier(train, epochs=12, rate=3e-3, progress=False, worn=False)
    assert not classifier.training
    share = accuracy(classifier, test)
    assert share > 0.85
    found = predict(classifier, test.batch(slice(None)), batch=100)
    assert share == pytest.approx((found == test.labels).float().mean().item())


def test_a_saved_classifier_gives_the_same_answers(tmp_path, monkeypatch):
    classifier = DigitClassifier(classes=3, size=8).eval()
    monkeypatch.setattr(classifiers, "pretrained_folder", lambda: tmp_path)
    classifiers.save_classifier(classifier, tmp_path / "small.safetensors", test_accuracy=0.5)
    state = torch.get_rng_state()
    again = load_classifier("small")
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.training and again.classes == 3
    x = torch.rand(50, 1, 8, 8) * 2 - 1
    torch.testing.assert_close(again(x), classifier(x), atol=1e-2, rtol=0)


def test_a_missing_or_damaged_classifier_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "pretrained_folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="small.safetensors is not a classifier of this library"):
        load_classifier("small")
    (tmp_path / "small.safetensors").write_bytes(b"12345678")
    with pytest.raises(CheckpointError, match="small.safetensors is not a classifier of this library"):
        load_classifier("small")


def test_the_published_classifier_is_a_good_measuring_tool():
    """At least 99 % of MNIST's test images: every class-change rate of the book is counted with it."""
    require_data("mnist")
    try:
        classifier = load_classifier()
    except CheckpointError as error:
        pytest.skip(str(error))
    assert accuracy(classifier, load_dataset("mnist", "test", size=32)) >= 0.99


def test_fainter_and_softer_images():
    x = torch.full((1, 1, 5, 5), -1.0)
    x[0, 0, 2, 2] = 1.0
    assert torch.equal(classifiers.fainter(x, 1.0), x)
    assert classifiers.fainter(x, 0.25)[0, 0, 2, 2] == -0.5 and classifiers.fainter(x, 0.25)[0, 0, 0, 0] == -1
    soft = classifiers.softer(x)
    torch.testing.assert_close(soft[0, 0, 1:4, 1:4], torch.full((3, 3), 2 / 9 - 1))
    assert (soft + 1).sum().item() == pytest.approx((x + 1).sum().item()), "the ink is spread, not lost"
    torch.testing.assert_close(classifiers.softer(torch.full((1, 1, 3, 3), -1.0)), torch.full((1, 1, 3, 3), -1.0))


def test_worn_images_keep_black_black_and_lose_ink():
    x = torch.where(torch.rand(64, 1, 12, 12) < 0.3, 1.0, -1.0)
    worn = classifiers.fainter_and_softer(x)
    share = (worn + 1).sum((1, 2, 3)) / (x + 1).sum((1, 2, 3))
    assert worn.min() >= -1 and share.min() > 0.15 and share.max() < 1.001, "blurring lets a little ink off the border"
    assert share.max() > 0.8 and share.min() < 0.35
    crisp = [len(image.unique()) == 2 for image in worn]
    assert 16 < sum(crisp) < 48, "half of them are blurred"


def test_the_published_classifiers_read_mnist_and_only_one_reads_faint_digits():
    require_data("mnist")
    test = load_dataset("mnist", "test", size=32)
    few = test.subset(slice(None, None, 8))  # its first half is cleaner than its second
    stored = load_classifier_accuracy()
    for name, shares in stored.items():
        found = reading_accuracy(load_classifier(name), few)
        assert shares["as they are"] >= 0.99
        for kind, share in found.items():
            assert share == pytest.approx(shares[kind], abs=0.03), f"{name}, {kind}"
    assert min(stored["mnist-classifier"].values()) > 0.97
    assert stored["mnist-classifier-plain"]["a third of the ink"] < 0.5


def test_class_measures_are_those_of_the_two_figures():
    model, reader = FakeModel(), BySign(1)
    z, donors = torch.randn(2, 200, 3)
    walks = [torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-2.0, 0.0, 2.0]), torch.tensor([0.0, 1.0])]
    read = class_measures(model, reader, z, donors, walks, (0, 1, 2))
    assert read["class_change"] == class_change(model, reader, z, donors)
    for i, (unit, values) in enumerate(zip(((1, 0), (2, 0), (2, 1)), walks, strict=True)):
        report = traverse_report(model, reader, z, *unit, values, (0, 1, 2))
        assert (read["traversal_stay"][i], read["traversal_visit"][i]) == (report.stay, report.visit)
    assert read["traversal_stay"] == [1.0, 0.0, 1.0] and read["traversal_visit"] == [0.0, 1.0, 0.0], (
        "one unit is the class"
    )
    assert set(class_measures(model, reader, z, donors, None, (0, 1, 2))) == {"class_change"}


def test_exact_log_z_of_a_quadratic_energy():
    """exp(f) N(z; 0, I) with f = b·z has Z = exp(|b|²/2); it is measured in float64 and leaves the model as it was."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.Parameter(torch.tensor([3.0, -1.5]))

        def log_prob_unnormalized(self, z):
            return z @ self.b + standard_normal_log_prob(z)

    model = nn.Module()
    model.prior = Linear()
    assert exact_log_z(model) == pytest.approx((9 + 2.25) / 2, abs=1e-6)
    assert model.prior.b.dtype == torch.float32
