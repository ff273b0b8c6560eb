"""The steps of a rewrite and of a write: their order, and what a crash after each leaves."""

from __future__ import annotations

import pytest

from aofnb.errors import ConfigError
from aofnb.lab import stepper
from aofnb.lab.disk import SimFs


def clicked(panel, description):
    (found,) = (each for each in panel._controls if each.description == description)
    found.click()


def test_a_rewrite_has_its_phases_in_order():
    steps = stepper("rewrite")
    phases = list(dict.fromkeys(step.phase[0] for step in steps.steps))
    assert phases == list("123456")
    titles = [step.title for step in steps.steps]
    published = titles.index("rename the new base to appendonly.aof.2.base.rdb")
    assert titles[published - 1].startswith("fsync of temp-rewriteaof")
    assert titles[published + 1] == "fsync of the directory"
    assert published < titles.index("delete appendonly.aof.1.incr.aof")
    steps.close()


def test_a_start_reads_what_the_manifest_lists():
    steps = stepper("rewrite")
    read = [[file.name[11:] for file in step.files if file.listed in ("b", "i")] for step in steps.steps]
    assert read[0] == ["aof.1.base.rdb", "aof.1.incr.aof"]
    assert ["aof.1.base.rdb", "aof.1.incr.aof", "aof.2.incr.aof"] in read
    assert read[-1] == ["aof.2.base.rdb", "aof.2.incr.aof"]
    # Never fewer files than a start needs.
    assert all(len(names) >= 2 for names in read)
    steps.close()


@pytest.mark.slow
def test_no_crash_of_a_rewrite_breaks_a_promise():
    steps = stepper("rewrite")
    for number in range(1, len(steps.steps) + 1):
        steps.go(number)
        for crashed in (steps.kill(), steps.cut_power()):
            assert crashed.problem is None
            assert crashed.promised <= crashed.fewest <= crashed.most <= crashed.issued
    steps.close()


@pytest.mark.parametrize(
    ("policy", "titles", "promised"),
    [
        ("always", ["write to", "fsync of", "the command is answered", "time passes"], [1, 1, 2, 2]),
        ("everysec", ["write to", "the command is answered", "fsync of", "time passes"], [1, 1, 1, 2]),
        ("no", ["write to", "the command is answered", "time passes"], [0, 0, 0]),
    ],
)
def test_the_policy_decides_when_an_answer_comes(policy, titles, promised):
    steps = stepper("write", policy=policy)
    said = [step.title for step in steps.steps]
    assert len(said) == len(titles)
    assert all(title.startswith(begin) for title, begin in zip(said, titles, strict=True))
    assert [step.promised["power"] for step in steps.steps] == promised
    steps.close()


def test_a_power_cut_says_what_may_be_left():
    steps = stepper("write", policy="everysec")
    clicked(steps, "cut power")
    (crashed,) = steps.crashes
    assert (crashed.fewest, crashed.most, crashed.promised, crashed.issued) == (1, 2, 1, 2)
    assert "power cut after step 1</td>" in steps._html.value
    assert f'<td class="n">{crashed.disks}</td><td class="n">1 to 2</td><td class="n">1 of 2</td>' in steps._html.value
    assert str(crashed) in steps.text()
    assert "<svg" not in steps.table()
    steps.close()


def test_a_disk_that_lies_is_found_out(monkeypatch):
    monkeypatch.setattr(SimFs, "sync_file", lambda self, path, node: self._observe("fdatasync", path))
    steps = stepper("write", policy="always")
    steps.go(3)
    assert steps.cut_power().problem is not None
    steps.close()


def test_buttons_end_at_the_ends():
    steps = stepper("write")
    assert steps._back.disabled
    for _ in steps.steps:
        clicked(steps, "Next")
    assert steps.number == len(steps.steps)
    assert steps._next.disabled
    clicked(steps, "Back")
    assert steps.number == len(steps.steps) - 1
    steps.close()


@pytest.mark.parametrize("wrong", [{"what": "coffee"}, {"policy": "sometimes"}])
def test_what_has_no_steps_is_refused(wrong):
    with pytest.raises(ConfigError):
        stepper(**wrong)
