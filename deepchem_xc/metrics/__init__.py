"""Measures of agreement: equations of state, lattice constants, densities.

Contract: fits of `eos`, plain numbers or arrays (Angstrom^3 an atom, GPa, densities on equal
points) of any two codes in; one float out. Everything is computed with numpy in double precision;
nothing here is differentiated, trained or read from files. Values that cannot be compared, such as
NaN, volumes of different numbers of atoms or densities in different cells, raise `ValueError`.
"""

from __future__ import annotations

from .densities import density_error
from .equations_of_state import delta_gauge, epsilon, nu
from .relative import mean_absolute_relative_error

__all__ = ["delta_gauge", "density_error", "epsilon", "mean_absolute_relative_error", "nu"]
