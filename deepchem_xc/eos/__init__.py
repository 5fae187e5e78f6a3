"""Fits of equations of state: equilibrium and bulk modulus from energies at several sizes.

Contract: volumes (Angstrom^3) or areas (Angstrom^2) and energies (eV), as tensors or arrays, in;
equilibrium, modulus and residuals out, differentiable with respect to the energies. Which code
the energies come from does not matter. Points without a minimum inside raise `NoMinimumError`.
"""
