"""Every backend of prior sampling against the float64 reference on the same noise, and how one is chosen."""

import contextlib
import subprocess
import sys
import tracemalloc
import types
import warnings
from dataclasses import replace

import pytest
import torch
from shared import PYTHON, subprocess_env

import hebm_lib
from hebm_lib import JointEBMPrior, LatentSpec, langevin_dynamics, sampling
from hebm_lib.sampling import BACKENDS, Perceptron, objections, run_chain

SHAPES = [(5, (7,)), (16, (50,) * 4), (50, (100, 100)), (3, (9, 5, 8)), (1, (1,))]
CPU_BACKENDS = ["reference", "closed-form", "numba"]


def need(backend: str) -> str:
    objection = objections("cpu")[backend]
    if objection:
        pytest.skip(f"{backend}: {objection}")
    return backend


def perceptron(dim, hidden, slope=0.2, dtype=torch.float32) -> Perceptron:
    """Weights of a size at which f moves the chain, other than at initialisation."""
    widths = (dim, *hidden, 1)
    weights = [2 * torch.randn(b, a) / a**0.5 for a, b in zip(widths, widths[1:], strict=False)]
    return Perceptron(weights, [torch.randn(len(w)) for w in weights], slope).to(dtype)


class Replay:
    """`torch.randn` that hands out given draws, in whatever precision is asked for, instead of the global generator's."""

    def __init__(self, monkeypatch, noise):
        self.noise, self.draw, self.randn = noise, iter(noise), torch.randn
        monkeypatch.setattr(torch, "randn", self)

    def again(self):
        self.draw = iter(self.noise)

    def __call__(self, *shape, generator=None, dtype=torch.float32, out=None, **options):
        if generator is not None:
            return self.randn(*shape, generator=generator, dtype=dtype, out=out, **options)
        drawn = next(self.draw).to(dtype)
        return drawn if out is None else out.copy_(drawn)


def agree(z, exact) -> None:
    """A float32 chain follows the float64 reference.

    Between the kinks of the leaky ReLUs ∇f is constant, so a step shrinks what two chains differ by to (1 - s²/2): the
    roundings of a step, some 1e-7 of ‖z‖, add up to at most 2/s² times as much, here about 1e-5. An activation that
    comes within rounding of zero may fall on either side, and then ∇f differs by a piece: rare (fewer than one chain in
    fifty here), and small, since the piece is a part of ∇f and is multiplied by s²/2.
    """
    apart = (z.double() - exact).abs().amax(-1).flatten()
    assert (apart < 2e-5).double().mean() > 0.98, f"{(apart >= 2e-5).sum()} of {len(apart)} chains are apart"
    assert apart.max() < 0.1


# ---- the same chain -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("dim, hidden", SHAPES)
@pytest.mark.parametrize("n", [1, 8, 9, 16, 100])
def test_each_backend_follows_the_float64_reference_on_the_same_noise(backend, dim, hidden, n, monkeypatch):
    f, z0 = perceptron(dim, hidden), torch.randn(n, dim)
    replay = Replay(monkeypatch, torch.randn(60, n, dim))
    exact = langevin_dynamics(f.to(torch.float64).log_prob_unnormalized, z0.double(), 60, 0.4)
    replay.again()
    agree(run_chain(f, z0, 60, 0.4, backend=need(backend)), exact)
    replay.again()
    free = langevin_dynamics(lambda z: -0.5 * z.square().sum(-1), z0.double(), 60, 0.4)
    assert (exact - free).abs().max() > 0.01, "f is too weak for this test to notice it"


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
def test_every_slope(backend, slope, monkeypatch):
    f, z0 = perceptron(6, (9, 8), slope), torch.randn(40, 6)
    replay = Replay(monkeypatch, torch.randn(20, 40, 6))
    exact = langevin_dynamics(f.to(torch.float64).log_prob_unnormalized, z0.double(), 20, 0.4)
    replay.again()
    agree(run_chain(f, z0, 20, 0.4, backend=need(backend)), exact)


