"""Select: which columns of a table matter to its target, from one command.

Its room is not called `select`: Lightning starts a file beside it, which would then have this one
for the module of that name in Python's own library.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from l1prune.checks import needing
from l1prune.commands.options import as_options
from l1prune.runs.escapes import LINE, complain, printable, show
from l1prune.weights.files import write_whole
from l1prune.weights.warning import PruningWarning
from l1prune.zoo.columns import Category
from l1prune.zoo.splits import TEST, held_out
from l1prune.zoo.tables import CsvTable, Table

LEAST = 8
"""The fewest rows of which two are held out to judge by."""

COLUMNS = ("rank", "column", "selected", "size")


@dataclass(frozen=True)
class Verdict:
    """What a column is worth.

    Attributes:
        rank: 1 is the best.
        column: its name.
        selected: whether it is among those that matter.
        size: of its weights, their root mean square; 0 where it is not.
    """

    rank: int
    column: str
    selected: bool
    size: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the names and the ranking; 2 where there is no such table, or nothing to learn from."""
    options = read(arguments)
    torch.set_num_threads(1)
    try:
        with telling():
            data = CsvTable(
                options.table,
                options.target,
                regression=options.regression,
                categories=options.categories,
                leave_out=options.leave_out,
            )
            table = data.table
        with telling():
            found, judged = select(table, options.k, options.seed)
        if options.output:
            write(found, options.output)
    except (ImportError, OSError, ValueError) as error:
        complain(as_options(str(error)))
        return 2
    except KeyboardInterrupt:
        complain("stopped; nothing was written")
        return 130
    show(answer(found, judged, data))
    return 0


@contextmanager
def telling() -> Iterator[None]:
    """Say on stderr what is warned of meanwhile, each thing once, in the options of this command.

    What other libraries warn of is about their arguments, which nobody gave here.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PruningWarning)
        try:
            yield
        finally:
            for message in dict.fromkeys(str(one.message) for one in told):
                show(printable(as_options(message), LINE), sys.stderr)


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="l1prune select",
        usage="%(prog)s DATA.csv --target COLUMN [options]",  # lists of names take what follows
        description="Say which columns of a table matter to its target: a network learns it under "
        "a pressure that takes whole columns away. Texts are categories, missing cells are fine.",
    )
    parser.add_argument(
        "table", metavar="DATA.csv", nargs="?", help="its first line names the columns"
    )
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what is to be known")
    parser.add_argument(
        "--k",
        type=as_count,
        default="auto",
        metavar="K",
        help="how many columns, or which share of them (0.1); left alone, the fewest that are as "
        "good as any number, within a standard error on rows held back",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--regression",
        action="store_const",
        const=True,
        help="the target is a number to be met (found from it otherwise)",
    )
    kind.add_argument(
        "--labels", dest="regression", action="store_const", const=False, help="it is a label"
    )
    parser.add_argument(
        "--categories", nargs="+", default=(), metavar="COLUMN", help="no numbers, though they look"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="COLUMN", help="not to be learned from"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same columns")
    parser.add_argument("--output", type=Path, metavar="FILE.csv", help="the ranking as a table")
    options = parser.parse_args(arguments)
    if options.table is None:
        parser.error(
            "DATA.csv is missing: give it first, since a list, as --categories, takes what follows"
        )
    return options


def as_count(text: str) -> int | float | str:
    """A number of columns, a share of them, or `auto`.

    >>> as_count("5"), as_count("0.1"), as_count("auto")
    (5, 0.1, 'auto')
    """
    if text == "auto":
        return text
    if text.isdecimal() and int(text):
        return int(text)
    with suppress(ValueError):
        if not text.isdecimal() and 0 < float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(
        f"give a whole number from 1, a share in (0, 1] as 0.1, or auto, not {text}"
    )


def select(
    table: Table, k: int | float | str = "auto", seed: int = 0
) -> tuple[list[Verdict], dict[str, float]]:
    """Rank the columns on four fifths of the rows, and judge the choice on the others.

    Args:
        table: of at least some ten rows.
        k: how many columns, which share of them, or `"auto"`.
        seed: of the network and of its batches.

    Returns:
        The columns by rank; and what extra trees get right on the rows that were held out: of the
        chosen columns, of all, and what is right by always saying the same (R² of a regression);
        and whether it is `sure`, 0 or 1, that they are better than none by the network's own rows.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: there are too few rows, or `k` makes no sense.
    """
    with needing("features", "selecting columns"):
        from l1prune.features.selector import L1FeatureSelector
    target = table.target
    is_label = isinstance(target, Category)
    order = target.codes if isinstance(target, Category) else target.values
    kept, held = held_out(torch.arange(len(order)), order, TEST, seed)
    if len(held) < 2:
        raise ValueError(f"{len(order)} rows are too few to learn from: give at least {LEAST}")
    x = torch.cat([one.encoded(kept) for one in table.variables], 1).numpy()
    y = order.numpy()
    selector = L1FeatureSelector(
        k,
        task="classification" if is_label else "regression",
        groups=[list(columns) for columns in table.features.values()],
        random_state=seed,
    )
    selector.fit(x[kept], y[kept])
    support = selector.support_
    judged = {
        "chosen": judge(x[:, support], y, kept, held, is_label),
        "all": judge(x, y, kept, held, is_label),
        "none": float((y[held] == torch.from_numpy(y[kept]).mode()[0].item()).mean())
        if is_label
        else 0.0,
        "sure": float(selector.beats_none_ is not False),
    }
    return verdicts(table, selector), judged


def verdicts(table: Table, selector: Any) -> list[Verdict]:
    """The columns of a table, by rank, as a selector that was fitted to its inputs has them."""
    firsts = {name: columns[0] for name, columns in table.features.items()}

    def order(name: str) -> tuple[float, float]:
        at = firsts[name]
        return float(selector.ranking_[at]), -float(selector.feature_importances_[at])

    return [
        Verdict(
            rank,
            name,
            bool(selector.support_[firsts[name]]),
            float(selector.feature_importances_[firsts[name]]),
        )
        for rank, name in enumerate(sorted(firsts, key=order), 1)
    ]


def judge(x: Any, y: Any, kept: Any, held: Any, is_label: bool) -> float:
    """What extra trees that learn from some rows get right on others."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    trees = ExtraTreesClassifier if is_label else ExtraTreesRegressor
    return float(trees(100, random_state=0).fit(x[kept], y[kept]).score(x[held], y[held]))


