"""Positions on the globe, kept as scores of a sorted set.

A score is a geohash of 52 bits: longitude and latitude, each cut into 2**26 parts, their bits in turn. A search
takes the box of a coarser grid around its centre and the eight boxes about it, each a run of scores, and keeps
the points that are near enough; results without ASC or DESC come in the order of that walk.

Redis: geo.c, geohash.c, geohash_helper.c (7.0.15).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aofnb.commands import messages
from aofnb.commands.args import Option, Options, floating, integer, value, word
from aofnb.commands.client import Client
from aofnb.commands.partial_sort import first_sorted
from aofnb.commands.registry import REWRITTEN, KeySpec, command
from aofnb.commands.zsets import limits, store_result, zadd
from aofnb.errors import ReplyError
from aofnb.store.zset import ScoreRange, SortedSet

__all__ = ["decode", "distance", "encode"]

LONGITUDES = (-180.0, 180.0)
# What a Mercator map shows; the usual geohash goes to the poles.
LATITUDES = (-85.05112878, 85.05112878)
WHOLE_LATITUDES = (-90.0, 90.0)
STEP = 26
EARTH_RADIUS_M = 6372797.560856
MERCATOR_MAX_M = 20037726.37
DEGREE = math.pi / 180.0
BASE32 = b"0123456789bcdefghjkmnpqrstuvwxyz"

UNITS = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
NO_UNIT = "ERR unsupported unit provided. please use M, KM, FT, MI"
NO_POSITION = "ERR could not decode requested zset member"

Bounds = tuple[float, float]
Point = tuple[float, float]
"""Longitude and latitude in degrees."""

# --- geohash -------------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A box of the grid that has 2**step columns from west to east and as many rows from south to north."""

    column: int
    row: int
    step: int

    @property
    def bits(self) -> int:
        return _spread(self.column) << 1 | _spread(self.row)

    def score_range(self) -> ScoreRange:
        """The scores of all positions in this box."""
        shift = 2 * (STEP - self.step)
        return ScoreRange(float(self.bits << shift), float(self.bits + 1 << shift), high_open=True)

    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        parts = 1 << self.step
        west, east = (_part(LONGITUDES, column, parts) for column in (self.column, self.column + 1))
        south, north = (_part(LATITUDES, row, parts) for row in (self.row, self.row + 1))
        return west, south, east, north

    def moved(self, columns: int, rows: int) -> Cell:
        """The box so many columns east and rows north; past the last comes the first again."""
        parts = 1 << self.step
        column = (self.column + columns) % parts if columns else self.column
        return Cell(column, (self.row + rows) % parts if rows else self.row, self.step)


def _part(bounds: Bounds, index: int, parts: int) -> float:
    low, high = bounds
    return low + index / parts * (high - low)


def _spread(number: int) -> int:
    """The lower 32 bits of `number`, with a zero bit before each."""
    number &= 0xFFFFFFFF
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555


def _squeeze(number: int) -> int:
    """Every second bit of `number`, from the lowest: undoes `_spread`."""
    number &= 0x5555555555555555
    number = (number | number >> 1) & 0x3333333333333333
    number = (number | number >> 2) & 0x0F0F0F0F0F0F0F0F
    number = (number | number >> 4) & 0x00FF00FF00FF00FF
    number = (number | number >> 8) & 0x0000FFFF0000FFFF
    return (number | number >> 16) & 0x00000000FFFFFFFF


def cell_at(point: Point, step: int, latitudes: Bounds = LATITUDES) -> Cell:
    """The box that `point` lies in. One on the very eastern or northern edge gets the index after the last."""
    (longitude, latitude), parts = point, 1 << step
    column = (longitude - LONGITUDES[0]) / (LONGITUDES[1] - LONGITUDES[0]) * parts
    row = (latitude - latitudes[0]) / (latitudes[1] - latitudes[0]) * parts
    return Cell(int(column), int(row), step)


