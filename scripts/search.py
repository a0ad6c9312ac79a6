"""Search for recipes with Optuna: accuracy up, weights down.

python scripts/search.py +prune=l1 'prune.threshold.sparsity=interval(0.9,0.99)' \\
    'prune.prune_at=interval(0.3,0.8)' 'model.optimizer.lr=tag(log,interval(5e-4,5e-3))'
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed
    from l1prune.commands.main import run

    run("search")
