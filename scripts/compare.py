"""Compare runs: a table on the screen, and a page to look around in.

python scripts/compare.py outputs/ multirun/
python scripts/compare.py --wandb ENTITY/PROJECT
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed
    from l1prune.commands.main import run

    run("compare")