def answer(found: Sequence[Verdict], judged: dict[str, float], data: CsvTable) -> str:
    """What is printed: the names of the columns that matter, the others by rank, and how good."""
    chosen = [one for one in found if one.selected]
    width = max(len(one.column) for one in found)
    in_vain = judged["chosen"] <= judged["none"]
    verb = "may matter" if in_vain or not judged["sure"] else "matter"
    lines = [f"{len(chosen)} of {len(found)} columns {verb} to {data.target}:", ""]
    lines += [
        f"{one.rank:4}  {printable(one.column, LINE):{width}}  {one.size:.3f}" for one in chosen
    ]
    rest = ", ".join(printable(one.column, LINE) for one in found if not one.selected)
    lines += ["", f"The others, the best first: {rest or 'none'}.", ""]
    lines.append(f"Trees on the fifth of the rows that was held out: {_scores(judged, data)}.")
    if in_vain:
        lines.append("That is no better than knowing none of them: perhaps none matters.")
    return "\n".join(lines)


def _scores(judged: dict[str, float], data: CsvTable) -> str:
    chosen, every, none = (judged[which] for which in ("chosen", "all", "none"))
    if data.classes is None:
        return (
            f"R² {chosen:.3f} with these columns, {every:.3f} with all; {none:.3f} by always "
            "saying the mean"
        )
    return (
        f"{100 * chosen:.1f} % right with these columns, {100 * every:.1f} % with all; "
        f"{100 * none:.1f} % by always saying the most common label"
    )


def write(found: Sequence[Verdict], file: Path) -> None:
    """Write the ranking as a table."""

    def table(part: Path) -> None:
        with open(part, "w", newline="", encoding="utf-8") as opened:
            rows = [(one.rank, one.column, int(one.selected), one.size) for one in found]
            csv.writer(opened).writerows([COLUMNS, *rows])

    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, table)
