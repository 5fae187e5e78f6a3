"""The self-consistency loop: a fixed-point map of the density and its iteration to convergence.

Contract: `solve` takes a `KohnShamProblem` and a starting density and returns an `SCFResult`
whose energy, density and residuals are within the requested `Convergence`, or raises
`SCFConvergenceError` with the history. No step is differentiated. The caller passes mixing,
policies and start as objects.
"""
