"""`pull_the_plug`: watch bytes go from aof_buf to the disk, kill the process or cut the power, and see what is left.

The store runs on a simulated disk, once, before anything is shown (`aofnb.lab.loss`); what is played is the recording,
and a crash opens the disk of that moment with the real loader. The same clicks at the same moments give the same
numbers.

Many crashes are counted by a thread of their own, so that the kernel is free meanwhile; it ends when the panel is
closed.
"""

from __future__ import annotations

import contextvars
import random
import threading
from collections.abc import Callable
from html import escape

import ipywidgets

from aofnb.clock import SystemClock
from aofnb.errors import ConfigError
from aofnb.lab import pictures
from aofnb.lab.disk import Crash
from aofnb.lab.loss import POLICIES, CrashTest, Moment, Outcome, Policy, crash_test, record
from aofnb.lab.pictures import BUFFER, CACHE, DISK
from aofnb.panel import Panel, button, image_of

__all__ = ["Plug", "pull_the_plug"]

# One step of the recording is so long, and is shown so long: four pictures a second.
STEP_S = 0.25
LATENCIES_MS = (1, 5, 20, 100, 500, 1500, 3000)
KEPT = 8
_MEANINGS = {
    "aof_buf": "lost with the process",
    "page cache": "lost with the power",
    "disk": "stays",
}
_COLOURS = {"aof_buf": BUFFER, "page cache": CACHE, "disk": DISK}
_PROGRESS_EVERY_S = 0.25


class _ClosedError(Exception):
    """Nobody waits for the count any more."""


def pull_the_plug(
    policy: Policy = "everysec", *, fsync_ms: int = 20, seed: int = 1, seconds: int = 60, rate: float = 20.0
) -> Plug:
    """A store that can be crashed with a click.

    Parameters
    ----------
    policy
        ``appendfsync`` to begin with.
    fsync_ms
        How long the disk takes for an fsync, to begin with.
    seed
        Of the moments at which commands come, and of what a power cut leaves of a write that is on its way.
    seconds, rate
        Length of the recording, and commands a second.

    Returns
    -------
    Plug
        Shown as the last line of a cell; ``seek``, ``kill`` and ``cut_power`` do by hand what the buttons do.

    Raises
    ------
    ConfigError
        For what cannot be run.
    """
    return Plug(policy, fsync_ms=fsync_ms, seed=seed, seconds=seconds, rate=rate)


