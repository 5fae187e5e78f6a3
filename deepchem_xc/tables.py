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
        The cells; their numbers are formatted already.
    header : sequence of str, optional
        Titles of the columns.
    left : int, optional
        How many columns, from the left, hold words; the others are numbers, aligned to the right.
    markdown : bool, optional
        With the bars and the rule of a Markdown table; otherwise columns are separated by spaces.
    indent : str, optional
        Put before every line.

    Returns
    -------
    str
        The lines, without a newline at the end.

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
        # Cells are text: digits are not to be changed, nor read as numbers.
        disable_numparse=True,
        colalign=["left"] * min(left, columns) + ["right"] * (columns - left),
    )
    return indented(text, indent)
