"""The Langevin chain of a small perceptron as one compiled loop for the CPU (Numba). Imported on first use only.

Chains run in blocks of `LANES`, side by side in the lanes of vector registers: everything of a block is stored feature
by feature, ``(features, LANES)``, and stays in the first-level cache for all steps. A layer is a sum of outer products:
`ROWS` output features are held in registers while the input features go by, each weight multiplying a whole vector of
chains. Weights are packed in the order in which they are read. A last block of few chains is half as wide.

Every chain's sums run in the same order wherever it stands, so a result depends neither on the block, nor on the number
of threads.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "pack", "run_blocks"]

LANES = 16
HALF = LANES // 2
WIDE = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Floats in one vector register. Where registers are narrower still, LLVM takes two for one."""
ROWS = 10 if WIDE == 16 else 5
"""Output features per tile: as many sums as registers hold, and enough to hide the latency of a multiply-add."""


def make_tile(finish: str, lanes: int):
    """The inner product of the whole file, as LLVM instructions: ROWS outputs of ``finish(W x)`` for a block of chains.

    Numba's own loops reach a fifth of this speed: LLVM does not keep a tile of sums in registers on its own.

    Args:
        finish: ``activate`` starts from the bias and applies the leaky ReLU; ``gate`` starts from zero and multiplies
            by the leaky ReLU's slope (1 or ``slope``) at the activations that stand at ``other``: its backward pass.
        lanes: chains of the block, LANES or HALF. Features are LANES apart in either case.

    Returns:
        ``tile(work, out, x, other, packed, w, inputs, slope)``: writes ROWS features at ``work[out:]`` from the
        ``inputs`` features at ``work[x:]`` and the panel at ``packed[w:]``; ``other`` is where the biases stand in
        ``packed``, or the activations in ``work``.
    """
    wide = min(WIDE, lanes)
    vector = ir.VectorType(ir.FloatType(), wide)
    zero = ir.Constant(vector, [0.0] * wide)
    columns = range(0, lanes, wide)

    @intrinsic
    def tile(context, work, out, x, other, packed, w, inputs, slope):
        def generate(context, b, signature, arguments):
            work, out, x, other, packed, w, inputs, slope = arguments
            work = context.make_array(signature.args[0])(context, b, work).data
            packed = context.make_array(signature.args[4])(context, b, packed).data

            def moved(offset, by):
                return b.add(offset, ir.IntType(64)(by))

            def place(offset):
                return b.bitcast(b.gep(work, [offset]), vector.as_pointer())

            def load(offset):
                value = b.load(place(offset))
                value.align = 4
                return value

            def spread(scalar):
                """One number in all lanes."""
                first = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), wide), [0] * wide)
                return b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

            def constant(offset):
                return spread(b.load(b.gep(packed, [offset])))

            name = f"llvm.fmuladd.v{wide}f32"
            multiply_add = b.module.globals.get(name) or ir.Function(
                b.module, ir.FunctionType(vector, [vector] * 3), name
            )
            sums = {(r, c): cgutils.alloca_once(b, vector) for r in range(ROWS) for c in columns}
            for (r, _), total in sums.items():
                b.store(constant(moved(other, r)) if finish == "activate" else zero, total)
            with cgutils.for_range(b, inputs) as loop:
                row = b.add(x, b.mul(loop.index, ir.IntType(64)(LANES)))
                values = {c: load(moved(row, c)) for c in columns}
                panel = b.add(w, b.mul(loop.index, ir.IntType(64)(ROWS)))
                for r in range(ROWS):
                    weight = constant(moved(panel, r))
                    for c in columns:
                        b.store(b.call(multiply_add, [weight, values[c], b.load(sums[r, c])]), sums[r, c])
            for (r, c), total in sums.items():
                value, here = b.load(total), r * LANES + c
                sign = value if finish == "activate" else load(moved(other, here))
                value = b.select(b.fcmp_ordered(">", sign, zero), value, b.fmul(value, spread(slope)))
                b.store(value, place(moved(out, here))).align = 4
            return context.get_dummy_value()

        return types.void(work, out, x, other, packed, w, inputs, slope), generate

    return tile


activate_tile, activate_half_tile = make_tile("activate", LANES), make_tile("activate", HALF)
gate_tile, gate_half_tile = make_tile("gate", LANES), make_tile("gate", HALF)


@njit(nogil=True, cache=True)
def activate(work, out, x, bias, packed, w, inputs, outputs, slope, half):
    """All tiles of one layer: ``leaky(W x + b)``."""
    for r in range(0, outputs, ROWS):
        if half:
            activate_half_tile(work, out + r * LANES, x, bias + r, packed, w + r * inputs, inputs, slope)
        else:
            activate_tile(work, out + r * LANES, x, bias + r, packed, w + r * inputs, inputs, slope)


@njit(nogil=True, cache=True)
def gate(work, out, x, act, packed, w, inputs, outputs, slope, half):
    """All tiles of one layer on the way back: ``D W x`` with D the slopes at the activations ``act``."""
    for r in range(0, outputs, ROWS):
        if half:
            gate_half_tile(work, out + r * LANES, x, act + r * LANES, packed, w + r * inputs, inputs, slope)
        else:
            gate_tile(work, out + r * LANES, x, act + r * LANES, packed, w + r * inputs, inputs, slope)


