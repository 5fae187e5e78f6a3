from __future__ import annotations

from deepchem_xc.tables import as_table


def test_words_are_on_the_left_and_numbers_end_below_each_other() -> None:
    text = as_table([["Al", "4.0400", "-"], ["graphene", "2.4", "+1 %"]], indent="  ")
    first, second = text.splitlines()
    assert first.index("Al") == second.index("graphene") == 2
    assert len(first) == len(second)


def test_no_digit_is_changed() -> None:
    cells = ["1.0000", "1e-12", "007", "-0.000", "+2"]
    assert as_table([cells], left=0).split() == cells


def test_markdown_has_a_rule_below_its_header() -> None:
    lines = as_table([["Al", "4.04"]], ["system", "a"], markdown=True).splitlines()
    assert len(lines) == 3 and all(line.startswith("|") and line.endswith("|") for line in lines)
    left, right = lines[1].strip("|").split("|")
    assert not left.endswith(":") and right.endswith(":")
