"""What several rooms' tests here are given."""

from __future__ import annotations

from hosting import server

__all__ = ["server"]