@njit(nogil=True, cache=True)
def rows(width):
    """Features of a layer, rounded up to whole tiles."""
    return -(-width // ROWS) * ROWS


@njit(nogil=True, cache=True)
def layout(widths):
    """Where the packed weights stand: per layer its forward panels, its bias, its backward panels; then w_out, zeros."""
    at = np.zeros((len(widths), 3), np.int64)
    end = 0
    for i in range(len(widths) - 1):
        at[i, 0], end = end, end + rows(widths[i + 1]) * widths[i]
        at[i, 1], end = end, end + rows(widths[i + 1])
        at[i, 2], end = end, end + rows(widths[i]) * widths[i + 1]
    at[-1, 0], end = end, end + widths[-1]
    at[-1, 1], end = end, end + rows(widths[0])
    return at, end


@njit(nogil=True, cache=True)
def pack(flat, widths):
    """Weights and biases ``W_1, b_1, …, W_L, b_L, w_out``, one after another, in the order that `run_blocks` reads.

    A panel holds ROWS outputs of a matrix, for each input their ROWS weights side by side; the last one is filled up
    with zeros.
    """
    at, size = layout(widths)
    packed = np.zeros(size, np.float32)
    start = 0
    for i in range(len(widths) - 1):
        inputs, outputs = widths[i], widths[i + 1]
        for r in range(outputs):
            for k in range(inputs):
                weight = flat[start + r * inputs + k]
                packed[at[i, 0] + (r // ROWS * inputs + k) * ROWS + r % ROWS] = weight
                packed[at[i, 2] + (k // ROWS * outputs + r) * ROWS + k % ROWS] = weight
        start += inputs * outputs
        for r in range(outputs):
            packed[at[i, 1] + r] = flat[start + r]
        start += outputs
    for r in range(widths[-1]):
        packed[at[-1, 0] + r] = flat[start + r]
    return packed


@njit(nogil=True, cache=True)
def run_blocks(z, noise, packed, widths, slope, step_size, first, last):
    """Move the chains of blocks ``first … last - 1`` by ``len(noise)`` Langevin steps.

    Args:
        z: ``(n, d)`` float32, the states; overwritten.
        noise: ``(steps, n, d)`` float32.
        packed: from `pack`.
        widths: ``(d, h_1, …, h_L)`` int64.
        slope: of the leaky ReLUs, float32.
        step_size: s, float64.
        first, last: block i holds chains ``LANES i … LANES (i + 1) - 1``.
    """
    n, d = z.shape
    depth = len(widths) - 1
    at, _ = layout(widths)
    half_square, keep = np.float32(0.5 * step_size**2), np.float32(1 - 0.5 * step_size**2)
    scale, one = np.float32(step_size), np.float32(1)

    # The block's memory: the state, the activations, two gradients in turn, the noise.
    act = np.empty(depth + 1, np.int64)
    end = 0
    for i in range(depth + 1):
        act[i], end = end, end + rows(widths[i]) * LANES
    widest = rows(widths.max()) * LANES
    upper, lower, kick = end, end + widest, end + 2 * widest
    raw = np.empty(kick + d * LANES + 16, np.float32)
    work = raw[(64 - raw.ctypes.data % 64) % 64 // 4 :]  # no vector lies across two cache lines
    state = work[: d * LANES].reshape((d, LANES))
    turned = work[kick : kick + d * LANES].reshape((d, LANES))
    top = work[act[depth] : act[depth] + widths[depth] * LANES].reshape((widths[depth], LANES))

    for block in range(first, last):
        here = z[block * LANES : min(n, (block + 1) * LANES)]
        half = len(here) <= HALF
        work[:] = 0
        for lane in range(len(here)):
            for j in range(d):
                state[j, lane] = here[lane, j]
        for step in range(len(noise)):
            # Forward: the activations of every layer.
            for i in range(depth):
                inputs, outputs = widths[i], widths[i + 1]
                activate(work, act[i + 1], act[i], at[i, 1], packed, at[i, 0], inputs, outputs, slope, half)
            # Backward: ∇f = W_1ᵀ D_1 W_2ᵀ D_2 … w_out, with D_i the leaky ReLU's slopes (1 or `slope`).
            g = work[upper : upper + widths[depth] * LANES].reshape((widths[depth], LANES))
            for r in range(widths[depth]):
                rising, falling = packed[at[depth, 0] + r], packed[at[depth, 0] + r] * slope
                for lane in range(LANES):
                    g[r, lane] = rising if top[r, lane] > 0 else falling
            above, below = upper, lower
            for i in range(depth - 1, 0, -1):
                gate(work, below, above, act[i], packed, at[i, 2], widths[i + 1], widths[i], slope, half)
                above, below = below, above
            # The last product has no leaky ReLU behind it: no bias, slope 1.
            activate(work, below, above, at[depth, 1], packed, at[0, 2], widths[1], d, one, half)
            # z + (s²/2)(∇f - z) + s ε
            draws = noise[step, block * LANES : block * LANES + len(here)]
            for lane in range(len(here)):
                row = draws[lane]
                for j in range(d):
                    turned[j, lane] = row[j]
            zs, gs, es = work[: d * LANES], work[below : below + d * LANES], work[kick : kick + d * LANES]
            for p in range(d * LANES):
                zs[p] = keep * zs[p] + half_square * gs[p] + scale * es[p]
        for lane in range(len(here)):
            for j in range(d):
                here[lane, j] = state[j, lane]
