"""Next density from the densities and residuals so far.

Anderson's method [1]_ finds the combination of past residuals that is smallest in the Coulomb
metric. Each residual is preconditioned by the local density of states at the Fermi level [2]_, a
model of the independent-particle response that is Kerker's where the crystal is metallic and does
nothing where it has a gap or is vacuum: neither needs to be chosen by hand.

References
----------
.. [1] D. G. Anderson, J. ACM 12, 547 (1965).
.. [2] M. F. Herbst, A. Levitt, J. Phys.: Condens. Matter 33, 085503 (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.terms.hartree import coulomb_kernel
from deepchem_xc.planewave.terms.xc import split_fields

# Below this many states per Hartree and electron the crystal does not screen like a metal.
_NEGLIGIBLE_STATES = 1e-3


def to_total_and_moment(density: Tensor) -> Tensor:
    """(up, down) -> (total, magnetisation); one channel stays as it is.

    Parameters
    ----------
    density : Tensor
        (..., nspin, nG), in any unit, which is that of the result.

    Examples
    --------
    >>> to_total_and_moment(torch.tensor([[5.0], [3.0]])).tolist()
    [[8.0], [2.0]]
    """
    if density.shape[-2] == 1:
        return density
    up, down = density.unbind(-2)
    return torch.stack([up + down, up - down], dim=-2)


def from_total_and_moment(density: Tensor) -> Tensor:
    """(total, magnetisation) -> (up, down); one channel stays as it is.

    Parameters
    ----------
    density : Tensor
        (..., nspin, nG), in any unit, which is that of the result.

    Examples
    --------
    >>> from_total_and_moment(torch.tensor([[8.0], [2.0]])).tolist()
    [[5.0], [3.0]]
    """
    if density.shape[-2] == 1:
        return density
    total, moment = density.unbind(-2)
    return 0.5 * torch.stack([total + moment, total - moment], dim=-2)


def screen(
    basis: PlaneWaveBasis, residual: Tensor, local_states: Tensor, iterations: int = 12
) -> Tensor:
    r"""Solve :math:`(1 - \chi_0 v_c) x = f` with the local-density-of-states model of chi0.

    .. math:: \chi_0 V = -D(r) V(r) + D(r) \int D V / \int D

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid.
    residual : Tensor
        f, residual of the total density, (nG,), bohr^-3.
    local_states : Tensor
        D, local density of states at the Fermi level on the sphere, (nG,), 1/(Hartree bohr^3).
    iterations : int, optional
        Largest number of GMRES steps; a preconditioner need not be exact.

    Returns
    -------
    Tensor
        x, (nG,), bohr^-3.

    Examples
    --------
    The homogeneous electron gas screens as G^2 / (G^2 + 4 pi D):

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> q2 = basis.density_q2
    >>> wave = (abs(q2 - q2[1:].min()) < 1e-9).to(torch.complex128)  # the shortest G
    >>> states = 0.1 * (q2 == 0).to(torch.complex128)
    >>> bool(torch.allclose(screen(basis, wave, states), wave * q2 / (q2 + 0.4 * torch.pi)))
    True
    """
    total = local_states[0].real * basis.volume
    kernel = coulomb_kernel(basis)
    states = basis.to_grid(local_states)

    def operator(x: Tensor) -> Tensor:
        potential = basis.to_grid(kernel * x)
        mean = (states * potential).sum() * (basis.volume / basis.ngrid) / total
        return x + basis.to_sphere(states * (potential - mean))

    # GMRES in the Coulomb metric, in which the operator is close to normal.
    metric = torch.where(kernel > 0, kernel, kernel[1:].max()).sqrt()
    size = torch.linalg.vector_norm(metric * residual)
    if float(size) == 0.0:
        return residual
    vectors = [residual / size]
    images: list[Tensor] = []
    for _ in range(iterations):
        image = operator(vectors[-1])
        images.append(image)
        columns = torch.stack([metric * y for y in images], dim=1)
        target = (metric * residual).unsqueeze(1)
        normal = columns.mH @ columns
        solution = torch.linalg.lstsq(normal, columns.mH @ target).solution.squeeze(1)
        rest = target.squeeze(1) - columns @ solution
        if float(torch.linalg.vector_norm(rest)) < 0.02 * float(size):
            break
        direction = rest / metric
        for vector in vectors:
            overlap = torch.vdot(metric * vector, metric * direction)
            direction = direction - overlap * vector
        length = torch.linalg.vector_norm(metric * direction)
        if float(length) < 1e-12 * float(size):
            break
        vectors.append(direction / length)
    stacked = torch.stack(vectors[: len(images)], dim=1)
    return stacked @ solution


class AndersonMixer:
    """Anderson mixing of densities on the sphere, alone or with the kinetic energy density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Metric and grid.
    nelectrons : float
        Sets the scale below which a density of states counts as none.
    history : int, optional
        How many earlier steps are combined.
    beta : float, optional
        Step along the (preconditioned) residual.

    Examples
    --------
    A response that overshoots twofold, where plain iteration would run away:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wanted = basis.to_sphere(torch.rand(1, *basis.fft_size, dtype=torch.float64))
    >>> mixer, density = AndersonMixer(basis, nelectrons=8.0), torch.zeros_like(wanted)
    >>> for _ in range(2):
    ...     density = mixer.next_density(density, wanted - 2.0 * (density - wanted), None)
    >>> bool(torch.allclose(density, wanted))
    True
    """

    def __init__(
        self, basis: PlaneWaveBasis, nelectrons: float, history: int = 8, beta: float = 0.8
    ) -> None:
        self.basis = basis
        self.nelectrons = nelectrons
        self.history = history
        self.beta = beta
        kernel = coulomb_kernel(basis)
        # The magnetisation has a G = 0 part; give it the weight of the shortest other G.
        self._metric = torch.where(kernel > 0, kernel, kernel[1:].max())
        self._inputs: list[Tensor] = []
        self._residuals: list[Tensor] = []

    def next_density(self, density: Tensor, output: Tensor, local_states: Tensor | None) -> Tensor:
        """Density to try next.

        Parameters
        ----------
        density, output : Tensor
            The last step's input, and what the Kohn-Sham equations made of it, (nspin, nG) or
            (2, nspin, nG).
        local_states : Tensor or None
            Local density of states at the Fermi level (all channels), (nG,), 1/(Hartree bohr^3);
            None for none.

        Returns
        -------
        Tensor
            Shaped as the input.
        """
        x = to_total_and_moment(density)
        f = to_total_and_moment(output) - x
        self._inputs.append(x)
        self._residuals.append(f)
        del self._inputs[: -self.history - 1], self._residuals[: -self.history - 1]
        if len(self._residuals) > 1:
            dx = torch.stack([x - y for y in self._inputs[:-1]])
            df = torch.stack([f - y for y in self._residuals[:-1]])
            weighted = self._metric * df
            rows = weighted.flatten(1)
            gram = (df.flatten(1).conj() @ rows.T).real
            right = (rows.conj() @ f.flatten()).real
            scale = gram.diagonal().clamp_min(1e-300).rsqrt()
            scaled = scale[:, None] * gram * scale[None, :]
            gamma = scale * (
                torch.linalg.pinv(scaled, rtol=1e-10, hermitian=True) @ (scale * right)
            )
            x = x - torch.tensordot(gamma.to(dx.dtype), dx, dims=1)
            f = f - torch.tensordot(gamma.to(df.dtype), df, dims=1)
        step = f.clone()
        if local_states is not None:
            states = float(local_states[0].real * self.basis.volume)
            if states > _NEGLIGIBLE_STATES * self.nelectrons:
                density_part = split_fields(step)[0]
                density_part[0] = screen(self.basis, density_part[0], local_states)
        new = x + self.beta * step
        if new.shape[-2] == 2:
            new[..., 1, :] = self._uphill_refused(new[..., 1, :])
        return from_total_and_moment(new)

    def _uphill_refused(self, magnetisation: Tensor) -> Tensor:
        """The magnetisation to try next, unless it goes against what the last step showed.

        A non-magnetic state that is unstable is a solution too, and Anderson's method goes there
        as readily: it steps back along the residual. The residual itself points away from it.
        """
        last, residual = self._inputs[-1][..., 1, :], self._residuals[-1][..., 1, :]
        overlap = torch.vdot(residual.flatten(), (magnetisation - last).flatten()).real
        return magnetisation if float(overlap) > 0.0 else last + self.beta * residual