def test_the_smooth_activation_follows_the_float64_reference(monkeypatch):
    f, z0 = replace(perceptron(6, (9, 8)), activation="silu"), torch.randn(40, 6)
    replay = Replay(monkeypatch, torch.randn(60, 40, 6))
    exact = langevin_dynamics(f.to(torch.float64).log_prob_unnormalized, z0.double(), 60, 0.4)
    replay.again()
    torch.testing.assert_close(run_chain(f, z0, 60, 0.4).double(), exact, atol=1e-4, rtol=0)  # no kinks: all chains
    replay.again()
    leaky = run_chain(replace(f, activation="leaky"), z0, 60, 0.4)
    assert (leaky - exact).abs().max() > 0.1


def test_a_backend_without_that_gradient_gives_way(fresh):
    """Silently where nobody asked for it; an error where somebody did."""
    prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(9, 8), activation="silu").eval()
    z = torch.randn(20, 5)
    torch.testing.assert_close(prior.plain()(z), prior(z))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prior.backend_for() == "closed-form"
        prior.sample(4, 9, 0.4)
    with pytest.raises(RuntimeError, match="'numba' cannot run here: it has no gradient for the activation 'silu'"):
        prior.sample(4, 9, 0.4, backend=need("numba"))
    with pytest.raises(ValueError, match="there is no activation 'tanh': there are leaky, silu"):
        JointEBMPrior(LatentSpec((2, 3)), activation="tanh")


@pytest.mark.parametrize("backend", ["closed-form", "numba"])
def test_noise_comes_from_the_generator_in_the_references_order(backend):
    f, z0 = perceptron(5, (12, 12)), torch.randn(33, 5)
    state = torch.get_rng_state()
    one, two = (torch.Generator().manual_seed(3) for _ in range(2))
    z = run_chain(f, z0, 70, 0.3, generator=one, backend=need(backend))
    agree(z, langevin_dynamics(f.log_prob_unnormalized, z0, 70, 0.3, generator=two).double())
    assert torch.equal(one.get_state(), two.get_state()), "another number of draws"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("backend", ["closed-form", "numba"])
def test_without_a_generator_noise_is_torchs_own(backend):
    f, z0 = perceptron(5, (12, 12)), torch.randn(33, 5)
    ends = []
    for name in ("reference", need(backend)):
        torch.manual_seed(4)
        ends.append(run_chain(f, z0, 10, 0.3, backend=name))
    agree(ends[1], ends[0].double())


def test_the_plain_perceptron_is_the_priors_f():
    for training in (True, False):
        prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(9, 8), lipschitz=3.0).train(training)
        z = torch.randn(20, 5)
        plain = prior.plain()(z)
        torch.testing.assert_close(plain, prior.eval()(z))
    assert prior.plain().widths == (5, 9, 8)
    assert prior.plain(torch.float64).weights[0].dtype == torch.float64


# ---- numba: the same bits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_the_result_does_not_depend_on_the_number_of_threads(n, monkeypatch):
    need("numba")
    monkeypatch.setattr(sampling.numba_chain, "THREAD_FLOPS", 1)
    f, z0, ends = perceptron(6, (20, 20)), torch.randn(n, 6), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        noise = torch.Generator().manual_seed(1)
        ends.append(run_chain(f, z0, 30, 0.4, generator=noise, backend="numba"))
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_a_chain_does_not_depend_on_its_neighbours(monkeypatch):
    """The same chains alone (a half block), in a full block and in other blocks: bit for bit the same."""
    need("numba")
    f, z0, noise = perceptron(6, (20, 11)), torch.randn(101, 6), torch.randn(9, 101, 6)
    for part in (slice(0, 5), slice(0, 8), slice(3, 19), slice(90, 101)):
        Replay(monkeypatch, noise)
        whole = run_chain(f, z0, 9, 0.4, backend="numba")
        Replay(monkeypatch, noise[:, part])
        assert torch.equal(run_chain(f, z0[part], 9, 0.4, backend="numba"), whole[part])


