"""HTML that notebooks show of tasks, runs and reports. All names are escaped, and nothing in it is a script."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

MOST = 60
"""Rows of a support or query that are shown."""


def table(rows: Mapping[str, Any]) -> str:
    """Return a table of facts by name."""
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def examples(inputs: Any, labels: Tensor, title: str) -> str:
    """Return pictures of rows if inputs (S, C, height, width) are images, with their labels; else a small table."""
    shown = labels.reshape(-1)[:MOST].tolist()
    more = f", the first {MOST} of {len(labels)}" if len(labels) > MOST else ""
    head = f"<p><b>{_text(title)}</b>: {len(labels)} rows{more}</p>"
    if is_images(inputs):
        return head + "".join(_picture(inputs[i], f"{title} row {i}, label {label}") for i, label in enumerate(shown))
    if not isinstance(inputs, Tensor):
        return head
    rows = [[f"{value:.4g}" for value in inputs[i].reshape(-1)[:6].tolist()] for i in range(min(5, len(labels)))]
    return head + table({f"row {i}, label {_short(shown[i])}": " ".join(row) for i, row in enumerate(rows)})


def is_images(inputs: Any) -> bool:
    """Return whether inputs are images (S, C, height, width) of one or three channels."""
    return isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.shape[1] in (1, 3) and min(inputs.shape[2:]) > 3


def curve(steps: Sequence[float], values: Sequence[float], label: str) -> str:
    """Return a line of values over steps, drawn as SVG."""
    points = [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y)]
    if len(points) < 2:
        return ""
    xs, ys = zip(*points, strict=True)
    low, high, first, last = min(ys), max(ys), min(xs), max(xs)
    place = [
        f"{4 + 292 * (x - first) / ((last - first) or 1):.1f},{96 - 92 * (y - low) / ((high - low) or 1):.1f}"
        for x, y in points
    ]
    says = f"{label}: {ys[0]:.4g} at step {xs[0]:g}, {ys[-1]:.4g} at step {xs[-1]:g}"
    drawn = f'<polyline fill="none" stroke="currentColor" points="{" ".join(place)}"/>'
    size = 'width="300" height="100" viewBox="0 0 300 100"'
    return f'<svg role="img" aria-label="{_text(says)}" {size}>{drawn}</svg><p>{_text(says)}</p>'


def _picture(image: Tensor, alt: str) -> str:
    from PIL import Image

    values = image.detach().cpu().double()
    if image.dtype.is_floating_point:
        low, high = values.min(), values.max()
        # In [0, 1] as sampled, or else as bright as it goes.
        values = 255 * (values if low >= 0 and high <= 1 else (values - low) / (high - low).clamp_min(1e-12))
    pixels = values.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG")
    code = base64.b64encode(out.getvalue()).decode()
    return f'<img src="data:image/png;base64,{code}" alt="{_text(alt)}" title="{_text(alt)}" width="48">'


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> str:
    return html.escape(str(value))
