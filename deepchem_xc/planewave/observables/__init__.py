"""What a ground-state density says: dipole moment, moments of atoms, electrostatic potential.

Contract: functions of a basis, pseudopotentials and a density, in Hartree atomic units, that keep
the density's graph. They know no loop and no result; `SCFResult` calls them. A quantity that is
not defined for a system raises an error or is NaN, and its docstring says which.
"""
