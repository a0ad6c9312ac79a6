"""Units: what is tied goes together, however long the chain; what is fixed fixes all of it."""

from __future__ import annotations

import networkx as nx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l1prune.deploy.units import Units

PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PAIRS, st.sets(st.integers(0, 11), max_size=2))
def test_units_go_together_as_the_components_of_a_graph(
    pairs: list[tuple[int, int]], fixed: set[int]
) -> None:
    units = Units({"a": torch.zeros(5, 7)})
    numbers = torch.cat([units.of("a", 0), units.of("a", 1)])
    for some, other in pairs:
        units.tie(numbers[[some]], numbers[[other]])
    for one in fixed:
        units.fix(numbers[[one]], f"reason {one}")
    couplings = units.couple()
    graph = nx.Graph(pairs)
    graph.add_nodes_from(range(12))
    for component in nx.connected_components(graph):
        members = numbers[sorted(component)]
        assert len(set(couplings.root[members].tolist())) == 1
        assert couplings.fixed[members].tolist() == [bool(component & fixed)] * len(component)
        if component & fixed:
            assert couplings.reason(int(members[0])) in {f"reason {one}" for one in fixed}
    assert len(set(couplings.root.tolist())) == 1 + nx.number_connected_components(graph)


def test_of_a_parameter_that_stays_whole_no_unit_goes_whenever_it_was_numbered() -> None:
    units = Units({"a": torch.zeros(2, 3), "b": torch.zeros(2)})
    rows = units.of("a", 0)
    units.fix_whole("a", "read by softmax")
    columns = units.of("a", 1)
    units.tie(rows, units.of("b", 0))
    couplings = units.couple()
    assert couplings.fixed[rows].all() and couplings.fixed[columns].all()
    assert couplings.reason(int(units.of("b", 0)[1])) == "read by softmax"
