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
from deepchem_xc.planewave.hamiltonian import LocalOperator
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
# How often bands are added before the states of eigenvalues that a loss needs are given up.
_ROUNDS = 4
_EXPANSIONS = 8
# States with less than this fraction of their electrons are empty.
_NO_ELECTRON = 1e-10
# Closer states than this, in units of the smearing's width, take the derivative of the occupation.
_CLOSE = 1e-4
# Arrays of Sternheimer's equation take about this much memory at a time.
_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
_MAXITER = 200
# Part of the largest cotangent that a state which cannot be used may have.
_NEGLIGIBLE = 1e-9
# What a residual is divided by to become an error of the electrons, Hartree: a gap times what
# errors of many states cancel. Measured: errors are then 0.1 to 1 times the accuracy asked for.
_GAP = 1.5
# Energy differences, Hartree, are not taken to be smaller where they only count as a correction.
_APART = 1e-4


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
    mass : Tensor or None
        For meta-GGAs v of the term -1/2 div(v grad), (nspin, nG).
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
        self.gauge, self.potential = problem.gauge, potential
        self.hamiltonian = problem.hamiltonian(potential)
        self.mass = self.hamiltonian.local.mass
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
        self._states = [self._in_gauge(channel) for channel in orbitals]
        self._differences = self._divided_differences()
        energies = self.eigenvalues.detach()
        above = energies[:, :, None, self.nfilled :] - energies[:, :, : self.nfilled, None]
        self._above = above.clamp_min(_APART)
        self._residuals = [self._rough(spin) for spin in range(len(orbitals))]
        self._dampings: dict[tuple[int, int], Tensor] = {}

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

    def _in_gauge(self, orbitals: Tensor) -> Tensor:
        """Bands of one spin as the Hamiltonian likes them: real where there is a gauge."""
        if self.gauge is None:
            return orbitals
        return self.gauge.to_real(orbitals, slice(0, len(orbitals)))

    def _rough(self, spin: int) -> Tensor:
        """Residuals H m - e m of the empty states, (nk, nempty, npw)."""
        empty = self._states[spin][:, self.nfilled :]
        energies = self.eigenvalues.detach()[spin, :, self.nfilled :, None]
        parts = []
        for first in range(0, self.basis.nk, self._step):
            ks = range(first, min(first + self._step, self.basis.nk))
            here = slice(ks.start, ks.stop)
            parts.append(
                self.hamiltonian.apply(empty[here], spin, ks) - energies[here] * empty[here]
            )
        return torch.cat(parts)

    def _damping(self, spin: int, here: slice) -> Tensor:
        """Preconditioner of the filled bands of some k-points, (nk, nfilled, npw)."""
        key = (spin, here.start)
        if key not in self._dampings:
            filled = self._states[spin][here, : self.nfilled]
            self._dampings[key] = teter_preconditioner(self.basis.kinetic[here], filled)
        return self._dampings[key]

    def _divided_differences(self) -> Tensor:
        """(f_n - f_m) / (e_n - e_m) of filled n and any m, (nspin, nk, nfilled, nband)."""
        smearing = self.problem.smearing
        energy = self.eigenvalues.detach()
        below, above = energy[:, :, : self.nfilled, None], energy[:, :, None, :]
        difference = below - above
        number = self.numbers[:, :, : self.nfilled, None] - self.numbers[:, :, None, :]
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
        total = share.sum(dims, keepdim=True)
        # In a gap that the smearing does not reach across, the level is the middle; a channel
        # without electrons has none, and nothing moves it.
        middle = torch.zeros_like(share)
        for sign in (1.0, -1.0):
            away = torch.where(sign * (energy - levels) > 0.0, sign * energy, torch.inf)
            nearest = (away - away.amin(dims, keepdim=True)).abs() < 1e-6
            middle += 0.5 * nearest / nearest.sum(dims, keepdim=True).clamp_min(1)
        middle = torch.where(levels.isfinite(), middle, 0.0)
        return level * torch.where(total.abs() > 1e-12, share / total, middle)

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
        local = LocalOperator(self.problem.pieces, potential, self.gauge)
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

        Real orbitals stay real whatever changes: an imaginary part meets nothing.
        """
        rows = cotangent[:, :, : self.nfilled]
        if self.gauge is None:
            return list(rows)
        centred = [self.gauge.centre(channel, slice(0, self.basis.nk)) for channel in rows]
        return [channel.real.contiguous() for channel in centred]

    def with_more_bands(self) -> PerturbedStates:
        """These states and a few above them; all but the highest are converged."""
        room = min(self.basis.npw_per_k) - self.orbitals.shape[2]
        if room == 0:
            return self
        orbitals = more_bands(self.basis, self.orbitals, min(_MORE, room))
        return PerturbedStates(self.problem, self.potential, orbitals)

    def for_eigenvalues(self, cotangent: Tensor) -> PerturbedStates:
        """These states, or more, such that the eigenvalues that a loss needs are converged.

        Bands above the highest one that is needed show whether a degenerate set is complete.

        Parameters
        ----------
        cotangent : Tensor
            Of the eigenvalues, (nspin, nk, n) with n bands or less.

        Raises
        ------
        ResponseConvergenceError
            If they cannot be converged.
        """
        wanted = (cotangent.abs() > _NEGLIGIBLE * cotangent.abs().max()).any(0).any(0).nonzero()
        needed = int(wanted[-1]) + 1 if len(wanted) else 0
        states = self
        for _ in range(_ROUNDS):
            nband, room = states.orbitals.shape[2], min(self.basis.npw_per_k)
            if needed <= min(states.nusable, nband - 1) or needed <= states.nfilled:
                return states
            if nband == room:
                break
            states = states.with_more_bands()
        if needed <= states.nusable:  # there are no more plane waves
            return states
        raise ResponseConvergenceError(
            f"the loss depends on the eigenvalues of band {needed} (the first is 1), but only the "
            f"lowest {states.nusable} are converged well enough to be differentiated: ask for more "
            "bands with nbands=.",
            [],
        )

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
        kinetic = self.problem.needs_kinetic_density
        electrons = torch.zeros(
            (2 if kinetic else 1, len(rhs), len(basis.density_g)),
            dtype=torch.complex128,
            device=basis.device,
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
                pieces, left = self.problem.pieces, states[:, :nband]
                electrons[0, spin] += pair_density(pieces, self.gauge, left, z, ks)
                for q in basis.orbital_q[here].unbind(-1) if kinetic else ():
                    row = q.unsqueeze(1)
                    tau = pair_density(pieces, self.gauge, row * left, row * z, ks)
                    electrons[1, spin] += 0.5 * tau
                if keep:
                    kept.append(z if self.gauge is None else self.gauge.to_complex(z, here))
        adjoint = torch.cat(kept).view(len(rhs), nk, nband, -1) if keep else None
        return basis.symmetrize(electrons if kinetic else electrons[0]), adjoint

    def _known_part(self, spin: int, here: slice, cotangent: Tensor) -> Tensor:
        """What z holds of the states that are known."""
        states = self._states[spin][here]
        overlap = cotangent @ states.mH  # [n, m] = <m|c_n>
        number = self.numbers[spin, here]
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
        """-[Q (H - e) Q]^-1 Q c by conjugate gradients, all bands of some k-points at once.

        Q leaves out the states known. Those that are empty, and converged roughly, come in again
        by what is left of H between them and Q, their residuals (the Schur complement of
        E. Cances et al., 2023): they make the equation easy without having to be exact.
        """
        here = slice(ks.start, ks.stop)
        states, rough = self._states[spin][here], self._residuals[spin][here]
        energies = self.eigenvalues.detach()[spin, here, : self.nfilled, None]
        above = self._above[spin, here]  # (nk, nfilled, nempty)

        def project(block: Tensor) -> Tensor:
            return torch.baddbmm(block, block @ states.mH, states, alpha=-1)

        residual = -cotangent
        if rough.shape[1]:
            empty = (cotangent @ states[:, self.nfilled :].mH) / above
            residual = torch.baddbmm(residual, empty, rough)
        residual = project(residual)
        solution = torch.zeros_like(residual)
        rows = _Rows(residual, energies, above, self._damping(spin, here))
        for _ in range(_MAXITER):
            norms = row_norms(rows.residual)
            active = norms > tolerance
            if not bool(active.any()):
                break
            active = rows.keep(active, solution)
            step = project(rows.damping * rows.residual)
            current = _row_dots(rows.residual, step).unsqueeze(-1)
            rows.direction = torch.addcmul(
                step, current / rows.previous.clamp_min(1e-300), rows.direction
            )
            rows.previous = current
            image = self.hamiltonian.apply(rows.direction, spin, ks)
            image.addcmul_(rows.energies, rows.direction, value=-1)
            if rough.shape[1]:
                empty = (rows.direction @ rough.mH) / rows.above
                image = torch.baddbmm(image, empty, rough, alpha=-1)
            image = project(image)
            curvature = _row_dots(rows.direction, image).unsqueeze(-1)
            if bool(((curvature < 0.0) & active).any()):
                raise ResponseConvergenceError(
                    "there is a state below the occupied ones that was not found: converge the "
                    "ground state more tightly, or ask for more bands with nbands=.",
                    [],
                )
            # Rows that are good enough stay as they are: what is left of them is noise.
            length = torch.where(active, current / curvature.clamp_min(1e-300), 0.0)
            rows.solution.addcmul_(length, rows.direction)
            rows.residual = torch.addcmul(rows.residual, length, image, value=-1)
        else:
            raise ResponseConvergenceError(
                f"Sternheimer's equation did not converge in {_MAXITER} iterations: its largest "
                f"residual is {float(norms.max()):.1e}, {tolerance:.1e} was wanted. States just "
                "above the occupied ones make it hard: ask for more bands with nbands=.",
                [],
            )
        rows.store(solution)
        if rough.shape[1]:
            empty = (solution @ rough.mH) / above
            solution = torch.baddbmm(solution, empty, states[:, self.nfilled :], alpha=-1)
        return solution


class _Rows:
    """What conjugate gradients carry from step to step, of the rows that are not done."""

    def __init__(self, residual: Tensor, energies: Tensor, above: Tensor, damping: Tensor) -> None:
        self.residual, self.energies, self.above, self.damping = residual, energies, above, damping
        self.solution = torch.zeros_like(residual)
        self.direction = torch.zeros_like(residual)
        self.previous = torch.ones_like(energies)
        nk, n = residual.shape[:2]
        self._places = torch.arange(n, device=residual.device).expand(nk, n)

    def keep(self, active: Tensor, solution: Tensor) -> Tensor:
        """Leave out rows (nk, n) that are done, as many at every k-point; the rest of the mask."""
        most = int(active.sum(1).max())
        if most == active.shape[1]:
            return active.unsqueeze(-1)
        self.store(solution)
        order = active.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        for name in (
            "residual",
            "energies",
            "above",
            "damping",
            "solution",
            "direction",
            "previous",
        ):
            value = getattr(self, name)
            index = order.unsqueeze(-1).expand(-1, -1, value.shape[2])
            setattr(self, name, value.gather(1, index))
        self._places = self._places.gather(1, order)
        return active.gather(1, order).unsqueeze(-1)

    def store(self, solution: Tensor) -> None:
        """Write the solution so far where it belongs."""
        solution.scatter_(1, self._places.unsqueeze(-1).expand_as(self.solution), self.solution)


def _row_dots(left: Tensor, right: Tensor) -> Tensor:
    """Real part of the scalar products of rows, (nk, n)."""
    if left.is_complex():
        left, right = torch.view_as_real(left).flatten(-2), torch.view_as_real(right).flatten(-2)
    return torch.einsum("kng,kng->kn", left, right)