def encode(point: Point) -> int:
    """The score of a position.

    >>> encode((13.361389, 38.115556))
    3479099956230698
    """
    return cell_at(point, STEP).bits


def decode(score: float) -> Point:
    """The position that a score stands for: the middle of its box."""
    bits = _as_uint64(score)
    west, south, east, north = Cell(_squeeze(bits >> 1), _squeeze(bits), STEP).box()
    return _clamped((west + east) / 2, LONGITUDES), _clamped((south + north) / 2, LATITUDES)


def _clamped(degrees: float, bounds: Bounds) -> float:
    return min(max(degrees, bounds[0]), bounds[1])


def _as_uint64(score: float) -> int:
    """What a cast from double gives on x86-64, for scores that never were positions as well."""
    if score >= 1 << 64:
        return 0
    return int(score) % (1 << 64) if score >= -(1 << 63) else 1 << 63


def geohash_text(point: Point) -> bytes:
    """The usual geohash of a position, eleven letters.

    Our 52 bits are ten letters and two bits; the server has always shown the eleventh as 0.
    """
    bits = cell_at(point, STEP, WHOLE_LATITUDES).bits
    return bytes(BASE32[bits >> 52 - 5 * i & 31] for i in range(1, 11)) + b"0"


def distance(a: Point, b: Point) -> float:
    """Metres between two positions, along the sphere."""
    v = math.sin((b[0] * DEGREE - a[0] * DEGREE) / 2)
    if v == 0.0:
        return latitude_distance(a[1], b[1])
    a_latitude, b_latitude = a[1] * DEGREE, b[1] * DEGREE
    u = math.sin((b_latitude - a_latitude) / 2)
    return 2.0 * EARTH_RADIUS_M * math.asin(math.sqrt(u * u + math.cos(a_latitude) * math.cos(b_latitude) * v * v))


def latitude_distance(a: float, b: float) -> float:
    """Metres between two latitudes on one meridian."""
    return EARTH_RADIUS_M * abs(b * DEGREE - a * DEGREE)


