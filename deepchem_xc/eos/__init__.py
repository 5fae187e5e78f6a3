"""Fits of equations of state: equilibrium and bulk modulus from energies at several sizes.

Contract: volumes (Angstrom^3) or areas (Angstrom^2) and energies (eV), as tensors or arrays, in;
equilibrium, modulus and residuals out, differentiable with respect to the energies, which may come
from any code. Points that do not enclose a minimum raise `NoMinimumError`.
"""