class Plug(Panel):
    """Three bars over a recording, and what crashes took. Made by `pull_the_plug`.

    Attributes
    ----------
    results
        The outcome of each crash so far, with the policy and the latency in force, newest last.
    test
        The last distribution, or None.
    """

    label = "pull the plug"

    def __init__(self, policy: Policy, *, fsync_ms: int, seed: int, seconds: int, rate: float) -> None:
        self.seed, self.seconds, self.rate = seed, seconds, rate
        self.run = record(policy, seed=seed, seconds=seconds, rate=rate, fsync_ms=fsync_ms)
        self.at_s = 0.0
        self.results: list[tuple[Policy, int, Outcome]] = []
        self.test: CrashTest | None = None
        self._test_title = ""
        self._worker: threading.Thread | None = None
        self._counted: tuple[int, int] | None = None
        self._drawn: pictures.Course | None = None
        self._make_controls()

    def _make_controls(self) -> None:
        last = int(self.seconds / STEP_S)
        self._play = ipywidgets.Play(min=0, max=last, step=1, interval=int(STEP_S * 1000), show_repeat=False)
        self._slider = ipywidgets.IntSlider(
            min=0, max=last, readout=False, description="moment", layout={"flex": "1 1 240px"}
        )
        # In the browser, so that playing needs nothing from a busy kernel but the pictures.
        link = ipywidgets.jslink((self._play, "value"), (self._slider, "value"))
        self._slider.observe(lambda change: self._moved(change["new"] * STEP_S), names="value")
        self._policy = ipywidgets.ToggleButtons(
            options=POLICIES, value=self.run.policy, style={"button_width": "84px"}, layout={"width": "auto"}
        )
        self._policy.observe(lambda change: self.choose(policy=change["new"]), names="value")
        latencies = sorted({*LATENCIES_MS, self.run.fsync_ms})
        self._latency = ipywidgets.SelectionSlider(
            options=[(f"{ms} ms", ms) for ms in latencies],
            value=self.run.fsync_ms,
            description="fsync takes",
            continuous_update=False,
        )
        self._latency.observe(lambda change: self.choose(fsync_ms=change["new"]), names="value")
        crashes = [
            button("kill process", "times-circle", "kill -9 now, then start again", self.kill, "danger"),
            button("cut power", "bolt", "Power cut now, then start again", self.cut_power, "danger"),
            button("1,000 crashes", "bar-chart", "How much each policy loses; takes seconds", self._distribute),
            button("Done", "stop", "Leave a table here", self.close),
        ]
        self.build(
            [
                [self._play, self._slider],
                [ipywidgets.Label("appendfsync"), self._policy, self._latency],
                crashes,
            ],
            unseen=[link],
        )

    # --- what the controls do ------------------------------------------------------------------------------

    def _moved(self, seconds: float) -> None:
        if seconds != self.at_s:
            self.at_s = seconds
            self.refresh()

    def seek(self, seconds: float) -> Plug:
        """Go to a moment of the recording, in seconds since its beginning.

        Raises
        ------
        ConfigError
            There is no such moment.
        """
        if not 0 <= seconds <= self.seconds:
            raise ConfigError(f"the recording has {self.seconds} seconds (given: {seconds!r})")
        self._slider.value = round(seconds / STEP_S)
        # Not before: the slider knows steps only, and has just moved us to one.
        self.at_s = seconds
        self.refresh()
        return self

    def choose(self, policy: Policy | None = None, fsync_ms: int | None = None) -> Plug:
        """Another policy, another disk, or both: the same commands run again."""
        run = record(
            policy or self.run.policy,
            seed=self.seed,
            seconds=self.seconds,
            rate=self.rate,
            fsync_ms=self.run.fsync_ms if fsync_ms is None else fsync_ms,
        )
        if run is not self.run:
            self.run = run
            self._policy.value = run.policy
            if run.fsync_ms in [ms for _, ms in self._latency.options]:
                self._latency.value = run.fsync_ms
            self.refresh()
        return self

    def kill(self) -> Outcome:
        """Kill the process at this moment (``kill -9``) and start again."""
        return self._crash("kill")

    def cut_power(self) -> Outcome:
        """Cut the power at this moment and start again."""
        return self._crash("power")

    def _crash(self, kind: Crash) -> Outcome:
        with self._lock:
            # Not from the results so far: the same click gives the same outcome.
            rng = random.Random(f"{self.seed} {self.at_s}")
            outcome = self.run.crash(self.at_s, kind, rng)
            self.results.append((self.run.policy, self.run.fsync_ms, outcome))
        self.refresh()
        return outcome

    def distribution(self, trials: int = 1000) -> CrashTest:
        """Cut the power `trials` times under each policy on this disk, at moments that the seed chooses."""
        return self._count(trials, None)

    def _count(self, trials: int, progress: Callable[[int, int], object] | None) -> CrashTest:
        fsync_ms = self.run.fsync_ms
        self.test = crash_test(
            POLICIES,
            trials,
            self.seed,
            seconds=self.seconds,
            rate=self.rate,
            fsync_ms=fsync_ms,
            progress=progress,
        )
        self._test_title = f"{trials:,} power cuts under each policy, an fsync takes {fsync_ms} ms"
        self.refresh()
        return self.test

    def _distribute(self) -> None:
        """As `distribution`, without making the kernel wait."""
        if self._worker is not None and self._worker.is_alive():
            return
        # ipykernel finds the cell that an output belongs to in the context.
        context = contextvars.copy_context()
        self._worker = threading.Thread(
            target=context.run, args=(self._count_and_tell,), name="aofnb-plug", daemon=True
        )
        try:
            self._worker.start()
        except RuntimeError:  # there are no threads in a browser's Python
            self._worker = None
            self.distribution()

    def _count_and_tell(self) -> None:
        clock = SystemClock()
        next_s = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal next_s
            if self._closed:
                raise _ClosedError
            if clock.monotonic() >= next_s:
                next_s = clock.monotonic() + _PROGRESS_EVERY_S
                self._counted = (done, total)
                self.refresh()

        try:
            self._count(1000, progress)
        except _ClosedError:
            return
        finally:
            self._counted = None
        self.refresh()

    def close(self) -> None:
        """Leave a table in place of the widgets, and stop counting."""
        super().close()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join()

    # --- pictures ------------------------------------------------------------------------------------------

    @property
    def moment(self) -> Moment:
        """What is where now."""
        return self.run.at(self.at_s)

    def _stages(self) -> list[tuple[str, int, int, float]]:
        """Title, bytes, commands, and how long the bar is: 1 for the most that there is in this run."""
        run, now = self.run, self.moment
        moments = run.moments

        def buffered(moment: Moment) -> int:
            return moment.fed - moment.written

        def cached(moment: Moment) -> int:
            return moment.written - moment.synced

        fed, written, synced = (run.commands(n) for n in (now.fed, now.written, now.synced))
        return [
            ("aof_buf", buffered(now), fed - written, buffered(now) / (max(map(buffered, moments)) or 1)),
            ("page cache", cached(now), written - synced, cached(now) / (max(map(cached, moments)) or 1)),
            ("disk", now.synced, synced, now.synced / (len(run.log) or 1)),
        ]

    @property
    def _verdicts(self) -> tuple[str, str]:
        now, run = self.moment, self.run
        power = max(0, now.acknowledged - run.commands(now.synced))
        kill = max(0, now.acknowledged - run.commands(now.written))
        return f"a power cut now takes {_commands(power)}", f"a kill takes {_commands(kill)}"

    def body(self) -> str:
        now, run = self.moment, self.run
        top = (
            f'<div class="top"><b>pull the plug</b><span class="soft">appendfsync {run.policy}, an fsync takes '
            f"{run.fsync_ms} ms</span>"
            f'<span class="soft end">{self.at_s:.2f} s of {run.seconds} s, '
            f"{now.acknowledged:,} acknowledged</span></div>"
        )
        stages = self._stages()
        bars = "".join(
            f'<div><b>{title}</b> <span class="soft">{_MEANINGS[title]}</span></div>'
            f'<div class="bar" role="img" aria-label="{title}: {nbytes:,} bytes, {_commands(commands)}">'
            f'<i style="width: {share:.0%}; background: {_COLOURS[title]}"></i></div>'
            f'<div class="n">{nbytes:,} B, {_commands(commands)}</div>'
            for title, nbytes, commands, share in stages
        )
        power, kill = self._verdicts
        syncing = "an fsync is on its way" if now.syncing > now.synced else "no fsync is running"
        mark = DISK if power.endswith("nothing") else CACHE
        note = f'<div class="note" style="--mark: {mark}">{power}; {kill} <span class="soft">({syncing})</span></div>'
        return (
            f'{top}<div class="bars">{bars}</div>{note}{self._strip()}{self._strip_legend()}{self._results()}'
            f"{self._distribution()}"
        )

    def _strip(self) -> str:
        """What a crash takes, over the whole run, with now and the crashes of this run in it."""
        crashes = [
            outcome for policy, ms, outcome in self.results if (policy, ms) == (self.run.policy, self.run.fsync_ms)
        ]
        return pictures.strip(self._course, self.at_s, crashes, self._strip_words())

    @property
    def _course(self) -> pictures.Course:
        if self._drawn is None or self._drawn.run is not self.run:
            self._drawn = pictures.course_of(self.run)
        return self._drawn

    def _strip_words(self) -> str:
        run = self.run
        return f"what a crash takes over time; now is {self.at_s:.2f} s of {run.seconds} s: {self._verdicts[0]}"

    def _strip_legend(self) -> str:
        words = f"what a crash takes at each moment of the run, {_commands(self._course.most)} at most:"
        squares = "".join(
            f' <span style="color: {colour}">&#9632;</span> <span class="soft">{taken_by}</span>'
            for colour, taken_by in ((CACHE, "a power cut"), (BUFFER, "a kill"))
        )
        return f'<div style="font-size: 12px"><span class="soft">{words}</span>{squares}</div>'

    def _results(self) -> str:
        if not self.results:
            return (
                '<div class="soft" style="margin-top: 8px">No crash yet: play, then press one of the red buttons.</div>'
            )
        rows = "".join(
            f"<tr><td {_LEFT_SIDE}>{'process killed' if outcome.kind == 'kill' else 'power cut'} "
            f"at {outcome.at_s:.2f} s</td>"
            f'<td {_LEFT_SIDE}>{policy}, {fsync_ms} ms</td><td class="n">{outcome.acknowledged:,}</td>'
            f'<td class="n">{outcome.survived:,}</td><td class="n"><b>{outcome.lost:,}</b></td>'
            f"<td {_LEFT_SIDE}>{_torn(outcome)}</td></tr>"
            for policy, fsync_ms, outcome in self.results[: -KEPT - 1 : -1]
        )
        return (
            f"<table><thead><tr><th {_LEFT_SIDE}>crash</th><th {_LEFT_SIDE}>policy, fsync</th>"
            '<th class="n">acknowledged</th><th class="n">survived</th><th class="n">lost</th>'
            f"<th {_LEFT_SIDE}>torn tail, cut off</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def _distribution(self) -> str:
        if self._counted is not None:
            done, total = self._counted
            return (
                f'<div style="margin-top: 8px" class="soft"><progress max="{total}" value="{done}" '
                f'aria-label="crashes"></progress> {done:,} of {total:,} crashes</div>'
            )
        if self.test is None:
            return ""
        label = "; ".join(
            f"{policy}: {sum(outcome.lost > 0 for outcome in outcomes):,} of {len(outcomes):,} lost something"
            for policy, outcomes in self.test.outcomes.items()
        )
        svg, width, height = pictures.histogram(self.test)
        picture = image_of(svg, f"seconds lost by power cuts. {label}", width, height)
        title = f'<div class="soft">{self._test_title}:</div>'
        return f'<div style="margin-top: 12px">{title}{self.test._repr_html_()}{picture}</div>'

    def table(self) -> str:
        stages = "".join(
            f'<tr><th style="text-align: left">{title}</th><td style="text-align: left">{nbytes:,} B, '
            f"{_commands(commands)}</td><td {_LEFT_SIDE}>{_MEANINGS[title]}</td></tr>"
            for title, nbytes, commands, _ in self._stages()
        )
        caption = f"<b>pull the plug</b>: {escape(self._state())}"
        strip = image_of(self._strip(), self._strip_words(), pictures.WIDE, pictures.HIGH)
        results = self._results() if self.results else ""
        return (
            f'<table><caption style="text-align: left; white-space: nowrap">{caption}</caption>{stages}</table>'
            f"{strip}{self._strip_legend()}{results}"
            f"{self._distribution()}"
        )

    def _state(self) -> str:
        run = self.run
        return (
            f"appendfsync {run.policy}, an fsync takes {run.fsync_ms} ms, at {self.at_s:.2f} s of {run.seconds} s, "
            f"{self.moment.acknowledged:,} acknowledged"
        )

    def text(self) -> str:
        lines = [f"pull the plug: {self._state()}"]
        lines += [
            f"  {title:10}  {nbytes:>8,} B  {_commands(commands):>14}  {_MEANINGS[title]}"
            for title, nbytes, commands, _ in self._stages()
        ]
        lines += [f"  {policy}, {ms} ms: {outcome}" for policy, ms, outcome in self.results[-KEPT:]]
        if self.test is not None:
            lines += ["", f"{self._test_title}:", *repr(self.test).splitlines()]
        return "\n".join(lines)


def _commands(count: int) -> str:
    if not count:
        return "nothing"
    return f"{count:,} command{'' if count == 1 else 's'}"


def _torn(outcome: Outcome) -> str:
    if not outcome.torn:
        return ""
    return f"<code>{escape(repr(outcome.torn)[2:-1])}</code>"


_LEFT_SIDE = 'style="text-align: left"'
