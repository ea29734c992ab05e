"""Modules that have a tuned form, which they take inside `hebm_lib.sampling.cpu_speed.tuned` only."""

import torch
from torch import Tensor, nn

from hebm_lib.sampling.cpu_speed.switch import is_tuned, lies_channels_last

__all__ = ["FewChannels", "LeakyReLU"]


class LeakyReLU(nn.LeakyReLU):
    """A leaky ReLU that nobody but the next layer reads. Inside `tuned` it overwrites its argument.

    No gradient needs what a layer or a batch norm has put out, and fetching memory for large features costs more than
    the arithmetic.

    Args:
        slope: negative slope.
        feeds_convolution: right before a convolution, which makes the gradient that arrives for this module alone. On a
            CPU the tuned form then overwrites that gradient as well; a sum, say, would hand one gradient to two.
    """

    def __init__(self, slope: float, *, feeds_convolution: bool = False):
        super().__init__(slope)
        self.feeds_convolution = feeds_convolution

    def forward(self, h: Tensor) -> Tensor:
        if not is_tuned():
            return super().forward(h)
        if self.feeds_convolution and h.device.type == "cpu":
            return _BothWays.apply(h, self.negative_slope)
        return nn.functional.leaky_relu_(h, self.negative_slope)


class _BothWays(torch.autograd.Function):
    """In place on the way and on the way back."""

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


class FewChannels(nn.Conv2d):
    """A three by three convolution, same size, for an image's few channels. Inside `tuned`, on a CPU, it computes four
    pixels at once.

    A vector register holds 16 numbers, and a convolution keeps the output channels of a place in one: three fill it
    badly. Two by two neighbours as channels of one place fill it four times as well. Their filters are the same three by
    three weights at four places of a four by four window with stride 2; the zeros around them cost less than is won.
    """

    def forward(self, x: Tensor) -> Tensor:
        even = x.shape[-2] % 2 == x.shape[-1] % 2 == 0
        single = x.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        return _FourPixels.apply(x, self.weight) if lies_channels_last(x) and even and single else super().forward(x)


class _FourPixels(torch.autograd.Function):
    """The convolution of `FewChannels`. Towards the input it is a plain one."""

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
            # Backwards through a convolution is one with its filters turned round. Asked for as such it has the many
            # channels on the way out, where registers hold them, and comes with its channels last, as x is: several times
            # as fast. `clone`, because with one channel `contiguous` sees nothing to do.
            turned = weight.flip(2, 3).transpose(0, 1).clone(memory_format=torch.channels_last)
            to_x = nn.functional.conv2d(gradient.contiguous(memory_format=torch.channels_last), turned, padding=1)
        if ctx.needs_input_grad[1]:
            shape, four = (4 * len(weight), weight.shape[1], 4, 4), nn.functional.pixel_unshuffle(gradient, 2)
            filters = nn.grad.conv2d_weight(x, shape, four, stride=2, padding=1).unflatten(0, (-1, 2, 2))
            to_weight = sum(filters[:, i, j, :, i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1))
        return to_x, to_weight
