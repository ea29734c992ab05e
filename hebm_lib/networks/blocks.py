"""What both ladders are built from, and the checks at their doors."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

__all__ = [
    "Stage",
    "activated",
    "check_images",
    "check_range",
    "conv",
    "dense",
    "diagonal_gaussian",
    "down",
    "lies_channels_last",
    "up",
]


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    """Three by three, same size, no bias, Xavier-normal: the ladder's plain convolution."""
    layer = FewChannels if c_out <= 4 else nn.Conv2d
    return _xavier(layer(c_in, c_out, 3, padding=1, bias=False))


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """Four by four with stride 2: halves the side."""
    return _xavier(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """Four by four transposed with stride 2: doubles the side."""
    return _xavier(nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def _xavier(layer):
    nn.init.xavier_normal_(layer.weight)
    return layer


def activated(
    layer: nn.Module, width: int, slope: float, batch_norm: bool = False, act: type[nn.LeakyReLU] = nn.LeakyReLU
) -> list[nn.Module]:
    """A layer that gives ``width`` channels, batch norm where it is asked for, and a leaky ReLU.

    The ReLU overwrites its argument, which nobody else holds: no gradient needs what a layer or a batch norm has put out.
    """
    norm = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
    return [layer, *([norm(width)] if batch_norm else []), act(slope, inplace=True)]


class Overwriting(nn.LeakyReLU):
    """A leaky ReLU right before a convolution. On a CPU it overwrites, on the way back, the gradient that arrives as well.

    Fetching memory for large features costs more than the arithmetic. Right only before a convolution, which makes that
    gradient for it alone; a sum, say, would hand one gradient to two.
    """

    def forward(self, h: Tensor) -> Tensor:
        both = self.inplace and h.device.type == "cpu"
        return _BothWays.apply(h, self.negative_slope) if both else super().forward(h)


class _BothWays(torch.autograd.Function):
    """The activation of `Overwriting`."""

    @staticmethod
    def forward(ctx, h: Tensor, slope: float) -> Tensor:
        nn.functional.leaky_relu_(h, slope)
        ctx.mark_dirty(h)
        ctx.save_for_backward(h)
        ctx.slope = slope
        return h

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            return torch.ops.aten.leaky_relu_backward(gradient, h, ctx.slope, True), None
        return torch.ops.aten.leaky_relu_backward.grad_input(gradient, h, ctx.slope, True, grad_input=gradient), None


def dense(widths: tuple[int, ...], slope: float, batch_norm: bool = False) -> nn.Sequential:
    """Linear layers through ``widths``, a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += activated(nn.Linear(a, b), b, slope, batch_norm)
    return nn.Sequential(*layers)


def lies_channels_last(x: Tensor) -> bool:
    """Whether ``x`` is a feature map on the CPU with its channels last in memory, as `Trainer` keeps them."""
    return x.ndim == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


class FewChannels(nn.Conv2d):
    """A three by three convolution, same size, for an image's few channels: on a CPU it computes four pixels at once.

    A vector register holds 16 numbers, and a convolution keeps the output channels of a place in one: three fill it
    badly. Two by two neighbours as channels of one place fill it four times as well. Their filters are the same three by
    three weights at four places of a four by four window with stride 2; the zeros around them cost less than is won.
    """

    def forward(self, x: Tensor) -> Tensor:
        even = x.shape[-2] % 2 == x.shape[-1] % 2 == 0
        single = x.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        return _FourPixels.apply(x, self.weight) if lies_channels_last(x) and even and single else super().forward(x)


class _FourPixels(torch.autograd.Function):
    """The convolution of `FewChannels`. Towards the input, where there are many channels, the plain form is the fast one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        # A window that starts one place later holds the filter one place earlier: hence the flip.
        windows = nn.functional.pad(weight, (1, 1, 1, 1)).unfold(2, 4, 1).unfold(3, 4, 1).flip(2, 3)
        filters = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        return nn.functional.pixel_shuffle(nn.functional.conv2d(x, filters, stride=2, padding=1), 2)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = nn.grad.conv2d_input(x.shape, weight, gradient, padding=1)
        if ctx.needs_input_grad[1]:
            shape, four = (4 * len(weight), weight.shape[1], 4, 4), nn.functional.pixel_unshuffle(gradient, 2)
            filters = nn.grad.conv2d_weight(x, shape, four, stride=2, padding=1).unflatten(0, (-1, 2, 2))
            to_weight = sum(filters[:, i, j, :, i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1))
        return to_x, to_weight


class Stage(nn.Sequential):
    """Two convolutions of the inference trunk: per halving a stride-2 and a plain one; without halving two plain ones."""

    def __init__(self, c_in: int, c_out: int, halvings: int, slope: float, batch_norm: bool = False):
        layers: list[nn.Module] = []
        for shrink in [down] * halvings or [conv]:
            layers += activated(shrink(c_in, c_out), c_out, slope, batch_norm)
            layers += activated(conv(c_out, c_out), c_out, slope, batch_norm)
            c_in = c_out
        super().__init__(*layers)


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """``N(mean, diag(scale²))`` over the last axis."""
    # Argument checks would read the values back from the device at every step; `Trainer` looks for NaN instead.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def check_images(x: Tensor, channels: int, size: int) -> None:
    """Raise `ValueError` unless ``x`` is a batch ``(n, channels, size, size)`` of floating-point images."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (channels, size, size):
        raise ValueError(f"expected images of shape (n, {channels}, {size}, {size}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"expected floating-point images in [-1, 1], got {x.dtype}: load_dataset returns them ready, or divide "
            "uint8 images by 127.5 and subtract 1"
        )


def check_range(x: Tensor) -> None:
    """Raise `ValueError` for images that hold NaN or lie far outside [-1, 1]. Waits for the device: not for a training step."""
    most = float(x.detach().abs().max()) if x.numel() else 0.0
    if not most <= 1.5:  # a NaN is not; a perturbed image may pass 1 a little
        raise ValueError(
            f"expected images in [-1, 1], got values up to {most:g}: load_dataset returns them ready, or divide images of "
            "0 … 255 by 127.5 and subtract 1"
        )
