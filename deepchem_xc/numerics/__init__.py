"""Numerical methods that know no physics: extrapolation, linear solvers, derivatives, precision.

Contract: tensors and callables in, tensors out; no module here imports another room. Whatever
differs between solvers (inner product, preconditioner, operator, vector-Jacobian product) is passed
as a function. Vectors may also be records of tensors; `vectors` lists the operations they need. An
iteration that does not converge raises an error with its history; only on request (`gmres` with
``strict=False``, for a preconditioner) does it return its last iterate.
"""
