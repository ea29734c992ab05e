"""The Langevin chain of a small perceptron as one Triton kernel. Imported on first use only."""

import triton
import triton.language as tl

__all__ = ["run_chain"]


@triton.jit
def run_chain(
    z_at,
    noise_at,
    weights_at,
    biases_at,
    out_at,
    n,
    d,
    steps,
    slope,
    step_size,
    LANES: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Move LANES chains by ``steps`` steps; weights are loaded once and stay on chip.

    ``z (n, d)`` is overwritten; ``noise (steps, n, d)``; ``weights (DEPTH, WIDTH, WIDTH)``, ``biases (DEPTH, WIDTH)``
    and ``out (WIDTH)`` are filled up with zeros. Products are float32 throughout (no TF32).
    """
    chain = tl.program_id(0) * LANES + tl.arange(0, LANES)
    unit = tl.arange(0, WIDTH)
    states = chain[:, None] * d + unit[None, :]
    inside = (chain[:, None] < n) & (unit[None, :] < d)
    z = tl.load(z_at + states, mask=inside, other=0.0)
    out = tl.load(out_at + unit)
    weights = ()
    biases = ()
    for i in tl.static_range(DEPTH):
        matrix = i * WIDTH * WIDTH + unit[:, None] * WIDTH + unit[None, :]
        weights = weights + (tl.load(weights_at + matrix),)
        biases = biases + (tl.load(biases_at + i * WIDTH + unit),)
    half = 0.5 * step_size * step_size
    for step in range(steps):
        # Forward: only the slope of each activation, 1 or `slope`, is needed on the way back.
        h = z
        slopes = ()
        for i in tl.static_range(DEPTH):
            a = tl.dot(h, tl.trans(weights[i]), input_precision="ieee") + biases[i][None, :]
            slopes = slopes + (tl.where(a > 0, 1.0, slope),)
            h = a * slopes[i]
        # Backward: ∇f = W_1ᵀ D_1 W_2ᵀ D_2 … w_out.
        g = slopes[DEPTH - 1] * out[None, :]
        for j in tl.static_range(DEPTH):
            g = tl.dot(g, weights[DEPTH - 1 - j], input_precision="ieee")
            if j < DEPTH - 1:
                g = g * slopes[DEPTH - 2 - j]
        noise = tl.load(noise_at + step * n * d + states, mask=inside, other=0.0)
        z = (1 - half) * z + half * g + step_size * noise
    tl.store(z_at + states, z, mask=inside)
