"""Nonlocal part of the pseudopotentials in Kleinman-Bylander form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.pseudo import AtomicPotential, Pseudopotential
from deepchem_xc.planewave.terms.base import OrbitalTerm

# Memory of the projectors kept at once while energies are differentiated, bytes. Their graph takes
# ten times as much: with 64 MiB, forces and stress of aluminium (413 k-points, PAW) took 590 MiB
# more than the loop, and four times as long.
_PROJECTOR_BYTES = 4 * 2**20
# (-i)^l for l = 0 to 3, without the rounding of powers.
_TURNS = (1.0, -1.0j, -1.0, 1.0j)


def coupling_matrix(basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential]) -> Tensor:
    """Coupling D between all projectors, in the order of `projectors`.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides the atoms.
    pseudos : mapping of str to Pseudopotential
        One for every species.

    Returns
    -------
    Tensor
        Block-diagonal, (nproj, nproj), Hartree.

    Examples
    --------
    Each of two silicon atoms has two s projectors and a p projector with three m:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> coupling_matrix(basis, pseudos).shape
    torch.Size([10, 10])
    """
    blocks = []
    for symbol in basis.crystal.symbols:
        for channel in pseudos[symbol].channels:
            coupling = channel.coupling.to(basis.device)
            blocks += [coupling] * (2 * channel.l + 1)
    if not blocks:
        return torch.zeros((0, 0), dtype=torch.float64, device=basis.device)
    return torch.block_diag(*blocks)


def atom_functions(
    basis: PlaneWaveBasis,
    form_factors: Callable[[str, Tensor], list[tuple[int, Tensor]]],
    ks: slice = slice(None),
) -> Tensor:
    r"""Plane-wave coefficients of functions f(r) Y_lm around every atom.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves; the result is differentiable with respect to its lattice and positions.
    form_factors : callable
        ``form_factors(species, q2)`` returns angular momenta l and radial transforms divided by
        q^l, (n, nk, npw).
    ks : slice, optional
        The k-points.

    Returns
    -------
    Tensor
        (nk, number of functions, npw), complex: :math:`\Omega^{-1/2} (-i)^l f(|k+G|) Y_{lm}
        e^{-i(k+G)\tau}` ordered by atom, entry of `form_factors`, m and n; zero in the padding.

    Examples
    --------
    Functions that are real in space have coefficients with c(-G) = c(G)*, also those with odd l:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> waves = atom_functions(basis, lambda species, q2: [(1, torch.exp(-q2).unsqueeze(0))])[0]
    >>> places = {tuple(g): i for i, g in enumerate(basis.orbital_g_vectors[0].tolist())}
    >>> there, back = places[1, 0, 2], places[-1, 0, -2]
    >>> bool(torch.allclose(waves[:, back], waves[:, there].conj()))
    True
    """
    q = basis.orbital_q[ks]  # (nk, npw, 3)
    q2 = q.square().sum(-1)
    mask = basis.mask[ks] / basis.volume.sqrt()
    centred: dict[str, list[tuple[int, Tensor]]] = {}
    for species in basis.crystal.species:
        parts = []
        for l, form in form_factors(species, q2):
            angular = solid_harmonics(l, q)  # (2l+1, nk, npw)
            parts.append((l, (angular.unsqueeze(1) * (form * mask).unsqueeze(0)).flatten(0, 1)))
        centred[species] = parts
    reduced = basis.orbital_g_vectors[ks].to(q.dtype) + basis.k_coordinates[ks, None, :]
    rows = []
    for atom, symbol in enumerate(basis.crystal.symbols):
        angle = -2.0 * torch.pi * reduced @ basis.crystal.positions[atom]
        phase = torch.polar(torch.ones_like(angle), angle)
        rows += [part * (_TURNS[l] * phase) for l, part in centred[symbol]]
    if not rows:
        return torch.zeros((*q2.shape[:1], 0, q2.shape[1]), dtype=torch.complex128, device=q.device)
    return torch.cat(rows).transpose(0, 1)


def projectors(
    basis: PlaneWaveBasis, pseudos: Mapping[str, AtomicPotential], ks: slice = slice(None)
) -> Tensor:
    r"""Plane-wave coefficients of all projectors, (nk, nproj, npw), complex.

    .. math:: \beta_{aim}(k+G)
        = \Omega^{-1/2} \, (-i)^l \, p_{il}(|k+G|) \, Y_{lm} \, e^{-i(k+G)\tau_a}

    ordered by atom, channel, m and i like `coupling_matrix`, and zero in the padding.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves; the result is differentiable with respect to its lattice and positions.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    ks : slice, optional
        The k-points.

    Returns
    -------
    Tensor
        (nk, nproj, npw), complex, without unit.

    Examples
    --------
    Those of GTH potentials are normalised in space, hence also here, up to the cutoff's error:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 20.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> [round(x, 2) for x in projectors(basis, pseudos)[0, 2:5].norm(dim=-1).tolist()]
    [1.0, 1.0, 1.0]
    """

    def form_factors(species: str, q2: Tensor) -> list[tuple[int, Tensor]]:
        pseudo = pseudos[species]
        return [(l, pseudo.projectors(i, q2)) for i, l in enumerate(pseudo.angular_momenta)]

    return atom_functions(basis, form_factors, ks)


def chunks_of_projectors(basis: PlaneWaveBasis, nproj: int) -> list[slice]:
    """k-points whose projectors, `nproj` at each, are in memory at once."""
    step = max(1, _PROJECTOR_BYTES // (16 * max(1, nproj) * basis.npw))
    return [slice(k, min(k + step, basis.nk)) for k in range(0, basis.nk, step)]


def nonlocal_energy(
    basis: PlaneWaveBasis,
    pseudos: Mapping[str, Pseudopotential],
    orbitals: Tensor,
    weighted_occupations: Tensor,
    ks: slice = slice(None),
) -> Tensor:
    """Nonlocal energy of the orbitals at some k-points.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    orbitals, weighted_occupations : Tensor
        Coefficients (nspin, nk, nband, npw), and electrons per state times the k-point's weight,
        (nspin, nk, nband), of all k-points.
    ks : slice, optional
        k-points to sum over; the projectors of a large cell then need not be in memory at once.

    Returns
    -------
    Tensor
        0-d, Hartree per cell.

    Examples
    --------
    A uniform orbital overlaps only with the two s projectors of each atom:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> uniform, one = torch.eye(1, basis.npw).to(torch.complex128)[None, None], torch.ones(1, 1, 1)
    >>> s, h = projectors(basis, pseudos)[0, :2, 0].real, pseudos["Si"].channels[0].coupling
    >>> bool(torch.isclose(nonlocal_energy(basis, pseudos, uniform, one), 2 * s @ h @ s))
    True
    """
    waves = projectors(basis, pseudos, ks)
    overlaps = orbitals[:, ks] @ waves.conj().transpose(-1, -2)  # (nspin, nk, nband, nproj)
    coupling = coupling_matrix(basis, pseudos).to(overlaps.dtype)
    per_state = ((overlaps @ coupling) * overlaps.conj()).real.sum(-1)
    return (per_state * weighted_occupations[:, ks]).sum()


class Nonlocal(OrbitalTerm):
    """Energy of the orbitals in the nonlocal pseudopotentials.

    Parameters
    ----------
    pseudos : mapping of str to Pseudopotential
        One for every species.
    """

    name = "nonlocal"

    def __init__(self, pseudos: Mapping[str, Pseudopotential]) -> None:
        self._pseudos = pseudos

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points whose projectors are in memory at once."""
        return chunks_of_projectors(basis, len(coupling_matrix(basis, self._pseudos)))

    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """See `nonlocal_energy`."""
        return nonlocal_energy(basis, self._pseudos, orbitals, weighted_occupations, ks)
