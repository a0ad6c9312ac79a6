"""Options: sentences about settings of `l1prune train`, in the options of `l1prune select`."""

from __future__ import annotations

import csv
import re
import shlex


def as_options(message: str) -> str:
    """A sentence about settings of `train`, in the options of this command.

    >>> as_options("data.path=a.csv: is empty; or give data.leave_out=[id]")
    'a.csv: is empty; or give --leave-out id'
    >>> as_options("left out: day, id; data.categories=[day,id] would keep them")
    'left out: day, id; --categories day id would keep them'
    >>> as_options('left out: Lfd. Nr.; "data.categories=[Lfd. Nr.,day]" would keep them')
    "left out: Lfd. Nr.; --categories 'Lfd. Nr.' day would keep them"
    >>> as_options("n_features_to_select='auto': no better")
    '--k auto: no better'
    """
    message = message.replace("data.path=", "").replace("random_state=", "--seed ")
    message = message.replace("data.regression=false", "--labels")
    message = message.replace("data.regression=true", "--regression")
    message = re.sub(r"n_features_to_select='?(\w*)'?", r"--k \1", message)
    return re.sub(
        r"""(["']?)data\.(\w+)=\[([^]]*)\]\1|data\.(\w+)(=?)""",
        lambda found: (
            _list(found[2], found[3]) if found[2] else _option(found[4]) + (" " * bool(found[5]))
        ),
        message,
    )


def _list(name: str, names: str) -> str:
    columns = next(csv.reader([names], quotechar="'", escapechar="\\", doublequote=False))
    return shlex.join([_option(name), *columns])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
