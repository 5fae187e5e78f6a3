"""Functionals as programs that torch runs without this package.

Contract: a functional in torch and a number of spin channels in; one file out, which maps density,
squared gradients and kinetic energy densities of any number of points to the energy per volume and
its first derivatives, in Hartree atomic units and double precision. Names, order, shapes and units
are those of `signature`; they depend on the functional's ingredients and the channels alone. What
cannot become such a program is refused by name. Nothing here knows a basis or a code that will
call the program.
"""

from __future__ import annotations

from .program import export_functional
from .signature import HEADER, Quantity, Signature

__all__ = ["HEADER", "Quantity", "Signature", "export_functional"]
