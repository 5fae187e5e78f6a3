"""Quantities of the density that a functional needs, and DeepChem's number (family) for them."""

from __future__ import annotations

import enum
from typing import Any

__all__ = ["Ingredients", "family_of", "ingredients_of"]


class Ingredients(enum.Flag):
    """Quantities that a solver must provide at each point.

    Examples
    --------
    >>> from deepchem_xc.xc import Ingredients, PBE
    >>> Ingredients.GRADIENT in PBE().ingredients
    True
    """

    DENSITY = 1
    GRADIENT = 2
    TAU = 4
    """The kinetic energy density."""


def family_of(ingredients: Ingredients) -> int:
    """DeepChem's family: 1 (LDA), 2 (GGA) or 4 (meta-GGA), which includes the lower ones.

    Parameters
    ----------
    ingredients : Ingredients
        One or several.

    Raises
    ------
    ValueError
        For anything else, and for none.

    Examples
    --------
    >>> family_of(Ingredients.DENSITY | Ingredients.GRADIENT)
    2
    """
    if not isinstance(ingredients, Ingredients) or not ingredients:
        raise ValueError(
            f"the ingredients of a functional are {ingredients!r}: write Ingredients.DENSITY, "
            "Ingredients.GRADIENT and Ingredients.TAU, joined by |"
        )
    # The largest power of two in the flags.
    return 1 << (int(ingredients.value).bit_length() - 1)


def ingredients_of(family: Any, who: str) -> Ingredients:
    """Ingredients that a functional of one of DeepChem's families may use.

    Parameters
    ----------
    family : int
        1, 2 or 4.
    who : str
        The functional, for the message.

    Raises
    ------
    ValueError
        For any other family.

    Examples
    --------
    >>> ingredients_of(2, "PBE") == Ingredients.DENSITY | Ingredients.GRADIENT
    True
    """
    if family not in (1, 2, 4):
        raise ValueError(
            f"{who} has family = {family!r}: set it to 1 (LDA), 2 (GGA) or 4 (meta-GGA), which "
            "says which quantities of the density it needs"
        )
    return Ingredients(2 * int(family) - 1)
