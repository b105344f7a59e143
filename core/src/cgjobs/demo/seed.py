"""The demo's data; it has moved to ``cgjobs_data.seed``."""

from __future__ import annotations

from cgjobs_data.seed import SeedSummary, seed, seed_files

__all__ = ["SeedSummary", "seed", "seed_files"]
