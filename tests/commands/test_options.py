"""What a library says of settings, a command says of its own options."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from l1prune.commands.options import as_options
from l1prune.runs.overrides import spelled_out
from l1prune.zoo.columns import setting


@pytest.mark.parametrize("names", [["id"], ["id", "Lfd. Nr."], ["Größe (cm)", "it's"]])
def test_a_list_of_columns_is_typed_as_it_is_told(names: list[str]) -> None:
    told = as_options(f"left out; {setting('categories', names)} would keep them")
    words = shlex.split(told.removeprefix("left out; ").removesuffix(" would keep them"))
    assert words == ["--categories", *names]


@pytest.mark.parametrize("name", ["id", "Lfd. Nr.", "size (cm)", "it's", "Größe", "Größe (cm)"])
def test_and_so_is_it_where_settings_are_told(name: str) -> None:
    (argument,) = spelled_out(shlex.split(setting("categories", [name, "b"])))
    assert OverridesParser.create().parse_override(argument).value() == [name, "b"]
