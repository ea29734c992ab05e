"""Hand-tuned code is off unless asked for: what a user holds is plain, with torch.func, hooks and memory as anywhere."""

import copy
import subprocess
import sys

import pytest
import torch
from shared import PYTHON, subprocess_env, tiny_experiment, tiny_model
from torch.func import functional_call, grad, jacfwd, jacrev, vmap

from hebm_lib.model import build_model
from hebm_lib.sampling.cpu_speed import is_tuned, memory, tuned
from hebm_lib.training import Trainer


@pytest.fixture(params=["fresh", "as the trainer keeps it", "trained"])
def model(request, digits):
    """A small model before, and after, a `Trainer` had it in its hands."""
    built = build_model(tiny_model(image_channels=1))
    if request.param == "as the trainer keeps it":
        Trainer(built, tiny_experiment(), progress=False)
    if request.param == "trained":
        Trainer(built, tiny_experiment(epochs=1), progress=False).fit(digits.subset(range(200)))
    return built.eval()


@pytest.fixture(params=[False, True], ids=["outside", "inside a step"])
def anywhere(request):
    """torch.func works outside of training steps, and inside one as well: an algorithm may use it."""
    if not request.param:
        yield
        return
    with tuned():
        yield


def by_differences(function, z, step=1e-6):
    """The Jacobian of a function of a vector, central differences in double precision: ``(outputs, d)``."""
    columns = [(function(z + e) - function(z - e)).flatten() / (2 * step) for e in step * torch.eye(len(z)).to(z)]
    return torch.stack(columns, 1)


@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_jacobians_of_the_generator(model, transform, anywhere):
    model, z = model.double(), torch.randn(5, dtype=torch.float64)

    def image(z):
        return model.generator(z[None])[0].flatten()

    torch.testing.assert_close(transform(image)(z), by_differences(image, z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_jacobians_of_the_inference_network(model, transform, anywhere):
    model, x = model.double(), torch.rand(64, dtype=torch.float64) * 2 - 1

    def code(x):
        q = model.inference(x.view(1, 1, 8, 8))
        return torch.cat([q.mean[0], q.stddev[0]])

    torch.testing.assert_close(transform(code)(x), by_differences(code, x), rtol=1e-4, atol=1e-5)


def test_vmap_over_both_ladders(model, anywhere):
    z, x = torch.randn(6, 5), torch.rand(6, 1, 8, 8) * 2 - 1
    one_by_one = vmap(lambda z: model.generator(z[None])[0])(z)
    torch.testing.assert_close(one_by_one, model.generator(z), rtol=1e-4, atol=1e-5)
    means = vmap(lambda x: model.inference(x[None]).mean[0])(x)
    torch.testing.assert_close(means, model.inference(x).mean, rtol=1e-4, atol=1e-5)


def test_gradients_per_image_of_the_weights(model, anywhere):
    """`grad` under `vmap`, as for influence or Fisher information: their mean is the gradient of the mean."""
    generator, z, x = model.generator, torch.randn(4, 5), torch.rand(4, 1, 8, 8)
    weights = {name: p.detach() for name, p in generator.named_parameters()}

    def loss(weights, z, x):
        return (functional_call(generator, weights, (z[None],))[0] - x).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, z, x)
    generator.zero_grad()  # training leaves its last one
    (generator(z) - x).square().flatten(1).sum(1).mean().backward()
    for name, p in generator.named_parameters():
        torch.testing.assert_close(each[name].mean(0), p.grad, rtol=1e-3, atol=1e-4)


def test_a_hook_may_keep_what_it_was_given(model):
    """Features on the way, and gradients on the way back, are as they were when the hook saw them."""
    kept = []

    def keep(module, inputs, output):
        kept.append((output, output.detach().clone()))
        output.register_hook(lambda g: kept.append((g, g.clone())))

    modules = [m for m in [*model.generator.modules(), *model.inference.modules()] if not list(m.children())]
    for module in modules:
        module.register_forward_hook(keep)
    z = torch.randn(3, 5).requires_grad_(True)
    q = model.inference(torch.rand(3, 1, 8, 8))
    (model.generator(z).square().sum() + q.mean.square().sum() + q.stddev.sum()).backward()
    assert len(kept) > len(modules)
    assert all(torch.equal(now, then) for now, then in kept)


def test_the_tuned_forms_do_overwrite():
    """Else the test above would not notice them."""
    generator = build_model(tiny_model()).generator.to(memory_format=torch.channels_last)
    kept = []
    for module in generator.modules():
        if isinstance(module, torch.nn.ConvTranspose2d):
            module.register_forward_hook(lambda m, i, output: kept.append((output.detach(), output.detach().clone())))
    with tuned():
        generator(torch.randn(3, 5))
    assert kept and not any(torch.equal(now, then) for now, then in kept)


def test_a_step_of_the_trainer_is_tuned_and_nothing_else_is(digits):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, h):
            seen.append(is_tuned())
            return h

    model = build_model(tiny_model())
    model.generator.top.append(Spy())
    trainer = Trainer(model, tiny_experiment(epochs=1), progress=False)
    model.generator(torch.randn(2, 5))
    assert seen == [False]
    seen.clear()
    trainer.fit(digits.subset(range(100)), on_epoch=lambda t: t.model.generator(torch.randn(2, 5)))
    assert seen[0] and not seen[-1] and seen.count(False) == 1
    model.generator(torch.randn(2, 5))
    assert not seen[-1]


def test_weights_have_the_names_that_they_had_and_both_forms_give_the_same_updates(digits):
    plain = build_model(tiny_model())
    names = [name for name in plain.state_dict() if name.startswith("generator")]
    assert "generator.rungs.0.climb.0.weight" in names and "generator.top.0.weight" in names
    with tuned():
        assert list(copy.deepcopy(plain).state_dict()) == list(plain.state_dict())


MEMORY = """
import ctypes, torch
from shared import tiny_experiment, tiny_model
from hebm_lib import data
from hebm_lib.model import build_model
from hebm_lib.training import Trainer

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4 // 1024

def kept_after_freeing(megabytes=200):
    ctypes.CDLL(None).malloc_trim(0)  # what an earlier turn left would be taken again, and nothing would seem kept
    before = resident()
    blocks = [torch.ones(1 << 18) for _ in range(megabytes)]
    del blocks
    return resident() - before

digits = data.load_dataset("digits", "train").subset(range(100))
trainer = Trainer(build_model(tiny_model()), tiny_experiment(epochs=1), progress=False)
trainer.fit(digits, on_epoch=lambda t: print(kept_after_freeing()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of GNU's C library")
def test_freed_memory_is_kept_in_the_middle_of_fit():
    """In MB of 200 that were taken and freed."""
    done = subprocess.run([PYTHON, "-c", MEMORY], env=subprocess_env(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_the_c_library_is_asked_when_fit_begins_and_again_when_it_ends(monkeypatch, digits):
    """How much of the heap goes back to the system depends on what lies above it, so what is asked for is compared."""
    asked = []

    class Library:
        def mallopt(self, setting, value):
            asked.append((setting, value))

        def malloc_trim(self, keep):
            asked.append(("trim", keep))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    trainer = Trainer(build_model(tiny_model()), tiny_experiment(epochs=1), progress=False)
    assert asked == []
    during = []
    trainer.fit(digits, on_epoch=lambda t: during.extend(asked))
    assert during == [(-1, 1 << 30), (-3, 1 << 25)]
    assert asked[2:] == [(-1, 1 << 26), (-3, 1 << 25), ("trim", 0)]
