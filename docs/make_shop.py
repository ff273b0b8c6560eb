"""Makes the log that docs/questions.md asks: five minutes of a small shop on a real redis-server, and its accidents.

    python docs/make_shop.py DIR

DIR is a new directory; its appendonlydir is what docs/shop holds. Needs redis-server 7.0 and redis-py, and takes five
minutes, since the seconds in the log are real ones. What happens when is in `STORY`; the people are invented.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis

SECONDS = 290
PORT = 7391
PRODUCTS = 40
CUSTOMERS = 150
# The product that everybody wants once its price is cut.
SALE = 7
FIRST = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gül", "Hugo", "Ines", "Jan", "Kim", "Lea", "Max", "Nora", "Óscar")
LAST = ("Abel", "Berg", "Cruz", "Diaz", "Evans", "Faure", "Gross", "Hahn", "Ito", "Jung", "Kaya", "Lund", "Moser")


class Shop:
    """The programs that write: the shop itself in capitals, the page cache in small letters."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.data = redis.Redis(port=PORT, db=0)
        self.cache = redis.Redis(port=PORT, db=1)
        self.orders = 1000
        self.sale = False

    def begin(self) -> None:
        with self.data.pipeline(transaction=False) as pipe:
            for number in range(1, PRODUCTS + 1):
                pipe.hset(f"product:{number}", mapping={"name": f"Thing {number}", "cents": 100 * number + 99})
                pipe.set(f"stock:{number}", 15 if number == SALE else self.chance.randint(40, 90))
            for number in range(1, CUSTOMERS + 1):
                pipe.hset(f"customer:{number}", mapping=self._person(number))
            pipe.execute()

    def _person(self, number: int) -> dict[str, str]:
        first, last = self.chance.choice(FIRST), self.chance.choice(LAST)
        return {
            "name": f"{first} {last}",
            "email": f"{first}.{last}{number}@example.org".lower().encode("ascii", "ignore").decode(),
            "phone": f"+1 202 555 {self.chance.randint(100, 199):04}",
        }

    def step(self) -> None:
        """One click of somebody."""
        self.chance.choices(
            (self.visit, self.fill_cart, self.order, self.show_page, self.mail, self.rate),
            (5, 6, 3, 5, 2, 1),
        )[0]()

    def visit(self) -> None:
        token = f"{self.chance.getrandbits(64):016x}"
        self.data.set(f"session:{token}", f"customer:{self._customer()}", ex=self.chance.choice((20, 45, 900)))
        self.data.incr("visits")

    def fill_cart(self) -> None:
        key = f"cart:{self._customer()}"
        self.data.hset(key, str(self._product()), self.chance.randint(1, 3))

    def order(self) -> None:
        customer, product, number = self._customer(), self._product(), self.chance.randint(1, 3)
        self.orders += 1
        with self.data.pipeline(transaction=True) as pipe:
            pipe.decrby(f"stock:{product}", number)
            pipe.hset(f"order:{self.orders}", mapping={"customer": customer, "product": product, "number": number})
            pipe.xadd("orders", {"order": self.orders}, maxlen=500)
            pipe.delete(f"cart:{customer}")
            pipe.zincrby("bestsellers", number, f"product:{product}")
            pipe.execute()
        self.data.lpush("mail", f"order {self.orders} of customer:{customer}")

    def show_page(self) -> None:
        key = f"page:{self._product()}"
        self.cache.execute_command("hset", key, "html", "<h1>" + "thing " * self.chance.randint(5, 20) + "</h1>")
        self.cache.execute_command("expire", key, self.chance.choice((15, 600)))

    def mail(self) -> None:
        self.data.rpop("mail")

    def rate(self) -> None:
        self.data.hincrby(f"rating:{self._product()}", str(self.chance.randint(1, 5)), 1)

    def _customer(self) -> int:
        return self.chance.randint(1, CUSTOMERS)

    def _product(self) -> int:
        return SALE if self.sale and self.chance.random() < 0.6 else self.chance.randint(1, PRODUCTS)

    # --- what goes wrong -----------------------------------------------------------------------------------

    def rewrite(self) -> None:
        self.data.bgrewriteaof()

    def cart_of_42(self) -> None:
        self.data.hset("cart:42", mapping={"3": 1, "12": 2, "31": 1})

    def clean_up(self) -> None:
        """A job that was to delete abandoned carts, and forgot to look at their age."""
        self.data.unlink(*sorted(f"cart:{number}" for number in range(1, CUSTOMERS + 1)))

    def begin_sale(self) -> None:
        self.sale = True

    def less_memory(self) -> None:
        """Somebody turns memory down, and back up after a while: keys with a deadline are evicted, some writes fail."""
        self.data.config_set("maxmemory-policy", "volatile-lru")
        self.data.config_set("maxmemory", self.data.info("memory")["used_memory"] + 10_000)

    def more_memory(self) -> None:
        self.data.config_set("maxmemory", 0)

    def rename(self) -> None:
        self.data.rename("bestsellers", "bestsellers:november")

    def deploy(self) -> None:
        """FLUSHDB on the cache was meant."""
        self.cache.execute_command("flushall")


STORY: list[tuple[int, Callable[[Shop], None]]] = [
    (50, Shop.rewrite),
    (95, Shop.cart_of_42),
    (110, Shop.clean_up),
    (130, Shop.begin_sale),
    (175, Shop.less_memory),
    (185, Shop.more_memory),
    (195, Shop.rename),
    (215, Shop.deploy),
]


def main(dest: Path) -> None:
    dest.mkdir()
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is needed")
    settings = {"port": PORT, "dir": dest, "appendonly": "yes", "save": "", "aof-timestamp-enabled": "yes"}
    words = [f"--{name}={value}" for name, value in settings.items()]
    server = subprocess.Popen([program, *(word for each in words for word in each.split("=", 1))])
    try:
        time.sleep(1)
        shop = Shop(7)
        shop.begin()
        began = time.monotonic()
        story = list(STORY)
        while (now := time.monotonic() - began) < SECONDS:
            while story and story[0][0] <= now:
                story.pop(0)[1](shop)
            with suppress(redis.exceptions.OutOfMemoryError, redis.exceptions.ExecAbortError):
                shop.step()
            time.sleep(shop.chance.uniform(0.1, 0.3))
        shop.data.shutdown()
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
