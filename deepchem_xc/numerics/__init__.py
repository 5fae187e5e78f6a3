"""Numerical methods that know no physics: extrapolation, linear solvers, derivatives, precision.

Contract: tensors and callables in, tensors out; no module here imports another room. What differs
between solvers (inner product, preconditioner, operator, vector-Jacobian product) is handed in as a
function, and vectors may be records of tensors where `vectors` says what is asked of them. An
iteration that does not converge raises an error with its history; only on request (`gmres` with
``strict=False``, for a preconditioner) does it return its last iterate.
"""
