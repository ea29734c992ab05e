"""Linear readers of attributes: what they find where the answer is known, and input that is refused."""

import pytest
import torch

from hebm_lib.metrics.attributes import fit_attribute_reader

NOISE = torch.Generator().manual_seed(0)
X = torch.randn(600, 5, generator=NOISE)
Y = torch.stack(
    [X[:, 0] > 0, X[:, 1] + 0.1 * torch.randn(600, generator=NOISE) > 1, torch.randn(600, generator=NOISE) > 0], 1
)


@pytest.fixture(scope="module")
def reader():
    return fit_attribute_reader(X[:400], Y[:400].int(), strength=1.0)


def test_what_the_features_say_is_read_and_what_they_do_not_is_guessed(reader):
    first, second, none = reader.auroc(X[400:], Y[400:].int())
    assert first > 0.99 and second > 0.97 and abs(none - 0.5) < 0.12


def test_only_the_attribute_whose_feature_is_redrawn_flips(reader):
    other = X.clone()
    other[:, 0] = X.flip(0)[:, 0]
    flips = reader.flips(X, other)
    assert abs(flips[0] - 0.5) < 0.06 and flips[1] < 0.05
    assert torch.equal(reader.flips(X, X), torch.zeros(3, dtype=torch.float64))


def test_an_attribute_without_a_second_value_is_refused():
    with pytest.raises(ValueError, match=r"all images agree on attribute\(s\) \[1\]"):
        fit_attribute_reader(X, torch.stack([Y[:, 0], torch.ones(600, dtype=torch.bool)], 1).int())
    with pytest.raises(ValueError, match="features of 600 images, attributes of 599"):
        fit_attribute_reader(X, Y[1:].int())


def test_one_value_in_the_test_set_is_no_score(reader):
    assert torch.tensor(reader.auroc(X[:3], torch.ones(3, 3).int())).isnan().all()
