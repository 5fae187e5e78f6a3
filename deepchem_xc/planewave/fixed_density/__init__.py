"""Energies, forces and derivatives at a density that was given, without a self-consistency loop.

Contract: a `KohnShamProblem` and a density (of a model, a record, a result or on a grid) in, the
states of its potential and a `NonSelfConsistentResult` out, in Hartree atomic units. Models are
known only by the protocol `DensitySource` of `record`. Cells, atoms or electrons that do not fit
are refused. Nothing here iterates a density.
"""
