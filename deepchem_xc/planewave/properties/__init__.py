"""Properties of converged results: bands, densities of states, cube files, energy curves.

Contract: an `SCFResult`, or a structure and keywords of `scf`, in; frozen records with their
units out. Energies of bands and densities of states keep no graph; energy curves do. Further
calculations always go through `scf`.
"""
