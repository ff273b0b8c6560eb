"""The judge of exercises: right solutions pass, wrong ones are shown the crash that breaks them."""

from __future__ import annotations

import pytest

from aofnb.errors import ConfigError
from aofnb.lab import check

SHELF = [("MSET", "shelf", 10, "cart", 0)]


def one_by_one(store):
    store.execute("DECRBY", "shelf", 3)
    store.execute("INCRBY", "cart", 3)


def as_transaction(store):
    store.execute("MULTI")
    one_by_one(store)
    store.execute("EXEC")


def nothing(store):
    pass


def pieces(store):
    shelf, cart = map(int, store.execute("MGET", "shelf", "cart"))
    if shelf + cart != 10:
        return f"{shelf} are on the shelf and {cart} in the cart"
    return None


def moved(store):
    return store.execute("GET", "cart") == b"3"


def test_a_transaction_is_right():
    verdict = check(as_transaction, pieces, prepare=SHELF, done=moved)
    assert verdict
    assert verdict.crashes > 50
    assert repr(verdict) == f"Right! {verdict.crashes} crashes, and it holds after each of them."


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_two_commands_are_not(policy):
    verdict = check(one_by_one, pieces, prepare=SHELF, done=moved, policy=policy)
    assert not verdict
    assert "7 are on the shelf and 0 in the cart" in repr(verdict)


def test_doing_nothing_is_found_out_without_a_crash():
    verdict = check(nothing, pieces, prepare=SHELF, done=moved)
    assert repr(verdict) == "Not yet: even without a crash, what must hold does not."


def test_an_assertion_says_what_is_wrong():
    def holds(store):
        assert store.execute("EXISTS", "shelf") == 0, "there is a shelf"

    assert "there is a shelf" in repr(check(nothing, holds, prepare=SHELF))


def test_the_verdict_is_the_same_each_time():
    assert len({repr(check(one_by_one, pieces, prepare=SHELF)) for _ in range(3)}) == 1


def test_the_learners_own_error_is_the_learners_to_see():
    def broken(store):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        check(broken, pieces, prepare=SHELF)


def test_an_everlasting_function_is_refused():
    def much(store):
        for number in range(5000):
            store.execute("SET", number, number)

    with pytest.raises(ConfigError, match="writes too much"):
        check(much, pieces, prepare=SHELF)


@pytest.mark.parametrize("wrong", [(nothing, None), (nothing, 3)])
def test_what_cannot_be_called_is_refused(wrong):
    with pytest.raises(ConfigError):
        check(*wrong)


def test_a_policy_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="appendfsync"):
        check(nothing, pieces, policy="sometimes")