def test_other_cut_points_of_the_noise_change_nothing(monkeypatch):
    need("numba")
    f, z0, ends = perceptron(6, (20, 20)), torch.randn(50, 6), []
    for floats in (1, 1_000, 1 << 20):
        monkeypatch.setattr(sampling.numba_chain, "NOISE_FLOATS", floats)
        ends.append(run_chain(f, z0, 25, 0.4, generator=torch.Generator().manual_seed(1), backend="numba"))
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


# ---- trajectories, long chains, large batches -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_trajectory_keeps_every_nth_state(backend):
    f, z0 = perceptron(5, (12,)), torch.randn(20, 5)

    def run(**how):
        return run_chain(f, z0, 24, 0.4, generator=torch.Generator().manual_seed(1), backend=need(backend), **how)

    whole, sparse = run(trajectory=True), run(trajectory=True, every=6)
    assert whole.shape == (25, 20, 5) and sparse.shape == (5, 20, 5)
    assert torch.equal(whole[0], z0) and torch.equal(whole[-1], run())
    torch.testing.assert_close(sparse, whole[::6], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("every", [0, -1, 7, 25])
def test_every_has_to_divide_the_steps(every):
    with pytest.raises(ValueError, match="a trajectory of 24 steps cannot be kept every"):
        run_chain(perceptron(2, (3,)), torch.zeros(1, 2), 24, 0.4, trajectory=True, every=every)


def test_the_prior_hands_every_and_backend_on():
    prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(9,))
    assert prior.sample(4, 20, 0.4, trajectory=True, every=5).shape == (5, 4, 5)
    assert hebm_lib.GaussianPrior(LatentSpec((2, 3))).sample(4, 20, 0.4, trajectory=True, every=5).shape == (5, 4, 5)
    with pytest.raises(ValueError, match="no backend 'warp-drive'.*closed-form"):
        prior.sample(4, 20, 0.4, backend="warp-drive")


def test_a_long_chain_takes_no_more_memory_than_a_short_one():
    """Noise is drawn in pieces. numpy tells tracemalloc what it allocates, and numba's states and noise are numpy's."""
    need("numba")
    f, z0, peaks = perceptron(16, (20,)), torch.randn(500, 16), []
    for steps in (50, 50, 2_500):
        tracemalloc.start()
        run_chain(f, z0, steps, 0.3, backend="numba")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1] < 2e6
    assert 30 * peaks[2] < 4 * 2_500 * 500 * 16, "all the noise at once would not have been noticed"


LARGE = """
import resource, sys, torch
from hebm_lib import JointEBMPrior, LatentSpec

torch.set_num_threads(1)
prior, backend = JointEBMPrior(LatentSpec((10,) * 5), hidden=(20, 20)), sys.argv[1]
peaks = []
for steps in (2, 40):
    z = prior.sample(50_000, steps, 0.3, backend=backend)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
assert z.shape == (50_000, 50) and z.isfinite().all()
print((peaks[1] - peaks[0]) // 1024)
"""


