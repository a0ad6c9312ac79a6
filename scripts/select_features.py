"""Says which columns of a table matter.

python scripts/select_features.py DATA.csv --target y --k 20

It is not called select.py: then no program beside it would find Python's own module of that name.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed
    from l1prune.commands.main import run

    run("features")
