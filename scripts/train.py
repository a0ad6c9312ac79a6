"""Trains one network, dense or pruned: python scripts/train.py [+prune=l1] [name=value ...]

--help explains the choices; conf/ holds them.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed
    from l1prune.commands.main import run

    run("train")
