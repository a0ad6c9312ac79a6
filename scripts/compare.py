"""Compare runs: a table on the screen, and a page to look around in.

python scripts/compare.py outputs/ multirun/
python scripts/compare.py --wandb ENTITY/PROJECT
"""

import sys

from l1prune.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