@pytest.mark.parametrize("backend", ["closed-form", "numba"])
def test_fifty_thousand_chains_in_bounded_memory(backend):
    """The noise of 40 steps would be 400 MB; beyond the second step nothing more is taken (in MB, from the system)."""
    command = [PYTHON, "-c", LARGE, need(backend)]
    done = subprocess.run(command, env=subprocess_env(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40


def test_no_chain_and_no_step_are_allowed():
    f = perceptron(3, (4,))
    for backend in CPU_BACKENDS:
        assert run_chain(f, torch.zeros(0, 3), 5, 0.4, backend=need(backend)).shape == (0, 3)
        z0 = torch.randn(5, 3)
        assert torch.equal(run_chain(f, z0, 0, 0.4, backend=backend), z0)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_the_start_is_not_written_into_and_may_lie_anyhow_in_memory(backend):
    f, wide = perceptron(3, (4, 4)), torch.randn(3, 40)
    before, z0 = wide.clone(), wide.T[::2]
    ends = [
        run_chain(f, z, 5, 0.4, generator=torch.Generator().manual_seed(1), backend=need(backend))
        for z in (z0, z0.contiguous())
    ]
    assert torch.equal(ends[0], ends[1]) and torch.equal(wide, before)


def test_half_precision_around_a_chain_leaves_it_in_float32():
    f, z0 = perceptron(5, (12,)), torch.randn(20, 5)
    for backend in CPU_BACKENDS:
        noise = [torch.Generator().manual_seed(1) for _ in range(2)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = run_chain(f, z0, 20, 0.4, generator=noise[0], backend=need(backend))
        assert torch.equal(inside, run_chain(f, z0, 20, 0.4, generator=noise[1], backend=backend))


# ---- which backend --------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has not sampled yet."""
    monkeypatch.setattr(sampling, "_failures", {})
    monkeypatch.setattr(sampling, "_said", set())


def test_the_default_on_this_machine():
    prior = JointEBMPrior(LatentSpec((2, 3)))
    need("numba")
    assert prior.backend_for() == "numba"
    assert prior.backend_for("reference") == "reference"
    assert prior.double().backend_for() == "closed-form"
    assert objections("cpu")["cuda-graph"] == "it needs a CUDA device"


def test_nothing_is_said_where_nothing_is_missing(fresh):
    need("numba")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        JointEBMPrior(LatentSpec((2, 3))).sample(4, 2, 0.4)
        JointEBMPrior(LatentSpec((2, 3))).double().sample(4, 2, 0.4)


def test_without_numba_one_line_and_the_same_result(fresh, monkeypatch):
    prior = JointEBMPrior(LatentSpec((2, 3)))
    expected = prior.sample(4, 9, 0.4, generator=torch.Generator().manual_seed(1), backend="closed-form")
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.warns(RuntimeWarning, match="without the backend 'numba' .numba is not installed.*same result") as said:
        for _ in range(3):
            z = prior.sample(4, 9, 0.4, generator=torch.Generator().manual_seed(1))
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert torch.equal(z, expected)
    assert prior.backend_for() == "closed-form"


@pytest.mark.parametrize(
    "backend, why", [("cuda-graph", "it needs a CUDA device"), ("triton", "CUDA device|installed")]
)
def test_a_backend_that_is_asked_for_and_cannot_run_is_refused_every_time(fresh, backend, why):
    prior = JointEBMPrior(LatentSpec((2, 3)))
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"backend '{backend}' cannot run here: .*{why}.*closed-form"):
            prior.sample(4, 9, 0.4, backend=backend)


def test_double_precision_and_a_missing_package_are_reasons_too(fresh, monkeypatch):
    with pytest.raises(RuntimeError, match="'numba' cannot run here"):
        JointEBMPrior(LatentSpec((2, 3))).double().sample(4, 9, 0.4, backend="numba")
    monkeypatch.setitem(sys.modules, "triton", None)
    assert objections("cuda")["triton"] == objections("cpu")["triton"] == "triton is not installed"
    with pytest.raises(RuntimeError, match="triton is not installed"):
        JointEBMPrior(LatentSpec((2, 3))).sample(4, 9, 0.4, backend="triton")


class Broken(sampling.ClosedForm):
    """A backend whose compiler fails."""

    def advance(self, steps):
        raise RuntimeError("the driver is too old\nand more lines")


class Wrong(sampling.ClosedForm):
    """A backend that runs and gives something else."""

    def advance(self, steps):
        super().advance(steps)
        self.z += 0.05


@pytest.mark.parametrize("made, why", [(Broken, "RuntimeError: the driver is too old"), (Wrong, "it differs from")])
def test_a_backend_that_fails_its_first_use_is_replaced(fresh, monkeypatch, made, why):
    monkeypatch.setitem(BACKENDS, "numba", made)
    prior = JointEBMPrior(LatentSpec((2, 3)))
    one, two = (torch.Generator().manual_seed(1) for _ in range(2))
    with pytest.warns(RuntimeWarning, match=why) as said:
        z = prior.sample(4, 9, 0.4, generator=one)
    assert len(said) == 1 and "more lines" not in str(said[0].message)
    with pytest.raises(RuntimeError, match=why):
        prior.sample(4, 9, 0.4, backend="numba")
    assert torch.equal(z, prior.sample(4, 9, 0.4, generator=two, backend="closed-form"))


def test_a_backend_checks_itself_without_touching_anyones_noise(fresh):
    need("numba")
    prior, generator = JointEBMPrior(LatentSpec((2, 3))), torch.Generator().manual_seed(1)
    states = torch.get_rng_state(), generator.get_state()
    prior.sample(4, 0, 0.4, z0=torch.zeros(4, 5), generator=generator)
    assert sampling._failures == {("numba", torch.device("cpu"), torch.float32, (5, 100, 100), "leaky"): None}
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], generator.get_state())


