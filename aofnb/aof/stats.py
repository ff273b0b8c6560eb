"""What others may see of the log: a frozen record, taken without a lock.

Every number is read once; the record may be a few microseconds out of step with itself, never torn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AofStats", "RewriteProgress"]

Phase = Literal["idle", "switching", "loading", "writing", "publishing"]
Way = Literal["", "in place", "fork", "process"]


@dataclass(frozen=True, slots=True)
class RewriteProgress:
    """Where a rewrite is.

    ``phase`` is ``idle`` outside a rewrite; ``loading`` while a helper process replays the old files;
    ``writing`` while the new base is written; ``publishing`` while it takes their place. ``way`` says who writes it:
    the store itself (``in place``), a forked child, or a fresh ``process`` that replays the old files.
    ``bytes_done`` of ``bytes_total`` are of the old files, where they are replayed; ``base_bytes`` is how much of the
    new base is written; ``cow_bytes`` how much memory the child has of its own, measured ``cow_age_s`` ago (once a
    second), and ``cow_peak_bytes`` how much it had at most.
    """

    phase: Phase = "idle"
    keys_done: int = 0
    keys_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    elapsed_s: float = 0.0
    way: Way = ""
    base_bytes: int = 0
    cow_bytes: int = 0
    cow_peak_bytes: int = 0
    cow_age_s: float = 0.0

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1. Loading counts as the first half where there is a loading phase."""
        loaded = self.bytes_done / self.bytes_total if self.bytes_total else 1.0
        written = self.keys_done / self.keys_total if self.keys_total else 0.0
        if self.phase == "publishing":
            return 1.0
        return loaded / 2 + written / 2 if self.bytes_total else written

    @property
    def eta_s(self) -> float | None:
        """Seconds until it is done at the present pace, or None where there is no pace yet."""
        if self.phase == "idle" or self.fraction < 0.01:
            return None
        return self.elapsed_s * (1 - self.fraction) / self.fraction


@dataclass(frozen=True, slots=True)
class AofStats:
    """The log at one moment. Sizes in bytes, times in seconds.

    Three stages: in aof_buf (lost with the process), written but not synced (lost with the power), synced.
    ``fsync_lag_s`` is the age of the oldest byte that is not synced, 0.0 if there is none.
    ``aof_buf_peak_bytes`` is the highest fill since the sampler last asked for it.
    ``aof_enabled`` is True as well while a log that was turned on waits for its first base (``waiting``).
    ``fsync_held_back``: ``no-appendfsync-on-rewrite`` leaves the fsync of everysec out while a rewrite runs.
    ``rewrites`` counts rewrites begun, not succeeded, as INFO's aof_rewrites does. ``last_rewrite_error`` says why the
    last one failed, or that it was cancelled, which is no failure: ``last_rewrite_ok`` stays what it was.
    ``forks`` and ``last_fork_s`` are of children forked for a rewrite; ``last_rewrite_cow_bytes`` is the most memory
    that the last child had of its own.
    """

    aof_enabled: bool = False
    waiting: bool = False
    appendfsync: Literal["everysec", "always", "no"] = "everysec"
    aof_buf_bytes: int = 0
    aof_buf_commands: int = 0
    aof_buf_peak_bytes: int = 0
    unsynced_bytes: int = 0
    unsynced_commands: int = 0
    synced_bytes: int = 0
    synced_commands: int = 0
    fsync_lag_s: float = 0.0
    fsyncs: int = 0
    last_fsync_duration_s: float = 0.0
    fsync_in_progress: bool = False
    fsync_held_back: bool = False
    delayed_fsync: int = 0
    postponed_s: float = 0.0
    write_error: str | None = None
    """Why writes are refused now."""
    last_write_error: str | None = None
    """Why a write or an fsync failed last since the log was turned on, also where that is over."""
    current_size: int = 0
    base_size: int = 0
    files: tuple[tuple[str, str, int], ...] = ()
    """``(name, type, size)`` of each file of the manifest; type is ``base``, ``incr`` or ``history``."""
    rewrite: RewriteProgress = RewriteProgress()
    rewrites: int = 0
    rewrite_scheduled: bool = False
    last_rewrite_ok: bool = True
    last_rewrite_error: str | None = None
    rewrite_failures: int = 0
    """Rewrites that failed since the last one that did not."""
    last_rewrite_duration_s: float | None = None
    keys: int = 0
    last_rewrite_cow_bytes: int = 0
    forks: int = 0
    last_fork_s: float = 0.0

    @property
    def at_risk_bytes(self) -> int:
        """What a power cut now could take: aof_buf and what is not synced."""
        return self.aof_buf_bytes + self.unsynced_bytes
