"""Local part of the pseudopotentials, and superpositions of atoms on the density sphere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.pseudo import AtomicPotential, Pseudopotential
from deepchem_xc.planewave.terms.base import DensityTerm, IonTerm
from deepchem_xc.planewave.terms.kept import KeptForBasis

P = TypeVar("P", bound=AtomicPotential)


def structure_factor(
    basis: PlaneWaveBasis, atoms: Sequence[int], scale: Tensor | None = None
) -> Tensor:
    r"""Sum of phases of some atoms on the density sphere.

    .. math:: S_G = \sum_a s_a e^{-iG\tau_a}

    A phase is the product of one for each axis, so that the sum is a product of matrices over the
    box around the sphere, which takes a small part of the time and memory of a phase for every
    atom and G (64 atoms of silicon: a thirtieth of the time).

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere and positions.
    atoms : sequence of int
        Indices of the atoms.
    scale : Tensor, optional
        Factor for every one of them, (natom,) or (n, natom); ones by default.

    Returns
    -------
    Tensor
        Complex, (nG,) or (n, nG).
    """
    positions = basis.crystal.positions[list(atoms)]
    g = basis.g_vectors
    lowest, highest = g.amin(0), g.amax(0)
    sizes = (highest - lowest + 1).tolist()
    x, y, z = (_phases(positions[:, axis], int(lowest[axis]), sizes[axis]) for axis in range(3))
    if scale is not None:
        z = scale.to(z.dtype).unsqueeze(-1) * z
    columns = (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(1)
    strides = torch.tensor([sizes[1] * sizes[2], sizes[2], 1], device=g.device)
    places = ((g - lowest) * strides).sum(-1)
    return (columns.T @ z).flatten(-2)[..., places]


def _phases(coordinates: Tensor, lowest: int, number: int) -> Tensor:
    """exp(-2 pi i x m) for reduced coordinates x and `number` integers m, (natom, number)."""
    m = torch.arange(lowest, lowest + number, dtype=coordinates.dtype, device=coordinates.device)
    angle = -2.0 * torch.pi * coordinates.unsqueeze(-1) * m
    return torch.polar(torch.ones_like(angle), angle)


def superpose_atoms(
    basis: PlaneWaveBasis,
    pseudos: Mapping[str, P],
    form_factor: Callable[[P, Tensor], Tensor],
    scale: Tensor | None = None,
) -> Tensor:
    r"""Coefficients of a superposition of spherical atoms on the density sphere.

    .. math:: f_G = \Omega^{-1} \sum_a s_a f_a(|G|) e^{-iG\tau_a}

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    form_factor : callable
        ``form_factor(pseudo, q2) -> (nG,)``, with q2 in bohr^-2.
    scale : Tensor, optional
        Factor for every atom, (natom,) or (n, natom); ones by default.

    Returns
    -------
    Tensor
        Complex, (nG,) or (n, nG), in the unit of `form_factor` times `scale` over bohr^3: bohr^-3
        for a density whose form factor counts electrons, Hartree for one in Hartree bohr^3.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> density = superpose_atoms(basis, pseudos, lambda si, q2: si.atomic_density(q2))
    >>> round(float(density[0].real * basis.volume), 9)  # electrons
    8.0
    """
    symbols = basis.crystal.symbols
    total: Tensor | None = None
    for species in basis.crystal.species:
        atoms = [i for i, symbol in enumerate(symbols) if symbol == species]
        structure = structure_factor(basis, atoms, None if scale is None else scale[..., atoms])
        part = form_factor(pseudos[species], basis.density_q2) * structure
        total = part if total is None else total + part
    assert total is not None
    return total / basis.volume


def local_potential(basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential]) -> Tensor:
    """Local pseudopotential of all atoms, zero at G = 0.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    pseudos : mapping of str to Pseudopotential
        One for every species.

    Returns
    -------
    Tensor
        (nG,), complex, Hartree.

    Examples
    --------
    It is deepest at the atoms:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> int(basis.to_grid(local_potential(basis, pseudos)).argmin())  # the atom at the origin
    0
    """

    def form_factor(pseudo: Pseudopotential, q2: Tensor) -> Tensor:
        return torch.cat([q2.new_zeros(1), pseudo.local(q2[1:])])

    return superpose_atoms(basis, pseudos, form_factor)


def local_energy(basis: PlaneWaveBasis, potential: Tensor, density: Tensor) -> Tensor:
    """Interaction of a density with a local potential.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides the volume.
    potential : Tensor
        (nG,), Hartree.
    density : Tensor
        (nspin, nG), bohr^-3.

    Returns
    -------
    Tensor
        0-d, Hartree per cell.

    Examples
    --------
    The volume integral of their product:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> density = basis.to_sphere(torch.rand(1, *basis.fft_size, dtype=torch.float64))
    >>> potential = basis.to_sphere(torch.rand(basis.fft_size, dtype=torch.float64))
    >>> mean = (basis.to_grid(potential) * basis.to_grid(density)[0]).mean()
    >>> bool(torch.isclose(local_energy(basis, potential, density), mean * basis.volume))
    True
    """
    return basis.volume * (potential.conj() * density.sum(0)).real.sum()


def core_energy(basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential]) -> Tensor:
    r"""Energy of the non-Coulomb part of the local potentials at G = 0 ("alpha Z").

    .. math:: E = \frac{N}{\Omega} \sum_a \alpha_a

    Parameters
    ----------
    basis : PlaneWaveBasis
        Atoms and volume.
    pseudos : mapping of str to Pseudopotential
        One for every species.

    Returns
    -------
    Tensor
        0-d, Hartree per cell.

    References
    ----------
    J. Ihm, A. Zunger, M. L. Cohen, J. Phys. C 12, 4409 (1979).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> pseudos = load_pseudopotentials("gth-pbe", ["Si"])
    >>> expected = 8 * 2 * pseudos["Si"].alpha / basis.volume
    >>> bool(torch.isclose(core_energy(basis, pseudos), expected))
    True
    """
    symbols = basis.crystal.symbols
    electrons = sum(pseudos[symbol].valence for symbol in symbols)
    return electrons * sum(pseudos[symbol].alpha for symbol in symbols) / basis.volume


class Local(DensityTerm):
    """Energy of the electrons in the local pseudopotentials.

    Parameters
    ----------
    pseudos : mapping of str to Pseudopotential
        One for every species.
    """

    name = "local"

    def __init__(self, pseudos: Mapping[str, Pseudopotential]) -> None:
        self._pseudos = pseudos
        self._potential = KeptForBasis(partial(local_potential, pseudos=pseudos))

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """See `local_energy`."""
        return local_energy(basis, local_potential(basis, self._pseudos), fields.density)

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """See `local_potential`; computed once, because it does not depend on the density."""
        potential = Potential(self._potential.of(basis).unsqueeze(0))
        return potential, basis.volume.new_zeros(())


class Core(IonTerm):
    """Energy of the local pseudopotentials at G = 0.

    Parameters
    ----------
    pseudos : mapping of str to Pseudopotential
        One for every species.
    """

    name = "core"

    def __init__(self, pseudos: Mapping[str, Pseudopotential]) -> None:
        self._pseudos = pseudos

    def energy(self, basis: PlaneWaveBasis) -> Tensor:
        """See `core_energy`."""
        return core_energy(basis, self._pseudos)
