"""One HTML page without anything outside of it: its frame, and small parts to fill it with."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

CSS = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #22252b; --soft: #5c626d; --line: #d5d9e0;
  --card: #f3f4f6; --accent: #2b6cb0; --good: #1f8a5b; --bad: #c8384b; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e6e8ec; --soft: #a0a6b1; --line: #3a3f48;
  --card: #20232a; --accent: #7fb3e6; --good: #4cc38a; --bad: #ff7a86; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.015em; }
h2 { font-size: 1.45rem; margin: 3.2rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2.1rem 0 .4rem; }
p { max-width: 44rem; margin: .5rem 0; }
a { color: var(--accent); }
.soft, figcaption, .note { color: var(--soft); font-size: .92rem; }
.headline { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.6rem 0; }
.card { background: var(--card); border-radius: .6rem; padding: .9rem 1.2rem; min-width: 11rem; flex: 1; }
.card b { display: block; font-size: 1.75rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card small { font-size: 1rem; font-weight: 500; color: var(--soft); }
nav { font-size: .92rem; margin: 1rem 0; } nav a { margin-right: 1rem; white-space: nowrap; }
figure { margin: 1rem 0; } figure svg { display: block; max-width: 100%; height: auto; overflow: visible; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .94rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.n, th.n { text-align: right; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
.episode td { padding: .3rem .5rem .3rem 0; vertical-align: middle; }
.episode td.name { width: 12rem; font-size: .8rem; overflow-wrap: break-word; }
.tile { display: inline-block; text-align: center; font-size: .72rem; line-height: 1.25; margin: 0 .22rem .1rem 0;
  vertical-align: top; font-variant-numeric: tabular-nums; }
.tile img { display: block; width: 44px; height: 44px; image-rendering: pixelated; border: 2px solid var(--line);
  border-radius: 4px; }
.tile.right, .tile.wrong { width: 3.6rem; } .tile.right img, .tile.wrong img { margin: 0 auto; }
.tile.right img { border-color: var(--good); } .tile.wrong img { border-color: var(--bad); }
.right span { color: var(--good); } .wrong span { color: var(--bad); font-weight: 600; }
.pairs { display: flex; flex-wrap: wrap; gap: .8rem; }
.pair { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; width: 15.5rem; font-size: .8rem;
  overflow-wrap: break-word; }
.pair .tile img { width: 56px; height: 56px; }
details { margin: .8rem 0; } summary { cursor: pointer; font-weight: 600; }
@media print { main { max-width: none; } details { display: block; } }
"""


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
