"""Tables as text, for the terminal, logs and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent as indented


def as_table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    *,
    left: int = 1,
    markdown: bool = False,
    indent: str = "",
) -> str:
    """Lay out cells in columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells, with numbers already formatted.
    header : sequence of str, optional
        Titles of the columns.
    left : int, optional
        Number of columns of words, from the left; the others are numbers and right-aligned.
    markdown : bool, optional
        A Markdown table, with bars and rule; otherwise columns are separated by spaces.
    indent : str, optional
        Prefix of every line.

    Returns
    -------
    str
        The lines, without a final newline.

    Examples
    --------
    >>> print(as_table([["Al", "4.04"], ["graphene", "2.467"]], ["system", "a (Angstrom)"]))
    system      a (Angstrom)
    Al                  4.04
    graphene           2.467
    >>> print(as_table([["Al", "4.04"]], ["system", "a"], markdown=True))
    | system   |    a |
    |:---------|-----:|
    | Al       | 4.04 |
    """
    from tabulate import tabulate

    columns = len(header or rows[0])
    text = tabulate(
        rows,
        header,
        tablefmt="pipe" if markdown else "plain",
        # Cells are text: tabulate must not parse them as numbers and change their digits.
        disable_numparse=True,
        colalign=["left"] * min(left, columns) + ["right"] * (columns - left),
    )
    return indented(text, indent)
