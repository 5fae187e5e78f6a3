"""Linear equations whose operator is only known by its action, and only as well as is paid for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError


def gmres(
    apply: Callable[[Tensor, float], Tensor],
    right: Tensor,
    tolerance: float,
    maxiter: int = 50,
) -> Tensor:
    """Solve A x = b by the generalised minimal residual method, with inexact products.

    The further the residual has fallen, the less accurate need A's action on the next vector be:
    its error may grow in inverse proportion to the residual [1]_.

    Parameters
    ----------
    apply : callable
        ``apply(x, accuracy)`` returns A x with an error of at most `accuracy` times the norm of x.
        A is linear over the real numbers.
    right : Tensor
        b, of any shape, real or complex.
    tolerance : float
        Norm of b - A x in units of that of b.
    maxiter : int, optional
        Largest number of products.

    Returns
    -------
    Tensor
        x, shaped as b.

    Raises
    ------
    ResponseConvergenceError
        If `maxiter` products did not suffice, or the residual is not a number.

    References
    ----------
    .. [1] V. Simoncini, D. B. Szyld, SIAM J. Sci. Comput. 25, 454 (2003).

    Examples
    --------
    >>> diagonal = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> gmres(lambda x, accuracy: diagonal * x, torch.ones(3, dtype=torch.float64), 1e-12)
    tensor([1.0000, 0.5000, 0.2500], dtype=torch.float64)
    """
    norm = float(torch.linalg.vector_norm(right))
    if norm == 0.0:
        return torch.zeros_like(right)
    vectors = [right / norm]
    # Rotations turn the Hessenberg matrix into a triangular one, column by column.
    triangle = torch.zeros((maxiter + 1, maxiter), dtype=torch.float64)
    rotations: list[tuple[float, float]] = []
    reduced = torch.zeros(maxiter + 1, dtype=torch.float64)
    reduced[0] = norm
    residual, history, size = 1.0, [1.0], 0
    while residual > tolerance and size < maxiter:
        image = apply(vectors[size], 0.1 * tolerance / residual)
        column = triangle[:, size]
        for _ in range(2):  # once leaves the basis orthogonal to a few digits only
            for i, vector in enumerate(vectors):
                overlap = _dot(vector, image)
                column[i] += overlap
                image = image - overlap * vector
        length = float(torch.linalg.vector_norm(image))
        column[size + 1] = length
        for i, (cosine, sine) in enumerate(rotations):
            above, below = float(column[i]), float(column[i + 1])
            column[i], column[i + 1] = cosine * above + sine * below, cosine * below - sine * above
        above, below = float(column[size]), float(column[size + 1])
        radius = (above**2 + below**2) ** 0.5
        if not radius > 0.0:  # zero or NaN
            break
        rotations.append((above / radius, below / radius))
        column[size], column[size + 1] = radius, 0.0
        reduced[size + 1] = -rotations[-1][1] * reduced[size]
        reduced[size] = rotations[-1][0] * reduced[size]
        size += 1
        residual = abs(float(reduced[size])) / norm
        history.append(residual)
        if length > 0.0:
            vectors.append(image / length)
    if not residual <= tolerance:
        raise ResponseConvergenceError(
            f"the response equation did not converge in {size} iterations: its residual is "
            f"{residual:.1e} of the right-hand side's norm, {tolerance:.1e} was wanted. Converge "
            "the ground state more tightly, smear the occupations more, or ask for less accuracy.",
            history,
        )
    weights = torch.linalg.solve_triangular(
        triangle[:size, :size], reduced[:size, None], upper=True
    ).flatten()
    return torch.stack([w * v for w, v in zip(weights.tolist(), vectors, strict=False)]).sum(0)


def _dot(left: Tensor, right: Tensor) -> float:
    """Scalar product over the real numbers."""
    if left.is_complex():
        left, right = torch.view_as_real(left), torch.view_as_real(right)
    return float((left * right).sum())
