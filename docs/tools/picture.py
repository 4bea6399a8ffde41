"""Draw the picture of the method, ``images/method.svg``, from numbers that obey its equations.

    python docs/tools/picture.py

Colors follow the reader's light or dark mode and differ in lightness as well as in hue. The text
is large enough for a phone that is 360 pixels wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

OUT = Path(__file__).parents[1] / "images" / "method.svg"
WIDTH, HEIGHT = 720, 1020
SHOWN = 480  # pixels wide where a page does not say
CELL = 26
WEIGHT = 0.5

STYLE = """
  svg { --ink: #1c2430; --soft: #566070; --paper: #ffffff; --panel: #f2f4f7; --line: #b9c1cc;
        --low: #3b6fb6; --high: #d9822b; --none: #e3e7ec;
        --one: #0072b2; --two: #b35a00; --three: #00795a }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e8ecf2; --soft: #a9b3c1; --paper: #14171c; --panel: #1f242c; --line: #4b5563;
          --low: #6ea8ff; --high: #ffb057; --none: #343b46;
          --one: #56b4e9; --two: #f0a04b; --three: #3fc9a2 }
  }
  text { font: 23px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink) }
  .title { font-weight: 650 }
  .soft { fill: var(--soft); font-size: 21px }
  .middle { text-anchor: middle }
  .math { font-family: Georgia, "Times New Roman", serif; font-style: italic; font-size: 25px }
  .panel { fill: var(--panel); stroke: var(--line); stroke-width: 1.5 }
  .arrow { fill: none; stroke: var(--soft); stroke-width: 2.5; marker-end: url(#head) }
"""

# The three items, as an encoder might describe them, and their clusters.
ITEMS = (
    [1, 0.8, -0.6, -0.9, 0.3],
    [0.8, 0.5, -0.9, -0.5, 0.7],
    [-0.7, 1, 0.4, -0.6, -0.9],
)
CLUSTERS = (0, 0, 1)
CENTROIDS = ([0.7, 0.4, -0.9, -0.9, 0.7], [-0.4, 0.9, 0.9, -0.3, -1])
NAMES = ("green tea", "teapot", "bike light")
INK = ("var(--one)", "var(--two)", "var(--three)")

# The items on the map: x, y, cluster.
MAP = (
    (40, 40, 0), (66, 26, 0), (88, 58, 0), (52, 76, 0), (24, 66, 0), (76, 88, 0),
    (196, 40, 1), (232, 26, 1), (252, 62, 1), (206, 82, 1), (236, 92, 1),
    (112, 126, 2), (142, 108, 2), (166, 136, 2), (140, 152, 2), (104, 152, 2),
)  # fmt: skip
OWN = ((66, 26), (52, 76), (232, 26))


def mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of vectors."""
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def strip(x: float, y: float, values: Sequence[float], cell: float = CELL) -> Iterator[str]:
    """Draw a vector: the hue is the sign, the opacity the size."""
    yield '<g stroke="var(--line)" stroke-width="1">'
    for at, value in enumerate(values):
        hue = "var(--high)" if value > 0 else "var(--low)"
        box = f'x="{x + at * cell}" y="{y}" width="{cell}" height="{cell}"'
        yield f'<rect {box} fill="var(--none)"/>'
        yield f'<rect {box} fill="{hue}" fill-opacity="{min(1, abs(value)):.2f}"/>'
    yield "</g>"


def say(x: float, y: float, words: str, kind: str = "") -> str:
    """Write a line of text."""
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'


def panel(x: float, y: float, width: float, height: float) -> str:
    """Draw a box."""
    return f'<rect class="panel" x="{x}" y="{y}" width="{width}" height="{height}" rx="14"/>'


def arrow(path: str) -> str:
    """Draw an arrow."""
    return f'<path class="arrow" d="{path}"/>'


def items() -> Iterator[str]:
    """Draw the items of the user."""
    yield panel(20, 20, 680, 180)
    yield say(44, 58, "Ann bought three items.", "title")
    yield say(44, 88, "An encoder describes each one.", "soft")
    for at, (name, values) in enumerate(zip(NAMES, ITEMS, strict=True)):
        x = 62 + at * 222
        yield f'<circle cx="{x + 10}" cy="{118}" r="9" fill="{INK[CLUSTERS[at]]}"/>'
        yield say(x + 28, 126, name)
        yield from strip(x, 146, values)


def local() -> Iterator[str]:
    """Draw the local part, the mean of the items."""
    yield panel(20, 260, 330, 386)
    yield say(44, 300, "Local", "title")
    yield say(44, 330, "the mean of her items", "soft")
    for at, values in enumerate(ITEMS):
        yield from strip(120, 364 + at * 38, values)
        yield f'<circle cx="98" cy="{377 + at * 38}" r="9" fill="{INK[CLUSTERS[at]]}"/>'
    yield arrow("M185 480 V546")
    yield from strip(120, 556, mean(ITEMS))
    yield say(185, 622, "local", "math middle")


def clusters() -> Iterator[str]:
    """Draw the global part, the mean of the centroids."""
    yield panel(370, 260, 330, 386)
    yield say(394, 300, "Global", "title")
    yield say(394, 330, "the mean of their clusters", "soft")
    left, top = 394, 336
    for number in range(3):
        members = [(left + x, top + y) for x, y, cluster in MAP if cluster == number]
        across, down = mean(members)
        for x, y in members:
            if (x - left, y - top) in OWN:
                line = f"M{x} {y} L{across:.0f} {down:.0f}"
                yield f'<path d="{line}" stroke="var(--ink)" stroke-width="2.5"/>'
                shown = 'r="9" stroke="var(--ink)" stroke-width="3"'
            else:
                shown = 'r="6" fill-opacity="0.55"'
            yield f'<circle cx="{x}" cy="{y}" fill="{INK[number]}" {shown}/>'
        cross = f"M{across - 9:.0f} {down:.0f} h18 M{across:.0f} {down - 9:.0f} v18"
        yield f'<path d="{cross}" stroke="var(--ink)" stroke-width="4"/>'
    yield arrow("M535 506 V546")
    yield from strip(470, 556, mean([CENTROIDS[cluster] for cluster in CLUSTERS]))
    yield say(535, 622, "global", "math middle")


def mixed() -> Iterator[str]:
    """Draw the weighted mean and the table of the model."""
    both = (mean(ITEMS), mean([CENTROIDS[cluster] for cluster in CLUSTERS]))
    ann = [WEIGHT * one + (1 - WEIGHT) * two for one, two in zip(*both, strict=True)]
    yield panel(20, 706, 680, 294)
    yield say(44, 744, "Ann’s start", "title")
    yield say(44, 780, "w · local + (1 − w) · global", "math")
    yield from strip(44, 812, ann, 40)
    yield say(44, 896, "computed, not trained;", "soft")
    yield say(44, 926, "then training begins,", "soft")
    yield say(44, 956, "with the same code", "soft")
    yield arrow("M258 832 H424")
    yield say(440, 744, "The user table", "title")
    yield say(440, 778, "a row for each user", "soft")
    rows = {
        "Ann": ann,
        "Bob": [-0.5, 0.8, 0.7, -0.4, -0.7],
        "Eve": [0.4, -0.7, 0.2, 0.6, -0.5],
        "Zoe": [-0.8, -0.2, -0.4, 0.7, 0.6],
    }
    for at, (name, values) in enumerate(rows.items()):
        y = 812 + at * 44
        yield say(440, y + 27, name)
        yield from strip(500, y, values, 36)


def picture() -> str:
    """Draw the whole picture."""
    parts = [*items(), *local(), *clusters(), *mixed()]
    parts += [arrow("M185 204 V252"), arrow("M535 204 V252")]
    parts += [arrow("M185 650 V698"), arrow("M535 650 V698")]
    words = (
        "Ann bought three items, each described by a vector. Local: the mean of their vectors. "
        "Global: the mean of the centroids of the clusters that they belong to. Her start is a "
        "weighted mean of both, written into her row of the model’s user table before training."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{SHOWN}" height="{SHOWN * HEIGHT // WIDTH}" '
        'role="img" aria-labelledby="name what">\n'
        '<title id="name">How the start of a user is computed</title>\n'
        f'<desc id="what">{escape(words)}</desc>\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="var(--soft)"/></marker>'
        f'</defs>\n<rect width="{WIDTH}" height="{HEIGHT}" rx="18" fill="var(--paper)"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    OUT.write_text(picture(), encoding="utf-8")
