"""Pictures of attacks: what stands in which place."""

import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.metrics.attack import Attack
from hebm_lib.reproduction.figures.attack import attack_rows, draw_attacks, explore_attack, plot_success


@pytest.fixture
def model():
    return build_model(tiny_model()).eval()


@pytest.fixture
def attack():
    images = torch.rand(4, 3, 1, 8, 8) * 2 - 1
    return Attack(images, torch.rand(4, 3), torch.rand(4, 3))


def test_rows_have_the_papers_four_columns(model):
    x, target, attacked = torch.rand(3, 2, 1, 8, 8) * 2 - 1
    rows = attack_rows(model, x, target, attacked).view(2, 4, 1, 8, 8)
    assert torch.equal(rows[1, 0], x[1]) and torch.equal(rows[1, 1], target[1])
    assert torch.equal(rows[1, 2], attacked[1])
    assert torch.allclose(rows[1, 3], model.reconstruct(attacked)[1], atol=1e-6)


def test_panels_stand_in_the_order_given():
    images = torch.rand(8, 1, 8, 8)
    fig = draw_attacks([[("a", images), ("b", images)], [("c", images), ("d", images)]])
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "c", "d"]
    assert [text.get_text() for text in fig.axes[0].texts] == ["original", "target", "attacked", "rebuilt"]


def test_the_explorer_says_what_the_change_cost(model, attack):
    x = torch.zeros(3, 1, 8, 8)
    target = torch.full((3, 1, 8, 8), attack.distortion[2, 1].item() / 8 * 2)  # twice as far as the attack went
    fig = explore_attack(model, x, target, attack, 1, 2)
    title = fig.axes[0].get_title()
    assert title.startswith("changed by 50% of the way") and f"{attack.divergence[2, 1]:.2g} nats" in title


def test_curves_of_success_have_a_panel_per_level_and_a_line_per_seed():
    def levels(share):
        at = {"0.1": {"changed": share, "noise": 0.0}, "0.5": {"changed": 2 * share, "noise": 0.05}}
        return {"1": {"budgets": at}, "2": {"budgets": at}}

    fig = plot_success({"ours": [levels(0.1), levels(0.2)], "theirs": [levels(0.3)]})
    left, right = fig.axes
    assert len(left.lines) == len(right.lines) == 6  # success and noise of three seeds
    assert left.lines[2].get_xdata().tolist() == [0, 0.1, 0.5] and left.lines[2].get_ydata().tolist() == [0, 0.2, 0.4]
    assert left.lines[3].get_ydata().tolist() == [0, 0, 0.05] and left.lines[4].get_linestyle() == "--"
    assert [text.get_text() for text in fig.legends[0].texts] == [
        "ours",
        "ours, random change",
        "theirs",
        "theirs, random change",
    ]
