"""The self-consistency loop: a fixed-point map of the density, and how it is driven to rest.

Contract: `solve` takes a `KohnShamProblem` and a starting density and returns an `SCFResult`
whose energy, density and residuals are within the `Convergence` asked for, or raises
`SCFConvergenceError` with the history. No step is differentiated. How densities are mixed and
where the loop starts are objects that are handed in.
"""
