"""How `shop/` was made: a real redis-server and ninety seconds in the life of a small shop.

The files are committed, since a server's run has other instants each time. To make them again (needs redis-server
and redis-py):

    python notebooks/data/make_shop.py

What is in it, by the shape of its keys:

    product:N    hash       name, price in cents, stock          user:N       hash       name, city
    cart:N       hash       product -> pieces                    recent:N     list       the last five products seen
    popular      zset       product, times seen                  tags:NAME    set        products
    orders       stream     one entry for each checkout          visitors     HyperLogLog
    revenue      string     cents                                voucher:X    string with a deadline in 2040
    page:home    string     the rendered start page, written far too often

The start is rewritten into a base file; what customers do afterwards is in the incr file, with a sale in the middle
that triples the traffic. ``aof-timestamp-enabled yes`` puts the time beside it.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

HERE = Path(__file__).parent
NAMES = ["Teapot", "Mug", "Kettle", "Saucer", "Spoon", "Tin", "Filter", "Grinder", "Tray", "Jar", "Scale", "Cosy"]
PEOPLE = ["Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "John", "Katherine", "Leslie", "Radia"]
CITIES = ["Lisbon", "Oslo", "Kyoto", "Quito", "Nairobi", "Zürich"]
YEAR_2040_S = 2_208_988_800
SECONDS = 90
SALE = range(35, 55)


def main() -> None:
    """Run the server, the shop, and copy what the server left."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": directory,
            "appendonly": "yes",
            "aof-use-rdb-preamble": "no",
            "aof-timestamp-enabled": "yes",
            "save": "",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        server = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        try:
            client = connected(port)
            shop = Shop(client, random.Random(42))
            shop.open()
            rewrite(client)
            shop.trade()
            client.shutdown(nosave=True)
            server.wait(20)
        finally:
            if server.poll() is None:
                server.kill()
        shutil.rmtree(HERE / "shop", ignore_errors=True)
        shutil.copytree(Path(directory) / "appendonlydir", HERE / "shop" / "appendonlydir")


def connected(port: int) -> redis.Redis:
    client = redis.Redis(port=port)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            return client
    raise SystemExit("redis-server did not come up")


def rewrite(client: redis.Redis) -> None:
    client.bgrewriteaof()
    while client.info("persistence")["aof_rewrite_in_progress"] or not client.info("persistence")["aof_base_size"]:
        time.sleep(0.1)


class Shop:
    """What the shop and its customers do."""

    def __init__(self, client: redis.Redis, rng: random.Random) -> None:
        self.client = client
        self.rng = rng
        self.product_weights = [1 / (n + 1) for n in range(len(NAMES))]

    def open(self) -> None:
        """Products, customers and vouchers, as they are before the first visit."""
        for number, name in enumerate(NAMES, 1):
            price = self.rng.randrange(5, 90) * 100 - 1
            self.client.hset(f"product:{number}", mapping={"name": name, "price": price, "stock": 500})
            self.client.sadd("tags:kitchen", number)
            if price > 4000:
                self.client.sadd("tags:gift", number)
            self.client.zadd("popular", {str(number): 0})
        for number in range(1, 61):
            person = {"name": self.rng.choice(PEOPLE), "city": self.rng.choice(CITIES)}
            self.client.hset(f"user:{number}", mapping=person)
        for code in ("WELCOME", "TEA10", "SPRING"):
            self.client.set(f"voucher:{code}", "10 %", exat=YEAR_2040_S)
        self.client.set("revenue", 0)
        self.render()

    def render(self) -> None:
        """Write the start page anew: the most popular products, with much markup around them."""
        top = self.client.zrevrange("popular", 0, 4)
        items = "".join(f'<li class="product product--teaser"><a href="/p/{n.decode()}">...</a></li>' for n in top)
        self.client.set("page:home", f"<!doctype html><title>Shop</title><ul>{items}</ul>{'<!-- padding -->' * 60}")

    def trade(self) -> None:
        """Customers come for ninety seconds, three times as many during the sale."""
        start = time.monotonic()
        visits = 0
        while (now := time.monotonic() - start) < SECONDS:
            self.visit()
            visits += 1
            if visits % 12 == 0:
                self.render()
            if visits % 100 == 0:
                self.lottery()
            time.sleep(self.rng.expovariate(12 if int(now) in SALE else 4))

    def visit(self) -> None:
        """One customer looks at a product, and perhaps buys."""
        user = self.rng.randrange(1, 61)
        product = self.rng.choices(range(1, len(NAMES) + 1), self.product_weights)[0]
        self.client.zincrby("popular", 1, product)
        self.client.pfadd("visitors", user)
        self.client.lpush(f"recent:{user}", product)
        self.client.ltrim(f"recent:{user}", 0, 4)
        if self.rng.random() < 0.35:
            self.client.hincrby(f"cart:{user}", product, self.rng.randrange(1, 4))
        if self.rng.random() < 0.15:
            self.check_out(user)

    def check_out(self, user: int) -> None:
        """Everything or nothing: the order, the stock, the money, and the cart that is empty now."""
        cart = {int(number): int(pieces) for number, pieces in self.client.hgetall(f"cart:{user}").items()}
        if not cart:
            return
        total = sum(int(self.client.hget(f"product:{n}", "price")) * pieces for n, pieces in cart.items())
        with self.client.pipeline(transaction=True) as transaction:
            transaction.xadd("orders", {"user": user, "total": total})
            for number, pieces in cart.items():
                transaction.hincrby(f"product:{number}", "stock", -pieces)
            transaction.incrby("revenue", total)
            transaction.delete(f"cart:{user}")
            transaction.execute()

    def lottery(self) -> None:
        """A random product loses its gift tag: SPOP chooses, and the log says what it chose."""
        self.client.spop("tags:gift")


if __name__ == "__main__":
    main()
