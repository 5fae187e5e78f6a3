"""Numerical methods that know no physics: linear solvers, precision, errors.

Contract: tensors and callables in, tensors out; no module here imports another room. What differs
between solvers (inner product, preconditioner, operator) is handed in as a function. An iteration
that does not converge raises an error with its history; it never returns its last iterate.
"""
