"""Many runs on one HTML page that opens from disk."""

from l1prune.runs.page.document import render

__all__ = ["render"]
