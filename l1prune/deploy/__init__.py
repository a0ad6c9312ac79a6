"""Deploy: pruned networks made smaller for good, with the same function; needs no Lightning."""

from l1prune.deploy.compact import Compaction as Compaction
from l1prune.deploy.compact import compact as compact
from l1prune.deploy.shapes import load_compact as load_compact
