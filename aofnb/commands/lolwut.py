"""LOLWUT: a picture of computer art, another one for each old version, and the version itself.

Version 5 is after "Schotter" by Georg Nees (1968): squares in rows, which fall into disorder towards the bottom.
Version 6 is a skyline by night in the colours of a terminal. Both are drawn by chance, but for what is in order.

Redis: lolwut.c, lolwut5.c, lolwut6.c (7.0.15).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.resp.replies import Verbatim

__all__ = ["Dots", "schotter", "skyline"]

_VERSION = "Redis ver. 7.0.15\n"


@command("LOLWUT", arity=-1, flags="fast readonly", since="5.0.0")
def lolwut(client: Client, *args: bytes) -> bytes:
    """Show a piece of computer art, that of VERSION 5 or 6, and the version of Redis."""
    version = integer(args[1]) if len(args) >= 2 and args[0].upper() == b"VERSION" else 0
    chance = client.server.random
    text = ""
    if version == 5:
        columns, across, down = _within(args[2:], (66, 1000), (8, 200), (12, 200))
        picture = schotter(chance, columns, across, down)
        text = f"{picture}\nGeorg Nees - schotter, plotter on paper, 1968. "
    elif version == 6:
        columns, rows = _within(args[2:], (80, 1000), (20, 1000))
        text = f"{skyline(chance, columns, rows)}\nDedicated to the 8 bit game developers of past and present.\n"
    return Verbatim((text + _VERSION).encode())


def _within(args: Sequence[bytes], *defaults_and_highest: tuple[int, int]) -> Iterator[int]:
    """The numbers given, or their defaults, none below 1 or above the highest that is drawn."""
    for place, (default, highest) in enumerate(defaults_and_highest):
        yield min(max(integer(args[place]) if place < len(args) else default, 1), highest)


class Dots:
    """A sheet of dots, printed as Braille: two dots in a row and four in a column are one character."""

    # By row and column within a character: which bit of the character a dot is.
    _BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._dots: set[tuple[int, int]] = set()

    def line(self, x1: int, y1: int, x2: int, y2: int) -> None:
        """Draw a straight line, as far as it is on the sheet."""
        steps = max(abs(x2 - x1), abs(y2 - y1), 1)
        for step in range(steps + 1):
            x, y = round(x1 + (x2 - x1) * step / steps), round(y1 + (y2 - y1) * step / steps)
            if 0 <= x < self._width and 0 <= y < self._height:
                self._dots.add((x, y))

    def __str__(self) -> str:
        rows = range(0, self._height, 4)
        return "".join("".join(self._character(x, y) for x in range(0, self._width, 2)) + "\n" for y in rows)

    def _character(self, x: int, y: int) -> str:
        bits = 0
        for down, row in enumerate(self._BITS):
            for right, bit in enumerate(row):
                if (x + right, y + down) in self._dots:
                    bits |= bit
        return chr(0x2800 + bits)


def schotter(chance: random.Random, columns: int, across: int, down: int) -> Dots:
    """Squares, `across` in a row and `down` rows of them, on a sheet of `columns` characters."""
    width = 2 * columns
    margin = 2 if width > 4 else 0
    side = (width - 2 * margin) / across
    sheet = Dots(width, int(side * down + 2 * margin))
    for row in range(down):
        # The first two rows are in order.
        disorder = row / down if row > 1 else 0.0
        for column in range(across):
            turn = disorder * chance.uniform(-1, 1)
            x = (column + 0.5) * side + margin + disorder * chance.uniform(-1, 1) * side / 3
            y = (row + 0.5) * side + margin + disorder * chance.uniform(-1, 1) * side / 3
            _square(sheet, int(x), int(y), side, turn)
    return sheet


def _square(sheet: Dots, x: int, y: int, side: float, turn: float) -> None:
    radius = round(side / math.sqrt(2))
    angles = [turn + (quarter * 2 + 1) * math.pi / 4 for quarter in range(5)]
    corners = [(round(math.sin(angle) * radius + x), round(math.cos(angle) * radius + y)) for angle in angles]
    for (x1, y1), (x2, y2) in pairwise(corners):
        sheet.line(x1, y1, x2, y2)


# Sky, three walls, and a lit window: foreground and background.
_SKY, _WALLS, _LIT = "97;107", ("37;47", "90;100", "30;40"), "93;103"


def skyline(chance: random.Random, columns: int, rows: int) -> str:
    """Houses in three rows, the darkest in front, with lights in some of their windows."""
    picture = [[_SKY] * columns for _ in range(rows)]
    for depth, wall in enumerate(_WALLS):
        left = chance.randrange(-4, 1)
        while left < columns:
            width = chance.randrange(8, 17)
            top = rows - max(1, int(rows * (0.75 - 0.2 * depth) * chance.uniform(0.6, 1.1)))
            for y in range(max(top, 0), rows):
                for x in range(max(left, 0), min(left + width, columns)):
                    window = (x - left) % 3 == 1 and (y - top) % 2 == 1 and 0 < x - left < width - 1
                    picture[y][x] = _LIT if window and chance.random() < 0.35 else wall
            left += width + chance.randrange(3)
    return "\n".join("".join(f"\x1b[0;{colour}m \x1b[0m" for colour in row) for row in picture)
