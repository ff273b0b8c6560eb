"""Files that real servers wrote, and what is known to be true of them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from support.require import need

__all__ = ["Known", "known_records", "public_samples", "sample"]

_ROOT = Path(__file__).resolve().parents[2]
_SAMPLES = _ROOT / "tests" / "data" / "samples"
_PUBLIC = _ROOT.parent / "shared" / "samples" / "aof-public"


@dataclass(frozen=True, slots=True)
class Known:
    """What an independent parser found in one ``.aof`` file.

    `commands` : (offset, end, argv) of each. `annotations` : (offset, text). `error_at` : where it had to stop.
    """

    size: int
    resp_starts_at: int
    commands: list[tuple[int, int, list[bytes]]]
    annotations: list[tuple[int, str]]
    error_at: int | None


def sample(name: str, server: str = "redis-7.0.15") -> Path:
    """The folder of one sample: ``data/`` is what the server's directory held. Copy it before writing to it."""
    folder = _SAMPLES / server / name
    assert folder.is_dir(), f"no sample {server}/{name}"
    return folder


def known_records(folder: Path) -> dict[str, Known]:
    """The truth about each ``.aof`` file of a sample, by its path below ``data/``."""
    return {
        path: Known(
            size=file["size"],
            resp_starts_at=file["resp_starts_at"],
            commands=[
                (each["offset"], each["end"], [base64.b64decode(arg) for arg in each["argv"]])
                for each in file["records"]
                if "argv" in each
            ],
            annotations=[(each["offset"], each["annotation"]) for each in file["records"] if "annotation" in each],
            error_at=file["error"]["offset"] if file["error"] else None,
        )
        for path, file in json.loads((folder / "commands.json").read_text()).items()
    }


def public_samples() -> Path:
    """The folder of logs that people committed to public repositories, which is no part of this one: skips without."""
    need("the folder of public samples", _PUBLIC.is_dir())
    return _PUBLIC
