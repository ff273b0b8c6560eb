"""Positions, distances and searches come out as redis-server's do, to the last digit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.differential import Run
from support.require import need
from support.server import available
from support.transcripts import Error, check_transcript

Row = tuple[str, object]
need("redis-server", available())

SICILY: list[Row] = [
    ("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", 2),
    ("GEOADD g NX CH 13.5 38 Palermo", 0),
    ("GEOADD g NX XX 13.5 38 Palermo", Error("ERR syntax error")),
    ("GEOADD g 181 1 x", Error("ERR invalid longitude,latitude pair 181.000000,1.000000")),
    ("GEOADD g x 1 x", Error("ERR value is not a valid float")),
    ("GEOPOS g Palermo nobody", [[b"13.36138933897018433", b"38.11555639549629859"], None]),
    ("GEOHASH g Palermo nobody", [b"sqc8b49rny0", None]),
    ("GEODIST g Palermo Catania", b"166274.1516"),
    ("GEODIST g Palermo Catania KM", b"166.2742"),
    ("GEODIST g Palermo Catania parsec", Error("ERR unsupported unit provided. please use M, KM, FT, MI")),
    ("GEODIST g Palermo nobody", None),
    ("GEORADIUS g 15 37 200 km WITHDIST ASC", [[b"Catania", b"56.4413"], [b"Palermo", b"190.4424"]]),
    ("GEORADIUSBYMEMBER_RO g Catania 1 m WITHHASH", [[b"Catania", 3479447370796909]]),
    ("GEORADIUS_RO g 15 37 200 km STORE d", Error("ERR syntax error")),
    ("GEORADIUS g 15 37 200 km STORE d WITHDIST", Error("ERR STORE option in GEORADIUS is not compatible")),
    ("GEORADIUS g 15 37 200 km STOREDIST d", 2),
    ("ZRANGE d 0 -1", [b"Catania", b"Palermo"]),
    ("GEOSEARCH g FROMMEMBER Palermo BYBOX 400 200 km DESC COUNT 1", [b"Catania"]),
    ("GEOSEARCH g FROMMEMBER nobody BYRADIUS 1 m", Error("ERR could not decode requested zset member")),
    ("GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 m", Error("ERR syntax error")),
    ("GEOSEARCH g FROMMEMBER Palermo ASC COUNT 1 ANY", Error("ERR exactly one of BYRADIUS and BYBOX")),
    ("GEOSEARCH g BYRADIUS 1 m ASC DESC COUNT 1", Error("ERR exactly one of FROMMEMBER or FROMLONLAT")),
    ("GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 m ANY", Error("ERR the ANY argument requires COUNT argument")),
    ("GEOSEARCH g FROMMEMBER Palermo BYRADIUS -1 m", Error("ERR radius cannot be negative")),
    ("GEOSEARCH g FROMMEMBER Palermo BYBOX 1 -1 m", Error("ERR height or width cannot be negative")),
    ("GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 m COUNT 0", Error("ERR COUNT must be > 0")),
    ("GEORADIUSBYMEMBER nokey nobody x parsec", []),
    ("GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 m", 0),
    ("EXISTS d", 0),
    ("ZADD odd -1 a 1e300 b inf c -inf d 9.3e18 e 1.5 f", 6),
    ("GEOHASH odd a b c d e f", [b"bp05b5048p0", b"00bh0hbj200", b"00bh0hbj200", b"00bh0hbj200", b"bp05b5048p0",
                                 b"00bh0hbj210"]),
]  # fmt: skip


def test_replies(tmp_path: Path) -> None:
    check_transcript(SICILY, tmp_path, reads=[("GEODIST g Palermo Catania", b"166274.1516")])


def geo_command(rng: random.Random) -> list[str]:
    """Some command of the family; many places are at the edges of the map or near to each other."""

    def place() -> list[str]:
        longitude = rng.choice([rng.uniform(-180, 180), rng.uniform(14, 16), 180, -180])
        latitude = rng.choice([rng.uniform(-85, 85), rng.uniform(37, 38), 85, -85.05112878])
        return [f"{longitude:.6f}", f"{latitude:.8f}"]

    def size() -> str:
        return rng.choice([f"{10 ** rng.uniform(-1, 5):.3f}", "0", "1000", "20000"])

    key, member = rng.choice(["g1", "g2"]), f"p{rng.randrange(40)}"
    unit = rng.choice(["m", "km", "KM", "mi", "ft"])
    order = rng.choice([[], ["ASC"], ["desc"]])
    count = rng.choice([[], ["COUNT", rng.choice(["1", "3", "9"])], ["COUNT", "3", "ANY"]])
    shown = [word for word in ("WITHDIST", "WITHHASH", "withcoord") if rng.random() < 0.4]
    centre = rng.choice([["FROMMEMBER", member], ["FROMLONLAT", *place()]])
    shape = rng.choice([["BYRADIUS", size(), unit], ["BYBOX", size(), size(), unit]])
    store = rng.choice([[], ["STORE", "d"], ["STOREDIST", "d"]])
    return rng.choice(
        [
            ["GEOADD", key, *(word for i in range(3) for word in (*place(), f"p{rng.randrange(40)}"))],
            ["GEOADD", key, rng.choice(["NX", "xx", "CH"]), *place(), member],
            ["GEOPOS", key, member, "nobody"],
            ["GEOHASH", key, member],
            ["GEODIST", key, member, f"p{rng.randrange(40)}", unit],
            ["GEOSEARCH", key, *centre, *shape, *order, *count, *shown],
            ["GEOSEARCH", key, *shape, *count, *centre],
            ["GEOSEARCHSTORE", "d", key, *centre, *shape, *order, *count, *rng.choice([[], ["STOREDIST"]])],
            ["GEORADIUS", key, *place(), size(), unit, *order, *count, *(store or shown)],
            ["GEORADIUSBYMEMBER", key, member, size(), unit, *order, *count, *(store or shown)],
            ["ZRANGE", "d", "0", "-1", "WITHSCORES"],
        ]
    )


@pytest.mark.parametrize("seed", range(2))
def test_random_commands_get_the_same_replies_and_leave_the_same_log(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    with Run(tmp_path) as run:
        for _ in range(1500):
            run.both(*geo_command(rng))
        run.check_logs()
