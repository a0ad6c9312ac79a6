"""Deploys a run: its network made smaller, in several files, each measured and tested again.

python scripts/deploy.py outputs/2030-01-01/12-00-00-000000
python scripts/deploy.py weights.safetensors model=mlp data=digits
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout need not be installed
    from l1prune.commands.main import run

    run("deploy")
