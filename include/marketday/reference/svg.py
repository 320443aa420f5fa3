"""The few shapes of the pictures, and one style for light and dark pages.

A colour is never written at a shape but named by a class, so that a reader's preference can change all of them. The
picture brings its own background: it is readable on a page that does not ask what the reader prefers.
"""

from collections.abc import Iterable
from html import escape

# Okabe and Ito's palette (2008), which colour-blind readers can tell apart; lighter on dark.
_LIGHT = {
    "paper": "#ffffff",
    "box": "#fbfbfc",
    "rule": "#d9dde3",
    "faint": "#eceef1",
    "ink": "#1f2328",
    "muted": "#656d76",
    "dimension": "#00795a",
    "fact": "#0065a3",
    "staged": "#7b6f8d",
    "made": "#b04a00",
    "on": "#ffffff",
}
_DARK = {
    "paper": "#0d1117",
    "box": "#151b23",
    "rule": "#3d444d",
    "faint": "#232a33",
    "ink": "#e6edf3",
    "muted": "#9198a1",
    "dimension": "#3fbf95",
    "fact": "#5cb3ef",
    "staged": "#b3a6c9",
    "made": "#f0883e",
    "on": "#0d1117",
}
_LETTERS = """\
text { font-family: ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; font-size: 12px; }
.strong { font-weight: 600; }
.small { font-size: 11px; }"""


def document(width: float, height: float, *, title: str, about: str, shapes: Iterable[str]) -> str:
    """Return the whole picture; ``title`` and ``about`` are for who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-labelledby="title about">'
    )
    return "\n".join(
        [
            head,
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="about">{escape(about)}</desc>',
            "<style>",
            _LETTERS,
            _rules(_LIGHT),
            "@media (prefers-color-scheme: dark) {",
            _rules(_DARK),
            "}",
            "</style>",
            rectangle(0, 0, width, height, "paper", round_=10),
            *shapes,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, classes: str = "ink", *, anchor: str = "start", turn: float = 0) -> str:
    """Return words whose base line begins (or ends, as ``anchor`` says) at a point, turned by degrees."""
    turned = f' transform="rotate({turn:g} {x:g} {y:g})"' if turn else ""
    ends = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}" class="{classes}"{ends}{turned}>{escape(words)}</text>'


def rectangle(x: float, y: float, width: float, height: float, classes: str, *, round_: float = 0) -> str:
    """Return a filled rectangle."""
    corner = f' rx="{round_:g}"' if round_ else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{corner} class="{classes}"/>'


def dot(x: float, y: float, radius: float, classes: str) -> str:
    """Return a circle; its class says whether it is filled."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{classes}"/>'


def line(x: float, y: float, to_x: float, to_y: float, classes: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" class="{classes}"/>'


def path(steps: str, classes: str) -> str:
    """Return a line along SVG's path commands."""
    return f'<path d="{steps}" class="{classes}"/>'


def _rules(colours: dict[str, str]) -> str:
    """Return the style of each class: ``x`` is filled, ``x-line`` drawn, ``x-ring`` drawn and filled with paper."""
    classes = (
        f".{name} {{ fill: {colour}; }} .{name}-line {{ fill: none; stroke: {colour}; stroke-width: 1.4; }} "
        f".{name}-ring {{ fill: {colours['paper']}; stroke: {colour}; stroke-width: 1.8; }}"
        for name, colour in colours.items()
    )
    return "\n".join([*classes, f".framed {{ stroke: {colours['rule']}; }}"])
