"""Priors over the joint latent: the plain Gaussian, and its tilt by a joint energy (Eq. 3).

All of them, those of the conditional hierarchies too, are a `Prior`: the same methods with the same arguments, so that a
model, the trainer and the metrics never ask which one they hold.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hebm_lib.langevin import check_chain, langevin_block, langevin_dynamics, metropolis_langevin
from hebm_lib.latents import LatentSpec
from hebm_lib.networks import EnergyMLP, SeparateEnergies
from hebm_lib.sampling import JumpProposal, LogZ, Perceptron, backend_for, estimate_log_z, run_chain

__all__ = ["GaussianPrior", "JointEBMPrior", "Prior"]


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """``log N(z; 0, I)`` summed over the last axis: ``(n, d) -> (n,)``."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


@runtime_checkable
class Prior(Protocol):
    """What every prior over ``z = [z_1, …, z_L]`` is, ``p(z) ∝ exp(log_prob_unnormalized(z))``.

    Attributes:
        latents: sizes of z_1 … z_L.
        has_energy: whether there is an f that needs chains; without one `log_prob_unnormalized` is normalised and
            ``sample`` is exact.

    Example:
        >>> isinstance(GaussianPrior(LatentSpec((2, 3))), Prior)
        True
    """

    latents: LatentSpec
    has_energy: bool

    def __call__(self, z: Tensor) -> Tensor:
        """``f(z)``, the NEGATIVE energy, over N(0, I): ``(n, d) -> (n,)``."""

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``log p(z)`` up to a constant, differentiable: ``(n, d) -> (n,)``. Raises `ValueError` for another width."""

    def sample(
        self,
        n: int,
        steps: int,
        step_size: float,
        *,
        z0: Tensor | None = None,
        generator: torch.Generator | None = None,
        trajectory: bool = False,
        every: int = 1,
        backend: str | None = None,
    ) -> Tensor:
        """``(n, d)`` after K steps of size s from ``z0``; ``(K / every + 1, n, d)`` with ``trajectory``."""

    def sample_level(
        self, z: Tensor, level: int, steps: int, step_size: float, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """``(n, d)``: ``z`` with one level drawn given the others, which are kept."""

    def log_z(self, *, generator: torch.Generator | None = None) -> LogZ:
        """The log of the constant that `log_prob_unnormalized` leaves out; 0 without an energy."""


class GaussianPrior(nn.Module):
    """``p_0(z) = N(0, I)``: the prior of the VAE and of VLAE, f = 0.

    Args:
        latents: sizes of z_1 … z_L.

    Example:
        >>> prior = GaussianPrior(LatentSpec((2, 3)))
        >>> prior.sample(4).shape, prior(torch.ones(4, 5)).tolist()
        (torch.Size([4, 5]), [0.0, 0.0, 0.0, 0.0])
    """

    has_energy = False

    def __init__(self, latents: LatentSpec):
        super().__init__()
        self.latents = latents
        # No parameter says where this module is, so that samples are drawn there; this buffer does. Never saved.
        self.register_buffer("place", torch.zeros(()), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """``f(z) = 0``, shape ``(n,)``."""
        self.latents.check(z)
        return torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``log N(z; 0, I)``, shape ``(n,)``; for this prior it is normalised."""
        self.latents.check(z)
        return standard_normal_log_prob(z)

    def log_z(self, *, generator: torch.Generator | None = None) -> LogZ:
        """``log Z = 0``: this prior is normalised. Nothing is drawn."""
        return LogZ.exact()

    @torch.no_grad()
    def sample(
        self, n, steps=0, step_size=0.4, *, z0=None, generator=None, trajectory=False, every=1, backend=None
    ) -> Tensor:
        """Same signature as `JointEBMPrior.sample`. With ``steps=0`` the draw is exact; with steps a chain is run.

        There is no energy to be fast about: ``backend`` changes nothing.
        """
        given, z0 = z0, _start(self, n, z0, generator)
        check_chain(z0, steps, step_size, every if trajectory else 1)
        if not steps and z0 is given:
            z0 = z0.clone()  # a sample is never the caller's own memory
        stride, states = every if trajectory else max(steps, 1), [z0]
        for _ in range(steps // stride):
            z = langevin_dynamics(self.log_prob_unnormalized, states[-1], stride, step_size, generator=generator)
            states = [*states, z] if trajectory else [z]
        return torch.stack(states) if trajectory else states[-1]

    @torch.no_grad()
    def sample_level(self, z, level, steps=0, step_size=0.4, *, generator=None) -> Tensor:
        """Same signature as `JointEBMPrior.sample_level`. With ``steps=0`` the draw is exact: the levels are independent."""
        return sample_level(self.log_prob_unnormalized, self.latents, z, level, steps, step_size, generator)


class JointEBMPrior(nn.Module):
    """``p_α(z) ∝ exp(f_α([z_1, …, z_L])) N(z; 0, I)`` (Eq. 3): one energy on all levels together.

    ``chains``, a buffer that is saved with the weights, holds the states of persistent chains; it is None without them.
    ``jumps`` is the `JumpProposal` with which they change modes, or None.

    Args:
        latents: sizes of z_1 … z_L.
        hidden: widths of the perceptron's hidden layers, at least one.
        spectral_norm: keep each layer's largest singular value at 1. The paper is silent on it, the authors' code
            uses it: f is then 1-Lipschitz, so its drift in Eq. 14 is never longer than 1.
        slope: negative slope of the leaky ReLUs.
        lipschitz: with spectral norm, f is Lipschitz with this constant; the authors' code has 1.
        separate: take one perceptron per level and their sum for f (`SeparateEnergies`), which is not Eq. 3.
        chains: number of persistent chains; 0 for none. They start from N(0, I).
        restart: share of them that starts from N(0, I) again at each visit.
        jumps: components of the mixture by which they may jump between modes at each visit; 0 for none.
        activation: of the hidden layers, ``leaky`` or ``silu`` (see `EnergyMLP`). Chains of the second run in plain torch.
        zero: start from f = 0, the last layer's weights and bias zero; not with spectral norm.

    Raises:
        ValueError: without a hidden layer, for ``zero`` with spectral norm, or for jumps without persistent chains.

    Example:
        >>> prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(8,))
        >>> z = prior.sample(4, steps=5, step_size=0.1, generator=torch.Generator().manual_seed(0))
        >>> z.shape, prior(z).shape, prior.sample(4, 6, 0.1, trajectory=True, every=3).shape
        (torch.Size([4, 5]), torch.Size([4]), torch.Size([3, 4, 5]))
    """

    has_energy = True

    def __init__(
        self,
        latents: LatentSpec,
        *,
        hidden: tuple[int, ...] = (100, 100),
        spectral_norm: bool = True,
        slope: float = 0.2,
        lipschitz: float = 1.0,
        separate: bool = False,
        chains: int = 0,
        restart: float = 0.0,
        jumps: int = 0,
        activation: str = "leaky",
        zero: bool = False,
    ):
        super().__init__()
        if zero and spectral_norm:
            raise ValueError(
                "a layer of zeros has no largest singular value to divide by: zero needs spectral_norm=False"
            )
        if jumps and not chains:
            raise ValueError("fresh chains have no mode to jump from: jumps need persistent chains")
        self.latents, self.restart = latents, float(restart)
        settings = {"hidden": tuple(hidden), "spectral_norm": spectral_norm, "slope": slope, "lipschitz": lipschitz}
        settings["activation"] = activation
        self.energy = SeparateEnergies(latents, **settings) if separate else EnergyMLP(latents.total, **settings)
        self.register_buffer("chains", torch.randn(chains, latents.total) if chains else None)
        self.jumps = JumpProposal(latents.total, components=jumps) if jumps else None
        if zero:
            for f in self.energy.levels if separate else [self.energy]:
                nn.init.zeros_(f.layers[-1].weight)
                nn.init.zeros_(f.layers[-1].bias)

    def forward(self, z: Tensor) -> Tensor:
        """``f_α(z)``, the NEGATIVE energy: ``(n, d) -> (n,)``."""
        self.latents.check(z)
        return self.energy(z)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``f_α(z) + log N(z; 0, I)``, that is ``log p_α(z) + log Z(α)``: ``(n, d) -> (n,)``."""
        return self(z) + standard_normal_log_prob(z)

    @torch.no_grad()
    def sample(
        self, n, steps, step_size, *, z0=None, generator=None, trajectory=False, every=1, backend=None
    ) -> Tensor:
        """``K`` Langevin steps towards p_α from fresh Gaussian noise (Eq. 13 and 14).

        The weights are resolved once per chain and the chain is run by the fastest backend of `hebm_lib.sampling` for
        this device; on the same noise the result equals `langevin_dynamics` up to rounding.

        Args:
            n: number of chains.
            steps: K.
            step_size: s.
            z0: starting points ``(n, d)``; None draws them from N(0, I).
            generator: source of all noise; None takes torch's global one.
            trajectory: return the states ``0, every, 2 every, … K``.
            every: steps between two states of the trajectory; has to divide K.
            backend: a name of `hebm_lib.sampling.BACKENDS`; None takes the fastest, which `backend_for` names.

        Returns:
            ``(n, d)``, or ``(K / every + 1, n, d)`` with ``trajectory``.

        Raises:
            ValueError: for a wrong shape of ``z0``, a chain that cannot be run (see `run_chain`), an unknown backend.
        """
        z = _start(self, n, z0, generator)
        chain = {"generator": generator, "trajectory": trajectory, "every": every, "backend": backend}
        return run_chain(self.plain(z.dtype), z, steps, step_size, **chain)

    @torch.no_grad()
    def negatives(self, n: int, steps: int, step_size: float, *, metropolis: bool = False, generator=None) -> Tensor:
        """The z⁻ of a training step: ``sample``, or where there are persistent chains their states K steps on.

        Each persistent chain starts from N(0, I) again with probability ``restart``, and may then jump into another mode
        (`JumpProposal`), both before the K steps. With ``metropolis`` the steps are those of `metropolis_langevin`.

        Returns:
            ``(n, d)``, or ``(chains, d)``.
        """
        if self.chains is None:
            z = _start(self, n, None, generator)
            return self._advanced(z, steps, step_size, metropolis, generator)
        z = self.chains
        if self.restart:
            noise = {"dtype": z.dtype, "device": z.device, "generator": generator}
            anew = torch.rand(len(z), 1, **noise) < self.restart
            z = torch.where(anew, torch.randn(z.shape, **noise), z)
        if self.jumps is not None:
            z, _ = self.jumps.step(self.plain(z.dtype).log_prob_unnormalized, z, generator=generator)
        z = self._advanced(z, steps, step_size, metropolis, generator)
        self.chains.copy_(z)
        return z

    def _advanced(self, z: Tensor, steps: int, step_size: float, metropolis: bool, generator) -> Tensor:
        if metropolis:
            log_prob = self.plain(z.dtype).log_prob_unnormalized
            return metropolis_langevin(log_prob, z, steps, step_size, generator=generator)[0]
        return self.sample(len(z), steps, step_size, z0=z, generator=generator)

    @torch.no_grad()
    def sample_level(self, z: Tensor, level: int, steps, step_size, *, generator=None) -> Tensor:
        """One level drawn anew given the others: ``K`` Langevin steps towards ``p_α(z_i | z_1 … z_L without z_i)``.

        Eq. 13 on the level's columns alone (`langevin_block`), from fresh Gaussian noise there as in `sample`. If z
        follows p_α and the chain is long enough, the result follows p_α too. `LatentSpec.redraw`, which takes the level
        from another sample, does not keep p_α, unless the level is independent of the others.

        Args:
            z: ``(n, d)``; all levels but one are kept, bit for bit.
            level: 1 … L, the one to draw.
            steps: K.
            step_size: s.
            generator: source of all noise; None takes torch's global one.

        Returns:
            ``(n, d)``.

        Raises:
            ValueError: for a z of another width, a level that is not there, or a chain that cannot be run.
        """
        log_prob = self.plain(z.dtype).log_prob_unnormalized
        return sample_level(log_prob, self.latents, z, level, steps, step_size, generator)

    def log_z(
        self,
        *,
        generator: torch.Generator | None = None,
        chains: int = 1000,
        temperatures: int = 1000,
        draws: int = 100_000,
        settle: int = 300,
    ) -> LogZ:
        """``log Z(α)``, the constant of Eq. 3, with a bracket; some seconds on a CPU.

        Plain importance sampling from N(0, I) where enough of its draws count, else annealed importance sampling upwards
        and downwards: see `hebm_lib.sampling.estimate_log_z`, whose settings these are. It warns where the bracket is
        wide.

        Example:
            >>> prior = JointEBMPrior(LatentSpec((2, 3)), hidden=(20, 20)).eval()
            >>> found = prior.log_z(chains=200, temperatures=50, generator=torch.Generator().manual_seed(0))
            >>> found.lower < found.estimate < found.upper
            True
        """
        like = next(self.parameters())
        settings = {"chains": chains, "temperatures": temperatures, "draws": draws, "settle": settle}
        return estimate_log_z(self.plain(), self.latents.total, like=like, generator=generator, **settings)

    def backend_for(self, backend: str | None = None) -> str:
        """The backend that `sample` takes here when asked for ``backend``; None asks for the fastest."""
        z = next(self.parameters()).new_empty(0, self.latents.total)
        return backend_for(self.plain(z.dtype), z, backend)

    @torch.no_grad()
    def plain(self, dtype: torch.dtype | None = None) -> Perceptron:
        """f_α as fixed weights, spectral norm applied with the power iteration's present vectors, not moved.

        A sum of perceptrons is one perceptron with block-diagonal weights, so every backend can run it.
        """
        if isinstance(self.energy, EnergyMLP):
            weights, biases = fixed_weights(self.energy)
        else:
            per_level = [fixed_weights(f) for f in self.energy.levels]
            *inner, last = zip(*(weights for weights, _ in per_level), strict=True)
            *shifts, end = zip(*(biases for _, biases in per_level), strict=True)
            weights = [*(torch.block_diag(*layer) for layer in inner), torch.cat(last, 1)]
            biases = [*(torch.cat(layer) for layer in shifts), torch.stack(end).sum(0)]
        return Perceptron(weights, biases, self.energy.slope, self.energy.activation).to(dtype or weights[0].dtype)


def fixed_weights(energy: EnergyMLP) -> tuple[list[Tensor], list[Tensor]]:
    """A perceptron's weights and biases, spectral norm and the factor on f applied."""
    weights, biases = [], [layer.bias.detach() for layer in energy.layers]
    for layer in energy.layers:
        if not parametrize.is_parametrized(layer, "weight"):
            weights.append(layer.weight.detach())
            continue
        weight, norms = layer.parametrizations.weight.original, layer.parametrizations.weight
        for norm in norms:
            # What a call in evaluation mode gives. A call in training mode would move the vectors, and to change the mode
            # for a moment would change it for other threads too.
            weight = weight / torch.vdot(norm._u, torch.mv(weight, norm._v))
        weights.append(weight)
    weights[-1], biases[-1] = energy.lipschitz * weights[-1], energy.lipschitz * biases[-1]
    return weights, biases


def _start(prior: nn.Module, n: int, z0: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """The chain's first state, checked: ``z0``, or ``n`` draws from N(0, I) on the prior's device."""
    d = prior.latents.total
    if z0 is None:
        reference = next(prior.parameters(), None)
        reference = prior.place if reference is None else reference
        return torch.randn(n, d, dtype=reference.dtype, device=reference.device, generator=generator)
    if z0.shape != (n, d):
        raise ValueError(f"z0 must have shape ({n}, {d}), got {tuple(z0.shape)}")
    return z0


def sample_level(log_prob, latents: LatentSpec, z: Tensor, level: int, steps, step_size, generator) -> Tensor:
    """The level's columns from N(0, I), then their chain."""
    latents.check(z)
    columns, start = latents.columns(level), z.detach().clone()
    start[..., columns] = torch.randn(start[..., columns].shape, dtype=z.dtype, device=z.device, generator=generator)
    return langevin_block(log_prob, start, columns, steps, step_size, generator=generator)
