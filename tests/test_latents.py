import pytest
import torch

from hebm_lib import LatentSpec

SPEC = LatentSpec((2, 3, 1))


def numbered(n=4, d=SPEC.total):
    return torch.arange(n * d, dtype=torch.float32).view(n, d)


def test_sizes():
    assert (SPEC.levels, SPEC.total, SPEC.dims) == (3, 6, (2, 3, 1))


def test_dims_given_as_a_list_become_a_tuple_so_that_specs_compare_and_hash():
    assert LatentSpec([2, 3, 1]) == SPEC
    assert hash(LatentSpec([2, 3, 1])) == hash(SPEC)


def test_columns_are_bottom_first_and_cover_the_latent():
    assert [SPEC.columns(level) for level in (1, 2, 3)] == [slice(0, 2), slice(2, 5), slice(5, 6)]


def test_split_gives_the_levels_bottom_first():
    z1, z2, z3 = SPEC.split(numbered())
    assert z1[0].tolist() == [0, 1]
    assert z2[0].tolist() == [2, 3, 4]
    assert z3[0].tolist() == [5]


@pytest.mark.parametrize("shape", [(4, 6), (6,), (2, 5, 6)])
def test_join_is_the_inverse_of_split(shape):
    z = torch.randn(shape)
    assert torch.equal(SPEC.join(SPEC.split(z)), z)


def test_redraw_takes_one_level_from_the_donor_and_keeps_the_rest():
    z, donor = numbered(), -1 - numbered()
    for level in (1, 2, 3):
        out = SPEC.redraw(z, level, donor)
        columns = SPEC.columns(level)
        kept = [c for c in range(6) if not columns.start <= c < columns.stop]
        assert torch.equal(out[:, columns], donor[:, columns])
        assert torch.equal(out[:, kept], z[:, kept])
    assert torch.equal(z, numbered()), "redraw must not write into its argument"


def test_redraw_takes_several_levels_together():
    z, donor = numbered(), -numbered()
    twice = SPEC.redraw(SPEC.redraw(z, 1, donor), 3, donor)
    assert torch.equal(SPEC.redraw(z, (1, 3), donor), twice)


def test_redraw_broadcasts_samples_against_donors():
    z, donors = torch.randn(4, 6), torch.randn(7, 6)
    out = SPEC.redraw(z[:, None], 2, donors[None])
    assert out.shape == (4, 7, 6)
    assert torch.equal(out[3, 5, :2], z[3, :2])
    assert torch.equal(out[3, 5, 2:5], donors[5, 2:5])


def test_traverse_moves_one_unit_only():
    z, values = numbered(), torch.tensor([-2.0, 0.0, 2.0])
    out = SPEC.traverse(z, level=2, unit=1, values=values)
    assert out.shape == (4, 3, 6)
    assert torch.equal(out[..., 3], values.expand(4, 3))
    others = [0, 1, 2, 4, 5]
    assert torch.equal(out[..., others], z[:, None, others].expand(4, 3, 5))


@pytest.mark.parametrize("dims", [(), (2, 0), (-1,)])
def test_a_latent_without_levels_or_units_is_refused(dims):
    with pytest.raises(ValueError, match="at least one"):
        LatentSpec(dims)


@pytest.mark.parametrize("level", [0, 4, -1])
def test_levels_count_from_one_to_the_top(level):
    with pytest.raises(ValueError, match="between 1 .* and 3"):
        SPEC.columns(level)


@pytest.mark.parametrize("unit", [-1, 3])
def test_a_unit_outside_its_level_is_refused(unit):
    with pytest.raises(ValueError, match="units 0 … 2"):
        SPEC.traverse(numbered(), 2, unit, torch.zeros(3))


@pytest.mark.parametrize("shape", [(4, 5), (4, 7), ()])
def test_a_latent_of_another_width_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(n, 6\)"):
        SPEC.split(torch.zeros(shape))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="widths"):
        SPEC.join([torch.zeros(4, 2), torch.zeros(4, 3)])
    with pytest.raises(ValueError, match="widths"):
        SPEC.join([torch.zeros(4, 3), torch.zeros(4, 2), torch.zeros(4, 1)])
