"""GMRES for operators that are available only as approximate matrix-vector products."""

from __future__ import annotations

from collections.abc import Callable

import torch

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.vectors import Inner, V, dot


def gmres(
    apply: Callable[[V, float], V],
    right: V,
    tolerance: float,
    maxiter: int = 50,
    *,
    inner: Inner[V] | None = None,
    strict: bool = True,
    equation: str = "the linear equation",
    advice: str = "Ask for less accuracy, or allow more products.",
) -> V:
    """Solve A x = b by the generalised minimal residual method, with inexact products.

    The further the residual has fallen, the less accurate the product of A with the next vector
    needs to be: its error may grow in inverse proportion to the residual [1]_.

    Parameters
    ----------
    apply : callable
        ``apply(x, accuracy)`` returns A x with an error of at most `accuracy` times the norm of x.
        A is linear over the real numbers.
    right : Tensor
        b, of any shape, real or complex; or another vector with ``a + b``, ``a - b`` and
        ``number * a``, which then needs `inner`.
    tolerance : float
        Norm of b - A x, relative to that of b.
    maxiter : int, optional
        Largest number of products.
    inner : callable, optional
        ``inner(left, right)``, the real inner product whose norm is minimised: a number, or a
        tensor that holds one. Euclidean by default.
    strict : bool, optional
        Raise an error if `tolerance` is not reached. With False the best x after `maxiter` products
        is returned, which is enough for a preconditioner.
    equation, advice : str, optional
        Name of the equation in the error, and its advice.

    Returns
    -------
    Tensor
        x, shaped as b.

    Raises
    ------
    ResponseConvergenceError
        If `maxiter` products are not enough, or the residual is not a number. Without `strict`
        only in the second case.

    References
    ----------
    .. [1] V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454 (2003).

    Examples
    --------
    >>> diagonal = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> gmres(lambda x, accuracy: diagonal * x, torch.ones(3, dtype=torch.float64), 1e-12)
    tensor([1.0000, 0.5000, 0.2500], dtype=torch.float64)
    """
    product: Inner = dot if inner is None else inner
    norm = float(product(right, right)) ** 0.5
    if norm == 0.0:
        return 0.0 * right
    vectors = [(1.0 / norm) * right]
    # Rotations turn the Hessenberg matrix into a triangular one, column by column.
    triangle = torch.zeros((maxiter + 1, maxiter), dtype=torch.float64)
    rotations: list[tuple[float, float]] = []
    reduced = torch.zeros(maxiter + 1, dtype=torch.float64)
    reduced[0] = norm
    residual, history, size = 1.0, [1.0], 0
    while residual > tolerance and size < maxiter:
        image = apply(vectors[size], 0.1 * tolerance / residual)
        column = triangle[:, size]
        for _ in range(2):  # after one pass the basis is orthogonal to a few digits only
            for i, vector in enumerate(vectors):
                overlap = float(product(vector, image))
                column[i] += overlap
                image = image - overlap * vector
        length = float(product(image, image)) ** 0.5
        column[size + 1] = length
        for i, (cosine, sine) in enumerate(rotations):
            above, below = float(column[i]), float(column[i + 1])
            column[i], column[i + 1] = cosine * above + sine * below, cosine * below - sine * above
        above, below = float(column[size]), float(column[size + 1])
        radius = (above**2 + below**2) ** 0.5
        if not radius > 0.0:
            residual = residual if radius == 0.0 else radius  # NaN stays NaN
            break
        rotations.append((above / radius, below / radius))
        column[size], column[size + 1] = radius, 0.0
        reduced[size + 1] = -rotations[-1][1] * reduced[size]
        reduced[size] = rotations[-1][0] * reduced[size]
        size += 1
        residual = abs(float(reduced[size])) / norm
        history.append(residual)
        if length > 0.0:
            vectors.append((1.0 / length) * image)
    if not residual <= (tolerance if strict else 1.0):
        raise ResponseConvergenceError(
            f"{equation} did not converge in {size} iterations: its residual is {residual:.1e} of "
            f"the right-hand side's norm, but {tolerance:.1e} was requested. {advice}",
            history,
        )
    weights = torch.linalg.solve_triangular(
        triangle[:size, :size], reduced[:size, None], upper=True
    )
    solution = 0.0 * right
    for weight, vector in zip(weights.flatten().tolist(), vectors, strict=False):
        solution = solution + weight * vector
    return solution
