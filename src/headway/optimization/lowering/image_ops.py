"""Lower the ONNX operators of images and sequences: convolutions and pooling.

Kernels store the channels of a pixel next to each other. A value keeps that order (`Rows.order`) through elementwise
operators and reshapes, and a dense layer reads it with its weights in that order, so that no numbers are moved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.optimization.lowering.numeric_ops import Rule
from headway.optimization.lowering.program import Emitter, ImageWindow, Rows, Span, Value

Array = NDArray[Any]
_LARGEST, _MEAN_WITHOUT_BORDER, _MEAN_WITH_BORDER = 0, 1, 2


class _Image(NamedTuple):
    """Input of an operator with two spatial axes; a sequence is an image of height 1."""

    rows: Rows
    channels: int
    height: int
    width: int

    @property
    def is_sequence(self) -> bool:
        return len(self.rows.shape) == 2


def _channels_last(channels: int, pixels: int) -> Array | None:
    """Return where each number of an ONNX image is stored; None if the orders are equal."""
    if channels == 1 or pixels == 1:
        return None
    return np.arange(channels * pixels).reshape(pixels, channels).T.ravel()


def _are_equal(a: Array | None, b: Array | None) -> bool:
    return a is b is None or (a is not None and b is not None and np.array_equal(a, b))


def _image(emitter: Emitter, value: Value) -> _Image:
    """Return a value as an image with the channels of a pixel next to each other."""
    rows = emitter.in_rows(value)
    if rows.kind != "float" or len(rows.shape) not in (2, 3):
        emitter.node.refuse(f"its input is not an image or sequence in float32 but of shape {rows.shape}")
    channels, height, width = rows.shape if len(rows.shape) == 3 else (rows.shape[0], 1, rows.shape[1])
    order = _channels_last(channels, height * width)
    if not _are_equal(rows.order, order):
        rows = emitter.in_order(rows)
        moved = np.arange(rows.size).reshape(channels, -1).T if order is not None else np.arange(rows.size)
        rows = replace(emitter.gather(rows, moved), shape=rows.shape, order=order)
    return _Image(rows, channels, height, width)


def _axes(emitter: Emitter, name: str, image: _Image, default: int, count: int = 1) -> list[int]:
    """Return an attribute with `count` numbers per spatial axis, for two of them."""
    axes = 1 if image.is_sequence else 2
    found = [int(number) for number in emitter.node.attributes.get(name) or [default] * axes * count]
    if len(found) != axes * count:
        emitter.node.refuse(f"its {name} are {found}")
    if not image.is_sequence:
        return found
    first = 0 if name == "pads" else 1
    return [number for pair in zip([first] * count, found, strict=True) for number in pair]


def _window(emitter: Emitter, image: _Image, kernel: list[int], *, outputs: int, groups: int = 1) -> ImageWindow:
    """Return the window of a convolution or pooling; refuse a negative or empty one."""
    strides, dilations = (_axes(emitter, name, image, 1) for name in ("strides", "dilations"))
    pads, auto = _axes(emitter, "pads", image, 0, 2), emitter.node.attributes.get("auto_pad", b"NOTSET")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    out = []
    for axis, length in enumerate((image.height, image.width)):
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            total = max((-(-length // strides[axis]) - 1) * strides[axis] + spans[axis] - length, 0)
            pads[axis] = (total + (auto == b"SAME_LOWER")) // 2
            pads[axis + 2] = total - pads[axis]
        elif auto == b"VALID":
            pads[axis] = pads[axis + 2] = 0
        left_over = length + pads[axis] + pads[axis + 2] - spans[axis]
        if emitter.node.attributes.get("ceil_mode", 0) and left_over % strides[axis]:
            emitter.node.refuse("its last window is not a whole one (ceil_mode)")
        out.append(left_over // strides[axis] + 1)
    if min(pads) < 0 or min(*out, *strides, *dilations, *kernel) < 1:
        emitter.node.refuse(f"its kernel {kernel} with pads {pads} does not fit into {image.height} x {image.width}")
    return ImageWindow(
        channels=image.channels,
        height=image.height,
        width=image.width,
        outputs=outputs,
        groups=groups,
        kernel=(kernel[0], kernel[1]),
        stride=(strides[0], strides[1]),
        dilation=(dilations[0], dilations[1]),
        border=(pads[0], pads[1]),
        out=(out[0], out[1]),
    )


def _answer(span: Span, window: ImageWindow, *, is_sequence: bool) -> Rows:
    """Return the answer of a step with a window."""
    height, width = window.answer
    shape = (window.outputs, width) if is_sequence else (window.outputs, height, width)
    return Rows(span=span, shape=shape, order=_channels_last(window.outputs, height * width))


def _conv(emitter: Emitter, value: Value, weights: Value, bias: Value | None = None) -> Value:
    image, array = _image(emitter, value), emitter.node.fixed(weights)
    groups = int(emitter.node.attributes.get("group", 1))
    if array.ndim != len(image.rows.shape) + 1 or array.dtype != np.float32 or not array.size:
        emitter.node.refuse(f"its weights are of shape {array.shape} and {array.dtype}")
    outputs = len(array)
    if groups < 1 or outputs % groups or array.shape[1] * groups != image.channels:
        emitter.node.refuse(f"{groups} groups of {image.channels} channels do not fit weights of shape {array.shape}")
    kernel = [1, *array.shape[2:]][-2:]
    added = emitter.node.fixed(bias) if bias is not None else np.zeros(outputs, np.float32)
    if added.shape != (outputs,) or not (np.isfinite(array).all() and np.isfinite(added).all()):
        emitter.node.refuse("its weights are not all finite")
    window = _window(emitter, image, kernel, outputs=outputs, groups=groups)
    taps_first = np.moveaxis(array.reshape(outputs, array.shape[1], -1), (0, 1, 2), (2, 1, 0))
    pooled = emitter.program.pool(taps_first), emitter.program.pool(added)
    out = emitter.program.emit_window("conv", window, image.rows.span, *pooled)
    return _answer(out, window, is_sequence=image.is_sequence)


def _pool(mode: int) -> Rule:
    def rule(emitter: Emitter, value: Value) -> Value:
        if emitter.node.outputs > 1:
            emitter.node.refuse("its indices are not computed")
        image, program = _image(emitter, value), emitter.program
        window = _window(emitter, image, _axes(emitter, "kernel_shape", image, 0), outputs=image.channels)
        conv = program.convolution(image.rows.span) if mode == _LARGEST and emitter.node.reads_alone else None
        if conv is not None and not conv.pooled and _is_halving(window):
            out = program.fuse(image.rows.span, pooled=True)
        else:
            by = _MEAN_WITH_BORDER if mode and emitter.node.attributes.get("count_include_pad", 0) else mode
            out = program.emit_window("pool", window, image.rows.span, mode=by)
        return _answer(out, window, is_sequence=image.is_sequence)

    return rule


def _is_halving(window: ImageWindow) -> bool:
    """Whether a window is of 2 x 2 pixels without a border, next to one another."""
    return window.kernel == window.stride == (2, 2) and window.dilation == (1, 1) and window.border == (0, 0)


def _global_pool(mode: int) -> Rule:
    def rule(emitter: Emitter, value: Value) -> Value:
        image = _image(emitter, value)
        size = (image.height, image.width)
        window = replace(_window(emitter, image, list(size), outputs=image.channels), kernel=size, out=(1, 1))
        out = emitter.program.emit_window("pool", window, image.rows.span, mode=mode)
        return _answer(out, window, is_sequence=image.is_sequence)

    return rule


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "MaxPool": _pool(_LARGEST),
    "AveragePool": _pool(_MEAN_WITHOUT_BORDER),
    "GlobalAveragePool": _global_pool(_MEAN_WITHOUT_BORDER),
    "GlobalMaxPool": _global_pool(_LARGEST),
}
"""Rules by operator."""
