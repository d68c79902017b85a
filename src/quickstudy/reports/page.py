"""One HTML page without anything outside of it: its frame, and small parts to fill it with."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from importlib import resources

import torch
from PIL import Image
from torch import Tensor

CSS = "\n" + resources.files(__package__).joinpath("page.css").read_text()


def escape(text: object) -> str:
    """Return text for HTML."""
    return html.escape(str(text), quote=True)


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """Return a table; `numbers` are the columns set flush right. Without column names it has no head."""

    def cells(row: Sequence[object], tag: str) -> str:
        kinds = (' class="n"' if i in numbers else "" for i in range(len(row)))
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    head = f"<thead><tr>{cells(columns, 'th')}</tr></thead>" if columns else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def figure(drawing: str, caption: str) -> str:
    """Return a figure with its caption."""
    return f'<figure><div class="wide">{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>'


def picture(pixels: Tensor, alt: str) -> str:
    """Return an image (C, H, W) in [0, 1] as an element that holds its own data."""
    values = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    array = values[0].numpy() if len(values) == 1 else values[:3].permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG", optimize=True)
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'


def tile(image: str, caption: str = "", kind: str = "") -> str:
    """Return a small picture with a caption; `kind` is 'right', 'wrong' or nothing."""
    return f'<span class="tile {kind}">{image}<span>{escape(caption)}</span></span>'


def card(label: str, value: str, more: str = "", note: str = "") -> str:
    """Return a figure that stands out."""
    small = f"<small> {escape(more)}</small>" if more else ""
    return (
        f'<div class="card">{escape(label)}<b>{escape(value)}{small}</b><span class="soft">{escape(note)}</span></div>'
    )