def test_importing_the_library_loads_no_compiler():
    code = "import sys, hebm_lib; print({'numba', 'llvmlite'} & set(sys.modules))"
    done = subprocess.run([PYTHON, "-c", code], env=subprocess_env(), capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr


# ---- CUDA graph: the bookkeeping, with the recording replaced --------------------------------------------------------


class Recorded(sampling.cuda_graph.Captured):
    """Replays by running: on the CPU there is nothing to record."""

    def __init__(self, f, z0, step_size, generator, steps):
        own = Perceptron([w.clone() for w in f.weights], [b.clone() for b in f.biases], f.slope)
        self.chain, self.steps, self.graph = sampling.ClosedForm(own, z0, step_size, generator), steps, self
        made.append(steps)

    def replay(self):
        self.chain.advance(self.steps)


made: list[int] = []


def test_a_graph_is_replayed_and_kept_for_the_next_call(monkeypatch):
    monkeypatch.setattr(sampling.cuda_graph, "Captured", Recorded)
    sampling.cuda_graph.graphs.clear()
    made.clear()
    noise = torch.Generator()
    for steps, f in ((300, perceptron(5, (12,))), (128, perceptron(5, (12,))), (300, perceptron(5, (12,)))):
        z0 = torch.randn(20, 5)
        chain = sampling.CudaGraph(f, z0, 0.4, noise.manual_seed(1))
        chain.advance(steps)
        exact = run_chain(f, z0, steps, 0.4, generator=torch.Generator().manual_seed(1), backend="closed-form")
        assert torch.equal(chain.z, exact)
    assert made == [128], "one graph of 128 steps serves all: weights and states are copied into it"
    for n in range(1, 8):
        sampling.CudaGraph(f, torch.randn(n, 5), 0.4, noise).advance(10)
    assert len(sampling.cuda_graph.graphs) == sampling.cuda_graph.KEPT


def test_launches_go_to_the_device_of_the_states(monkeypatch):
    """The present device may be another one: kernels and graphs are launched on the present one."""
    entered, launched = [], []

    @contextlib.contextmanager
    def noted(device):
        entered.append(device)
        yield
        entered.pop()

    class Kernel:
        def __getitem__(self, grid):
            return lambda *args, **how: launched.append(list(entered))

    class Noted(Recorded):
        def replay(self):
            launched.append(list(entered))

    for room in (sampling.cuda_graph, sampling.triton_chain):
        monkeypatch.setattr(room, "on_device", noted)
    monkeypatch.setattr(sampling.cuda_graph, "Captured", Noted)
    sampling.cuda_graph.graphs.clear()
    f, z0 = perceptron(5, (12,)), torch.randn(20, 5)
    sampling.CudaGraph(f, z0, 0.4, None).advance(5)
    triton = object.__new__(sampling.TritonChain)
    triton.z, triton.generator, triton.slope, triton.step_size, triton.width, triton.depth = z0, None, 0.2, 0.4, 16, 1
    triton.weights, triton.biases, triton.out = z0, z0, z0
    triton.kernel = types.SimpleNamespace(run_chain=Kernel())
    triton.advance(3)
    assert launched == [[z0.device]] * 2
    sampling.cuda_graph.graphs.clear()


def test_a_cuda_device_becomes_the_present_one_and_no_other_does():
    assert isinstance(sampling.chain.on_device(torch.device("cpu")), contextlib.nullcontext)
    made = sampling.chain.on_device(torch.device("cuda", 1))
    assert isinstance(made, torch.cuda.device) and made.idx == 1


# ---- Triton ---------------------------------------------------------------------------------------------------------

INTERPRETED = """
import torch
from test_sampling import SHAPES, agree, perceptron
from hebm_lib import langevin_dynamics
from hebm_lib.sampling import objections, run_chain, backend_for
import hebm_lib.sampling.triton_chain as triton_chain

assert objections("cpu")["triton"] is None, objections("cpu")["triton"]
torch.manual_seed(0)
for dim, hidden in SHAPES:
    f, z0 = perceptron(dim, hidden), torch.randn(37, dim)
    assert backend_for(f, z0, "triton") == "triton"
    draws = [torch.randn(37, dim, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    queue, randn = [], torch.randn
    def replay(*shape, generator=None, dtype=torch.float32, out=None, **options):
        drawn = next(queue).to(dtype)
        return drawn if out is None else out.copy_(drawn)
    torch.randn = replay
    queue = iter(draws)
    exact = langevin_dynamics(f.to(torch.float64).log_prob_unnormalized, z0.double(), 20, 0.4)
    ends = []
    for floats in (1 << 25, 3 * 37 * dim):  # all noise at once, and for three steps at a time
        triton_chain.NOISE_FLOATS = floats
        queue = iter(draws)
        ends.append(run_chain(f, z0, 20, 0.4, backend="triton"))
    torch.randn = randn
    agree(ends[0], exact)
    assert torch.equal(*ends)
print("agrees")
"""


def test_the_triton_kernel_follows_the_reference_under_the_interpreter():
    pytest.importorskip("triton")
    environment = subprocess_env(TRITON_INTERPRET="1")
    done = subprocess.run([PYTHON, "-c", INTERPRETED], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "agrees", done.stderr[-3000:]


def test_the_triton_kernel_compiles_for_a_gpu_and_keeps_the_weights_on_chip():
    """Compiled here for an A100 (no GPU is needed for that): in the loop no weight is read from global memory."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from hebm_lib.sampling.triton_kernel import run_chain as kernel

    width, depth = 32, 2
    kinds = dict.fromkeys(("z_at", "noise_at", "weights_at", "biases_at", "out_at"), "*fp32")
    kinds |= {"n": "i32", "d": "i32", "steps": "i32", "slope": "fp32", "step_size": "fp32"}
    kinds |= dict.fromkeys(("LANES", "WIDTH", "DEPTH"), "constexpr")
    source = ASTSource(fn=kernel, signature=kinds, constexprs={"LANES": 16, "WIDTH": width, "DEPTH": depth})
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 4})
    assert compiled.metadata.shared >= 4 * depth * width**2
    _, loop = compiled.asm["ttgir"].split("scf.for", 1)
    assert loop.count("tt.load") == 1, "the noise is the one thing that a step reads"


def test_layers_too_large_for_the_chip_are_refused():
    triton_chain = sampling.TritonChain
    pytest.importorskip("triton")
    with pytest.raises(ValueError, match="2 layers of 256 units are too large"):
        triton_chain(perceptron(5, (200, 200)), torch.zeros(1, 5), 0.4, None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("backend", ["closed-form", "cuda-graph", "triton"])
@pytest.mark.parametrize("dim, hidden", SHAPES)
def test_on_a_gpu_each_backend_follows_the_reference_on_the_devices_noise(backend, dim, hidden):
    f = perceptron(dim, hidden)
    f = Perceptron([w.cuda() for w in f.weights], [b.cuda() for b in f.biases], f.slope)
    z0 = torch.randn(100, dim, device="cuda")
    assert sampling.backend_for(f, z0, backend) == backend
    generators = [torch.Generator("cuda") for _ in range(2)]
    for seed in (1, 2):  # the second time from a graph that is there already
        one, two = (g.manual_seed(seed) for g in generators)
        exact = langevin_dynamics(f.log_prob_unnormalized, z0, 60, 0.4, generator=two)
        agree(run_chain(f, z0, 60, 0.4, generator=one, backend=backend), exact.double())
