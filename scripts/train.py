"""Trains one network, dense or pruned: python scripts/train.py [+prune=l1] [name=value ...]

--help explains the choices; conf/ holds them.
"""

from l1prune.commands.train import main

if __name__ == "__main__":
    main()
