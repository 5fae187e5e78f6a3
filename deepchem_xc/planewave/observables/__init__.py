"""Observables of a ground-state density: dipole, moments of atoms, electrostatic potential.

Contract: functions of a basis, pseudopotentials and a density, in Hartree atomic units, that keep
the density's graph. They know neither loop nor result; `SCFResult` calls them. A quantity that is
undefined for a system raises an error or is NaN, as its docstring says.
"""
