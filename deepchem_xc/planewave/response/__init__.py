"""Derivatives of a converged ground state, in reverse.

Contract: the free energy is differentiated at fixed orbitals (Hellmann and Feynman); density,
levels and occupations by one adjoint equation of the fixed point for each backward pass. Steps of
the loop are never recorded, and memory does not grow with their number. What is not converged
well enough to be differentiated raises `ResponseConvergenceError` instead of a gradient.
"""
