import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.pool import Pool

KEYS = [b"%d" % i for i in range(30)]


@given(st.lists(st.sampled_from(KEYS)))
def test_a_pool_knows_each_key_once_whatever_came_and_went(changes):
    members = dict.fromkeys(KEYS[:10])
    pool = Pool(members)
    for key in changes:
        if key in members:
            del members[key]
            pool.removed(key)
        else:
            members[key] = None
            pool.added(key)
        pool._check(members)


def test_a_key_that_went_and_came_back_has_the_chance_of_any_other():
    members = dict.fromkeys(KEYS[:4])
    pool = Pool(members)
    for key in (KEYS[0], KEYS[1]):
        pool.removed(key)
        pool.added(key)
    pool.added(KEYS[4])
    rng = random.Random(1)
    drawn = Counter(pool.choose(rng) for _ in range(5000))
    assert set(drawn) == set(KEYS[:5])
    assert max(drawn.values()) < 1.2 * min(drawn.values())


def test_a_sample_has_no_key_twice_and_none_that_went():
    pool = Pool(dict.fromkeys(KEYS))
    for key in KEYS[:10]:
        pool.removed(key)
    rng = random.Random(2)
    for count in (0, 1, 3, 19, 20):
        sample = pool.sample(count, rng)
        assert len(set(sample)) == len(sample) == count
        assert set(sample) <= set(KEYS[10:])