# --- shapes --------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """A circle (`height` is None, `width` its radius) or a box, lengths in the unit of `metres`."""

    centre: Point
    width: float
    height: float | None
    metres: float

    def distance_inside(self, point: Point) -> float | None:
        """Metres from the centre to `point`, or None where it is outside."""
        if self.height is None:
            away = distance(self.centre, point)
            return away if away <= self.width * self.metres else None
        if latitude_distance(point[1], self.centre[1]) > self.height * self.metres / 2:
            return None
        if distance(point, (self.centre[0], point[1])) > self.width * self.metres / 2:
            return None
        return distance(self.centre, point)

    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees of the box around this shape."""
        longitude, latitude = self.centre
        height = self.metres * (self.width if self.height is None else self.height / 2)
        width = self.metres * (self.width if self.height is None else self.width / 2)
        up = height / EARTH_RADIUS_M / DEGREE
        # The parallel nearer to the pole is the shorter one, so that it needs more degrees.
        edge = latitude - up if latitude < 0 else latitude + up
        # Python's cosine of infinity is an exception, C's is a NaN, which is less and greater than nothing.
        shrink = math.cos(edge * DEGREE) if math.isfinite(edge) else math.nan
        aside = width / EARTH_RADIUS_M / shrink / DEGREE
        return longitude - aside, latitude - up, longitude + aside, latitude + up

    def reach(self) -> float:
        """Metres from the centre to the farthest point."""
        if self.height is None:
            return self.width * self.metres
        return math.sqrt(self.width / 2 * (self.width / 2) + self.height / 2 * (self.height / 2)) * self.metres


def _step_for(reach: float, latitude: float) -> int:
    """How fine the grid may be so that nine boxes cover `reach` metres around a point."""
    if reach == 0:
        return STEP
    step = 1
    while reach < MERCATOR_MAX_M:
        reach *= 2
        step += 1
    step -= 2
    # Boxes get narrower towards the poles.
    if abs(latitude) > 66:
        step -= 1
        if abs(latitude) > 80:
            step -= 1
    return min(max(step, 1), STEP)


def cells_around(shape: Shape) -> list[Cell]:
    """The boxes that cover `shape`, in the order the server walks through them.

    Redis: geohash_helper.c geohashCalculateAreasByShapeWGS84; geo.c membersOfAllNeighbors.
    """
    west, south, east, north = shape.bounds()
    centre = cell_at(shape.centre, _step_for(shape.reach(), shape.centre[1]))
    if centre.step > 1 and _too_fine(centre, shape):
        centre = cell_at(shape.centre, centre.step - 1)
    box = centre.box()
    moves = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    if centre.step >= 2:
        # A neighbour is of no use where the middle box reaches over the edge on its side.
        if box[1] < south:
            moves = [move for move in moves if move[1] != -1]
        if box[3] > north:
            moves = [move for move in moves if move[1] != 1]
        if box[0] < west:
            moves = [move for move in moves if move[0] != -1]
        if box[2] > east:
            moves = [move for move in moves if move[0] != 1]
    cells: list[Cell] = []
    for i, move in enumerate(moves):
        cell = centre.moved(*move)
        # On a coarse grid east and west are the same box. The server compares with the one before, but not with
        # the middle one.
        if i < 2 or cell != cells[-1]:
            cells.append(cell)
    return cells


def _too_fine(centre: Cell, shape: Shape) -> bool:
    """Whether the boxes next to `centre` end before `shape` does."""
    west, south, east, north = shape.bounds()
    return (
        centre.moved(0, 1).box()[3] < north
        or centre.moved(0, -1).box()[1] > south
        or centre.moved(1, 0).box()[2] < east
        or centre.moved(-1, 0).box()[0] > west
    )


class Hit(NamedTuple):
    """A member inside the shape; `away` in metres."""

    away: float
    point: Point
    score: float
    member: bytes


def hits(found: SortedSet, shape: Shape) -> Iterator[Hit]:
    """The members of `found` inside `shape`, in the order of the walk."""
    for cell in cells_around(shape):
        start, stop = found.ranks_by_score(cell.score_range())
        for score, member in found.entries(start, stop) if start < stop else ():
            point = decode(score)
            away = shape.distance_inside(point)
            if away is not None:
                yield Hit(away, point, score, member)


# --- arguments -----------------------------------------------------------------------------------------------


def _point(longitude: bytes, latitude: bytes) -> Point:
    point = floating(longitude), floating(latitude)
    if not (LONGITUDES[0] <= point[0] <= LONGITUDES[1] and LATITUDES[0] <= point[1] <= LATITUDES[1]):
        raise ReplyError(f"ERR invalid longitude,latitude pair {point[0]:f},{point[1]:f}")
    return point


def _unit(arg: bytes) -> float:
    metres = UNITS.get(arg.upper())
    if metres is None:
        raise ReplyError(NO_UNIT)
    return metres


def _position(found: SortedSet, member: bytes) -> Point:
    score = found.score(member)
    if score is None:
        raise ReplyError(NO_POSITION)
    return decode(score)


Size = tuple[float, float | None, float]


def _radius(radius: bytes, unit: bytes) -> Size:
    length = floating(radius, "ERR need numeric radius")
    if length < 0:
        raise ReplyError("ERR radius cannot be negative")
    return length, None, _unit(unit)


def _box(width: bytes, height: bytes, unit: bytes) -> Size:
    size = floating(width, "ERR need numeric width"), floating(height, "ERR need numeric height")
    if min(size) < 0:
        raise ReplyError("ERR height or width cannot be negative")
    return *size, _unit(unit)


def _degrees(client: Client, number: float) -> Any:
    """A coordinate: 17 decimals, without the zeros at their end."""
    if client.resp >= 3:
        return number
    text = b"%.17f" % number
    text = text.rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


# --- commands ------------------------------------------------------------------------------------------------


@command(
    "GEOADD",
    arity=-5,
    flags="write denyoom",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=Options(word("NX", group="exists"), word("XX", group="exists"), word("CH")),
    since="3.2.0",
)
def geoadd(client: Client, key: bytes, *args: bytes) -> Any:
    """Add members with their longitude and latitude; logged as zadd."""
    first = 0
    words = set()
    while first < len(args) and args[first].upper() in (b"NX", b"XX", b"CH"):
        words.add(args[first].upper())
        first += 1
    triples = args[first:]
    if len(triples) % 3 or {b"NX", b"XX"} <= words:
        raise ReplyError(messages.SYNTAX_ERROR)
    scored = list(args[:first])
    for longitude, latitude, member in zip(triples[::3], triples[1::3], triples[2::3], strict=True):
        scored += [b"%d" % encode(_point(longitude, latitude)), member]
    before = client.dirty
    reply = zadd(client, key, *scored)
    if client.dirty != before:
        client.propagate(b"zadd", key, *scored)
    return reply


@command("GEOPOS", arity=-2, flags="readonly", keys=(1, 1, 1), since="3.2.0")
def geopos(client: Client, key: bytes, *members: bytes) -> list[Any]:
    """Longitude and latitude of members."""
    return _of_members(client, key, members, lambda point: [_degrees(client, degrees) for degrees in point])


@command("GEOHASH", arity=-2, flags="readonly", keys=(1, 1, 1), since="3.2.0")
def geohash(client: Client, key: bytes, *members: bytes) -> list[Any]:
    """The usual geohash texts of members."""
    return _of_members(client, key, members, geohash_text)


def _of_members(client: Client, key: bytes, members: Sequence[bytes], show: Callable[[Point], Any]) -> list[Any]:
    found = client.db.read_kind(key, SortedSet)
    scores = [None if found is None else found.score(member) for member in members]
    return [None if score is None else show(decode(score)) for score in scores]


@command("GEODIST", arity=-4, flags="readonly", keys=(1, 1, 1), since="3.2.0")
def geodist(client: Client, key: bytes, first: bytes, second: bytes, *unit: bytes) -> bytes | None:
    """Distance of two members."""
    if len(unit) > 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    metres = _unit(unit[0]) if unit else 1.0
    found = client.db.read_kind(key, SortedSet)
    if found is None or first not in found or second not in found:
        return None
    return b"%.4f" % (distance(_position(found, first), _position(found, second)) / metres)


class _Search(NamedTuple):
    """How the results of a search are ordered, cut and shown, and where they go."""

    order: str
    limit: int
    any: bool
    shown: frozenset[bytes]
    destination: bytes | None
    distances: bool


class _Family(NamedTuple):
    """What tells the commands of the search family apart."""

    name: str
    shaped: bool = False  # centre and size are options, as in GEOSEARCH
    may_store: bool = False  # takes STORE and STOREDIST with a key
    stores: bool = False  # GEOSEARCHSTORE


def _search(
    client: Client,
    family: _Family,
    found: SortedSet | None,
    args: Sequence[bytes],
    centre: Callable[[SortedSet], Point] | None = None,
    size: Size | None = None,
    destination: bytes | None = None,
) -> Any:
    """Read the options in `args`, search what was `found` at the key, and reply or store.

    Redis: geo.c georadiusGeneric.
    """
    order, count, any_, distances = "", 0, False, False
    shown: set[bytes] = set()
    from_member = from_point = by_radius = by_box = False
    options = list(args)

    def take(n: int) -> list[bytes]:
        taken = options[:n]
        del options[:n]
        return taken

    while options:
        option = options.pop(0).upper()
        left = len(options)
        match option:
            case b"WITHDIST" | b"WITHHASH" | b"WITHCOORD":
                shown.add(option)
            case b"ANY":
                any_ = True
            case b"ASC" | b"DESC":
                order = option.decode()
            case b"COUNT" if left >= 1:
                count = integer(take(1)[0])
                if count <= 0:
                    raise ReplyError("ERR COUNT must be > 0")
            case b"STORE" | b"STOREDIST" if family.may_store and left >= 1:
                (destination,), distances = take(1), option == b"STOREDIST"
            case b"FROMMEMBER" if family.shaped and left >= 1 and not from_point:
                from_member = True
                (member,) = take(1)
                if found is not None:
                    centre = _always(_position(found, member))
            case b"FROMLONLAT" if family.shaped and left >= 2 and not from_member:
                from_point = True
                centre = _always(_point(*take(2)))
            case b"BYRADIUS" if family.shaped and left >= 2 and not by_box:
                by_radius = True
                size = _radius(*take(2))
            case b"BYBOX" if family.shaped and left >= 3 and not by_radius:
                by_box = True
                size = _box(*take(3))
            case b"STOREDIST" if family.stores:
                distances = True
            case _:
                raise ReplyError(messages.SYNTAX_ERROR)
    _check_search(family, from_member or from_point, by_radius or by_box, destination, shown)
    if any_ and not count:
        raise ReplyError("ERR the ANY argument requires COUNT argument")
    if count and not order and not any_:
        order = "ASC"
    search = _Search(order, count, any_, frozenset(shown), destination, distances)
    if found is None or centre is None or size is None:
        return [] if destination is None else store_result(client, destination, SortedSet(), "")
    shape = Shape(centre(found), *size)
    results = _found(found, shape, search)
    if destination is None:
        return [_hit_reply(client, hit, search.shown, shape.metres) for hit in results]
    scores = {hit.member: hit.away / shape.metres if search.distances else hit.score for hit in results}
    event = "geosearchstore" if family.shaped else "georadiusstore"
    return store_result(client, destination, SortedSet.of(scores, *limits(client)), event, dirty=len(scores))


def _always(point: Point) -> Callable[[SortedSet], Point]:
    return lambda _found: point


def _check_search(
    family: _Family, has_centre: bool, has_size: bool, destination: bytes | None, shown: set[bytes]
) -> None:
    if destination is not None and shown:
        who = "GEOSEARCHSTORE" if family.stores else "STORE option in GEORADIUS"
        raise ReplyError(f"ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
    if family.shaped and not has_centre:
        raise ReplyError(f"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {family.name}")
    if family.shaped and not has_size:
        raise ReplyError(f"ERR exactly one of BYRADIUS and BYBOX can be specified for {family.name}")


def _found(found: SortedSet, shape: Shape, search: _Search) -> list[Hit]:
    results = hits(found, shape)
    listed = list(islice(results, search.limit)) if search.any else list(results)
    if not search.order:
        return listed[: search.limit] if search.limit else listed
    keys = [-hit.away if search.order == "DESC" else hit.away for hit in listed]
    if 0 < search.limit < len(listed):
        return first_sorted(listed, keys, search.limit)
    return [listed[i] for i in sorted(range(len(listed)), key=keys.__getitem__)]


def _hit_reply(client: Client, hit: Hit, shown: frozenset[bytes], metres: float) -> Any:
    if not shown:
        return hit.member
    reply: list[Any] = [hit.member]
    if b"WITHDIST" in shown:
        reply.append(b"%.4f" % (hit.away / metres))
    if b"WITHHASH" in shown:
        reply.append(int(hit.score))
    if b"WITHCOORD" in shown:
        reply.append([_degrees(client, degrees) for degrees in hit.point])
    return reply


SHOW = (word("WITHCOORD"), word("WITHDIST"), word("WITHHASH"))
SORT = (value("COUNT", integer), word("ANY"), word("ASC", group="order"), word("DESC", group="order"))
STORE = (value("STORE"), value("STOREDIST"))
SHAPE = (
    value("FROMMEMBER", group="centre"),
    Option("FROMLONLAT", 2, floating, "centre"),
    Option("BYRADIUS", 2, bytes, "size"),
    Option("BYBOX", 3, bytes, "size"),
)


def _with_store(options_at: int) -> KeySpec:
    """The key, and the keys behind STORE and STOREDIST from the argument at `options_at` on."""

    def positions(argv: Sequence[bytes]) -> list[int]:
        stores = [i + 1 for i in range(options_at, len(argv) - 1) if argv[i].upper() in (b"STORE", b"STOREDIST")]
        return [i for i in (1, *stores[-1:]) if i < len(argv)]

    return positions


@command(
    "GEORADIUS",
    arity=-6,
    flags="write denyoom movablekeys",
    keys=_with_store(6),
    options=Options(*SHOW, *SORT, *STORE),
    since="3.2.0",
)
def georadius(client: Client, key: bytes, *args: bytes) -> Any:
    """Members within a distance of a position; may be stored."""
    return _radius_search(client, _Family("GEORADIUS", may_store=True), key, args)


@command("GEORADIUS_RO", arity=-6, flags="readonly", keys=(1, 1, 1), options=Options(*SHOW, *SORT), since="3.2.10")
def georadius_ro(client: Client, key: bytes, *args: bytes) -> Any:
    """Members within a distance of a position."""
    return _radius_search(client, _Family("GEORADIUS_RO"), key, args)


def _radius_search(client: Client, family: _Family, key: bytes, args: Sequence[bytes]) -> Any:
    found = client.db.read_kind(key, SortedSet)  # a wrong kind of value comes before a wrong position
    longitude, latitude, radius, unit, *options = args
    centre = _always(_point(longitude, latitude))
    return _search(client, family, found, options, centre, _radius(radius, unit))


@command(
    "GEORADIUSBYMEMBER",
    arity=-5,
    flags="write denyoom movablekeys",
    keys=_with_store(5),
    options=Options(*SHOW, *SORT, *STORE),
    since="3.2.0",
)
def georadiusbymember(client: Client, key: bytes, *args: bytes) -> Any:
    """Members within a distance of another member; may be stored."""
    return _member_search(client, _Family("GEORADIUSBYMEMBER", may_store=True), key, args)


@command(
    "GEORADIUSBYMEMBER_RO", arity=-5, flags="readonly", keys=(1, 1, 1), options=Options(*SHOW, *SORT), since="3.2.10"
)
def georadiusbymember_ro(client: Client, key: bytes, *args: bytes) -> Any:
    """Members within a distance of another member."""
    return _member_search(client, _Family("GEORADIUSBYMEMBER_RO"), key, args)


def _member_search(client: Client, family: _Family, key: bytes, args: Sequence[bytes]) -> Any:
    member, radius, unit, *options = args
    found = client.db.read_kind(key, SortedSet)
    if found is None:
        # The server does not look at the radius here.
        return _search(client, family, None, options)
    centre = _always(_position(found, member))
    return _search(client, family, found, options, centre, _radius(radius, unit))


@command("GEOSEARCH", arity=-7, flags="readonly", keys=(1, 1, 1), options=Options(*SHAPE, *SHOW, *SORT), since="6.2.0")
def geosearch(client: Client, key: bytes, *args: bytes) -> Any:
    """Members within a circle or a box."""
    return _search(client, _Family("GEOSEARCH", shaped=True), client.db.read_kind(key, SortedSet), args)


@command(
    "GEOSEARCHSTORE",
    arity=-8,
    flags="write denyoom",
    keys=(1, 2, 1),
    options=Options(*SHAPE, *SORT, word("STOREDIST")),
    since="6.2.0",
)
def geosearchstore(client: Client, destination: bytes, key: bytes, *args: bytes) -> Any:
    """Store the members within a circle or a box, with their scores or distances."""
    family = _Family("GEOSEARCHSTORE", shaped=True, stores=True)
    return _search(client, family, client.db.read_kind(key, SortedSet), args, destination=destination)
