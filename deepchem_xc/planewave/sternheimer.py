r"""First-order perturbation theory of non-interacting electrons, in reverse.

For a loss that depends on orbitals and occupations through the density matrix only, its cotangents
are turned into one function z per band, such that any change of the Hamiltonian changes it by

.. math:: dL = \sum_{nk} Re \langle z_{nk} | dH | \psi_{nk} \rangle.

What z holds of the states known is a sum over them, with divided differences of the occupations, so
that degenerate states do no harm; the rest solves Sternheimer's equation. See E. Cances,
M. F. Herbst, G. Kemlin, A. Levitt, B. Stamm, Lett. Math. Phys. 113, 21 (2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.density import pair_density
from deepchem_xc.planewave.eigensolver import row_norms, teter_preconditioner
from deepchem_xc.planewave.gmres import ResponseConvergenceError
from deepchem_xc.planewave.hamiltonian import LocalPotential
from deepchem_xc.planewave.occupations import occupy
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.start import more_bands
from deepchem_xc.planewave.states import diagonalize

# Residuals, Hartree, that states are brought to before they are perturbed: those that hold
# electrons, and others that are to take part.
_FILLED_RESIDUAL = 1e-8
_EMPTY_RESIDUAL = 1e-7
_USABLE_RESIDUAL = 1e-6
_SWEEPS = 8
# Bands added at a time while the highest holds electrons.
_MORE = 3
_EXPANSIONS = 8
# States with less than this fraction of their electrons are empty.
_NO_ELECTRON = 1e-10
# Closer states than this, in units of the smearing's width, take the derivative of the occupation.
_CLOSE = 1e-4
# Arrays of Sternheimer's equation take about this much memory at a time.
_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
_MAXITER = 200
# A typical gap, Hartree: what a residual is divided by to become an error.
_GAP = 0.3


class PerturbedStates:
    """States of a converged potential, ready to be perturbed.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal.
    potential : Tensor
        Converged Kohn-Sham potential, (nspin, nG), Hartree.
    orbitals : Tensor
        Its states, (nspin, nk, nband, npw); they are improved where they need it.

    Attributes
    ----------
    orbitals : Tensor
        Improved, (nspin, nk, nband, npw).
    eigenvalues, numbers : Tensor
        (nspin, nk, nband), Hartree and electrons. There may be more bands than were given: enough
        for the highest to be empty.
    nfilled : int
        Bands up to this one hold electrons somewhere.

    Raises
    ------
    ResponseConvergenceError
        If filled states cannot be converged.

    Examples
    --------
    The density does not answer to a constant potential:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2))
    >>> states = PerturbedStates(result.problem, result.potential_g, result.orbitals)
    >>> constant = torch.zeros_like(result.density_g)
    >>> constant[:, 0] = 1.0
    >>> bool(states.density_response(constant, 1e-8).abs().max() < 1e-8)
    True
    """

    def __init__(self, problem: KohnShamProblem, potential: Tensor, orbitals: Tensor) -> None:
        self.problem, self.basis = problem, problem.basis
        self.gauge = problem.gauge
        self.hamiltonian = problem.hamiltonian(potential)
        eigenvalues, orbitals, residuals = self._improve(orbitals)
        self.orbitals = orbitals
        self.eigenvalues = eigenvalues.clone().requires_grad_()
        with torch.enable_grad():
            # Its graph holds the derivatives of occupations with respect to eigenvalues.
            self.occupation = occupy(
                self.eigenvalues,
                self.basis.weights,
                problem.nelectrons,
                problem.smearing,
                problem.moment,
            )
        self.numbers = self.occupation.numbers.detach()
        full = 2.0 / problem.nspin
        filled = (self.numbers.abs() > full * _NO_ELECTRON).any(0).any(0).nonzero()
        self.nfilled = int(filled[-1]) + 1
        usable = (residuals < _USABLE_RESIDUAL).all(0).all(0)
        self.nusable = int(usable.cumprod(0).sum())
        if self.nusable < self.nfilled:
            raise ResponseConvergenceError(
                f"band {self.nusable + 1} of {self.nfilled} occupied ones has a residual of "
                f"{float(residuals[:, :, self.nusable].max()):.1e} Ha, too large to differentiate: "
                "ask for more bands with nbands=, or smear less.",
                [],
            )
        self._step = max(
            1, _BYTES[self.basis.device.type] // (16 * 8 * self.nfilled * self.basis.npw)
        )
        self._states = [self._in_gauge(channel, self.nusable) for channel in orbitals]
        self._differences = self._divided_differences()

    def _improve(self, orbitals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        problem = self.problem
        goal = torch.full(orbitals.shape[:3], _EMPTY_RESIDUAL, dtype=torch.float64)
        goal[:, :, -1] = torch.inf  # may belong to a multiplet that is cut
        room = min(self.basis.npw_per_k)
        sweeps = _SWEEPS
        while sweeps > 0:
            sweeps -= 1
            eigenvalues, orbitals, residuals = diagonalize(
                self.hamiltonian, orbitals, _EXPANSIONS, goal.to(orbitals.device)
            )
            numbers = occupy(
                eigenvalues,
                self.basis.weights,
                problem.nelectrons,
                problem.smearing,
                problem.moment,
            ).numbers
            nband = orbitals.shape[2]
            if float(numbers[:, :, -1].abs().max()) > _NO_ELECTRON and nband < room:
                orbitals = more_bands(self.basis, orbitals, min(_MORE, room - nband))
                goal = torch.full(orbitals.shape[:3], _EMPTY_RESIDUAL, dtype=torch.float64)
                goal[:, :, -1] = torch.inf
                sweeps = _SWEEPS
                continue
            filled = numbers.abs() > 1e-6
            goal = torch.where(filled, _FILLED_RESIDUAL, _EMPTY_RESIDUAL)
            goal[:, :, -1] = torch.where(filled[:, :, -1], _FILLED_RESIDUAL, torch.inf)
            if bool((residuals <= goal).all()):
                break
        return eigenvalues, orbitals, residuals

    def _in_gauge(self, orbitals: Tensor, nband: int) -> Tensor:
        """Bands of one spin as the Hamiltonian likes them: real where there is a gauge."""
        rows = orbitals[:, :nband]
        return rows if self.gauge is None else self.gauge.to_real(rows, slice(0, len(rows)))

    def _divided_differences(self) -> Tensor:
        """(f_n - f_m) / (e_n - e_m) of filled n and usable m, (nspin, nk, nfilled, nusable)."""
        smearing = self.problem.smearing
        energy = self.eigenvalues.detach()
        below, above = energy[:, :, : self.nfilled, None], energy[:, :, None, : self.nusable]
        difference = below - above
        number = self.numbers[:, :, : self.nfilled, None] - self.numbers[:, :, None, : self.nusable]
        if smearing.width == 0.0:
            close = difference.abs() < 1e-8
            if bool((close & (number.abs() > 1e-8)).any()):
                raise ResponseConvergenceError(
                    "a filled and an empty state have the same energy: integer occupations then "
                    "have no derivative. Smear the occupations.",
                    [],
                )
            return torch.where(close, 0.0, number / difference)
        close = difference.abs() < _CLOSE * smearing.width
        level = torch.as_tensor(self.occupation.fermi_level, dtype=energy.dtype)
        level = level.to(energy.device).reshape(-1, 1, 1, 1)
        middle = (0.5 * (below + above) - level) / smearing.width
        slope = smearing.occupation_derivative(middle) * (2.0 / len(energy) / smearing.width)
        slope = torch.where(middle.isfinite(), slope, 0.0)  # an empty channel has no level
        return torch.where(close, slope, number / difference)

    def eigenvalue_cotangent(
        self, numbers: Tensor, entropy: Tensor | None = None, level: Tensor | None = None
    ) -> Tensor:
        """Cotangents of occupation numbers, -TS and Fermi level, as one of the eigenvalues.

        Parameters
        ----------
        numbers : Tensor
            (nspin, nk, nband).
        entropy : Tensor, optional
            0-d.
        level : Tensor, optional
            As many as there are Fermi levels.

        Returns
        -------
        Tensor
            (nspin, nk, nband).
        """
        outputs, cotangents = [self.occupation.numbers], [numbers]
        if entropy is not None:
            outputs.append(self.occupation.entropy_energy)
            cotangents.append(entropy)
        total = torch.zeros_like(numbers)
        if self.problem.smearing.width > 0.0:
            (total,) = torch.autograd.grad(outputs, self.eigenvalues, cotangents, retain_graph=True)
        if level is not None:
            total = total + self._level_cotangent(level)
        return total

    def _level_cotangent(self, level: Tensor) -> Tensor:
        """What moves the Fermi level: states at it, or the highest filled ones."""
        energy, problem = self.eigenvalues.detach(), self.problem
        levels = torch.as_tensor(self.occupation.fermi_level, dtype=energy.dtype)
        levels, level = levels.to(energy.device).reshape(-1, 1, 1), level.reshape(-1, 1, 1)
        if problem.smearing.width > 0.0:
            smearing = problem.smearing
            slope = smearing.occupation_derivative((energy - levels) / smearing.width)
            share = slope * self.basis.weights[:, None]
        else:
            share = ((energy - levels).abs() < 1e-6).to(energy.dtype)
        share = share.nan_to_num(0.0)
        dims = (1, 2) if levels.shape[0] == 2 else (0, 1, 2)
        return level * share / share.sum(dims, keepdim=True)

    def density_response(self, potential: Tensor, accuracy: float) -> Tensor:
        """Change of the electrons in a small potential: the independent-particle response.

        Parameters
        ----------
        potential : Tensor
            Symmetric as the density is, (nspin, nG), Hartree.
        accuracy : float
            Error allowed, electrons.

        Returns
        -------
        Tensor
            Electrons, (nspin, nG): the density times the volume. Symmetrised.
        """
        rhs, numbers = self.potential_cotangents(potential)
        eigenvalues = self.eigenvalue_cotangent(numbers)
        return self.adjoint(rhs, eigenvalues, accuracy)[0]

    def potential_cotangents(self, potential: Tensor) -> tuple[list[Tensor], Tensor]:
        """Cotangents of orbitals and occupations for the loss <potential, electrons>.

        Returns
        -------
        rhs : list of Tensor
            For every spin (nk, nfilled, npw), real where there is a gauge.
        numbers : Tensor
            (nspin, nk, nband).
        """
        local = LocalPotential(self.problem.pieces, potential, self.gauge)
        numbers = torch.zeros_like(self.numbers)
        rhs = []
        for spin, states in enumerate(self._states):
            filled = states[:, : self.nfilled]
            product = local.apply(filled, spin, range(self.basis.nk))
            weights = self.basis.weights[:, None]
            numbers[spin, :, : self.nfilled] = weights * _row_dots(filled, product)
            weights = 2.0 * weights * self.numbers[spin, :, : self.nfilled]
            rhs.append(product.mul_(weights.unsqueeze(-1)))
        return rhs, numbers

    def in_gauge(self, cotangent: Tensor) -> list[Tensor]:
        """Cotangent of complex orbitals (nspin, nk, nband, npw), as `potential_cotangents` has it.

        Raises
        ------
        RuntimeError
            If it belongs to something less symmetric than the crystal.
        """
        rows = cotangent[:, :, : self.nfilled]
        if self.gauge is None:
            return list(rows)
        centred = [self.gauge.centre(channel, slice(0, self.basis.nk)) for channel in rows]
        for channel in centred:
            if float(channel.imag.norm()) > 1e-6 * float(channel.norm()):
                raise RuntimeError("a cotangent lacks the inversion symmetry of the crystal")
        return [channel.real.contiguous() for channel in centred]

    def adjoint(
        self, rhs: list[Tensor], eigenvalues: Tensor, accuracy: float, keep: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Solve for z of all bands, and sum up what a local potential does to the loss.

        Parameters
        ----------
        rhs : list of Tensor
            Cotangents of the filled orbitals, for every spin (nk, nfilled, npw).
        eigenvalues : Tensor
            Cotangents of the eigenvalues, those of occupations included, (nspin, nk, nband).
        accuracy : float
            Error allowed in the sum, electrons.
        keep : bool, optional
            Return z, too.

        Returns
        -------
        electrons : Tensor
            Cotangent of the potential's coefficients, (nspin, nG), symmetrised.
        z : Tensor or None
            (nspin, nk, nusable, npw), complex.
        """
        basis, nk = self.basis, self.basis.nk
        electrons = torch.zeros(
            (len(rhs), len(basis.density_g)), dtype=torch.complex128, device=basis.device
        )
        used = eigenvalues[:, :, : self.nusable].abs().amax((0, 1)).nonzero()
        nband = max(self.nfilled, int(used[-1]) + 1 if len(used) else 0)
        kept = []
        rows = len(rhs) * nk * self.nfilled
        tolerance = accuracy * _GAP / rows**0.5
        for spin, cotangent in enumerate(rhs):
            for first in range(0, nk, self._step):
                ks = range(first, min(first + self._step, nk))
                here = slice(ks.start, ks.stop)
                states = self._states[spin][here]
                z = eigenvalues[spin, here, :nband, None] * states[:, :nband]
                z[:, : self.nfilled] += self._known_part(spin, here, cotangent[here])
                z[:, : self.nfilled] += self._sternheimer(spin, ks, cotangent[here], tolerance)
                electrons[spin] += pair_density(
                    self.problem.pieces, self.gauge, states[:, :nband], z, ks
                )
                if keep:
                    kept.append(z if self.gauge is None else self.gauge.to_complex(z, here))
        adjoint = torch.cat(kept).view(len(rhs), nk, nband, -1) if keep else None
        return basis.symmetrize(electrons), adjoint

    def _known_part(self, spin: int, here: slice, cotangent: Tensor) -> Tensor:
        """What z holds of the states that are known."""
        states = self._states[spin][here]
        overlap = cotangent @ states.mH  # [n, m] = <m|c_n>
        number = self.numbers[spin, here, : self.nusable]
        n, m = number[:, : self.nfilled, None], number[:, None, :]
        # The operator that the loss's derivative with respect to the density matrix is.
        operator = n * overlap
        square = slice(0, self.nfilled)
        operator[:, :, square] += (n * overlap[:, :, square]).mH
        operator = operator / (n.square() + m.square()).clamp_min(1e-300)
        operator = operator * self._differences[spin, here]
        operator[:, :, square] *= 0.5  # these pairs come twice
        operator.diagonal(dim1=1, dim2=2).zero_()
        return operator.to(states.dtype) @ states

    def _sternheimer(self, spin: int, ks: range, cotangent: Tensor, tolerance: float) -> Tensor:
        """-[Q (H - e) Q]^-1 Q c by conjugate gradients, all bands of some k-points at once."""
        here = slice(ks.start, ks.stop)
        states = self._states[spin][here]
        energies = self.eigenvalues.detach()[spin, here, : self.nfilled, None]

        def project(block: Tensor) -> Tensor:
            return torch.baddbmm(block, block @ states.mH, states, alpha=-1)

        residual = project(-cotangent)
        solution = torch.zeros_like(residual)
        bands = torch.arange(self.nfilled, device=residual.device)
        damping = teter_preconditioner(self.basis.kinetic[here], states[:, : self.nfilled])
        direction = torch.zeros_like(residual)
        previous = torch.ones_like(energies)
        for _ in range(_MAXITER):
            norms = row_norms(residual)
            active = (norms > tolerance).any(0)
            if not bool(active.any()):
                return solution
            if not bool(active.all()):
                places = active.nonzero().squeeze(1)
                bands, residual, direction, damping, previous, energies = (
                    x.index_select(-1 if x.ndim == 1 else 1, places)
                    for x in (bands, residual, direction, damping, previous, energies)
                )
            step = project(damping * residual)
            current = _row_dots(residual, step).unsqueeze(-1)
            direction = torch.addcmul(step, current / previous.clamp_min(1e-300), direction)
            previous = current
            image = self.hamiltonian.apply(direction, spin, ks)
            image = project(torch.addcmul(image, energies, direction, value=-1))
            curvature = _row_dots(direction, image).unsqueeze(-1)
            if bool((curvature < 0.0).any()):
                raise ResponseConvergenceError(
                    "there is a state below the occupied ones that was not found: converge the "
                    "ground state more tightly, or ask for more bands with nbands=.",
                    [],
                )
            length = current / curvature.clamp_min(1e-300)
            solution.index_add_(1, bands, length * direction)
            residual = torch.addcmul(residual, length, image, value=-1)
        raise ResponseConvergenceError(
            f"Sternheimer's equation did not converge in {_MAXITER} iterations: its largest "
            f"residual is {float(norms.max()):.1e}, {tolerance:.1e} was wanted. States just above "
            "the occupied ones make it hard: ask for more bands with nbands=.",
            [],
        )


def _row_dots(left: Tensor, right: Tensor) -> Tensor:
    """Real part of the scalar products of rows, (nk, n)."""
    if left.is_complex():
        left, right = torch.view_as_real(left).flatten(-2), torch.view_as_real(right).flatten(-2)
    return torch.einsum("kng,kng->kn", left, right)
