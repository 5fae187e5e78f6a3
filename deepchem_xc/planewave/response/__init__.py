"""Derivatives of a converged ground state, in reverse.

Contract: the free energy is differentiated at fixed orbitals (Hellmann and Feynman); density,
levels and occupations by one adjoint equation of the fixed point for each backward pass. Steps of
the loop are never recorded, and memory does not grow with their number. States that are not
converged well enough raise `ResponseConvergenceError` instead of giving a wrong gradient.
"""
