"""Exchange-correlation energy and potential of a density on the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import split_fields
from deepchem_xc.planewave.pseudo import Pseudopotential
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.local import superpose_atoms

if TYPE_CHECKING:
    from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional


def density_information(
    basis: PlaneWaveBasis, functional: XCFunctional, density: Tensor, core: Tensor | None
) -> ValGrad | SpinParam:
    """What the functional asks for, on the flattened grid.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid.
    functional : XCFunctional
        Its ingredients say whether gradients are needed.
    density : Tensor
        Valence density, (nspin, nG), bohr^-3; for meta-GGAs stacked with the kinetic energy
        density, (2, nspin, nG), Hartree bohr^-3.
    core : Tensor or None
        Core density (nG,) that the functional sees too (non-linear core correction), shared
        equally by the channels.

    Returns
    -------
    ValGrad or SpinParam[ValGrad]
        One channel gives a `ValGrad` of the total density, two give up and down: values (nr,) in
        bohr^-3 and, where they are needed, gradients (3, nr) in bohr^-4.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.density_g), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> seen = density_information(basis, get_xc("PBE"), density, core=None)
    >>> round(float(seen.value.mean()), 9), float(seen.grad.abs().max())
    (0.03, 0.0)
    """
    from deepchem_xc.xc import Ingredients, SpinParam, ValGrad

    density, kinetic = split_fields(density)
    nspin = density.shape[0]
    if core is not None:
        density = density + core / nspin
    kinetic_values = None if kinetic is None else basis.to_grid(kinetic).flatten(1)
    values = basis.to_grid(density).flatten(1)  # (nspin, nr)
    channels = []
    for spin in range(nspin):
        gradient = None
        if Ingredients.GRADIENT in functional.ingredients:
            gradient = basis.gradient(density[spin]).flatten(1)  # (3, nr)
        kin = None if kinetic_values is None else kinetic_values[spin]
        channels.append(ValGrad(value=values[spin], grad=gradient, kin=kin))
    return channels[0] if nspin == 1 else SpinParam(u=channels[0], d=channels[1])


def xc_energy(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    density: Tensor,
    core: Tensor | None = None,
) -> Tensor:
    """XC energy of a density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and volume.
    functional : XCFunctional
        Any; its ingredients say what of the density it needs.
    density : Tensor
        Valence density, (nspin, nG), bohr^-3, or (2, nspin, nG) with the kinetic energy density.
    core : Tensor, optional
        Core density that the functional sees too, (nG,), bohr^-3.

    Returns
    -------
    Tensor
        0-d, Hartree per cell. Its derivatives by the density are looked at as well, when they are
        computed.

    Raises
    ------
    FunctionalValueError
        If the energy, or a first or second derivative, is NaN or infinite; it names the functional
        and the density at such a point.

    Examples
    --------
    Dirac's exchange of a uniform gas, -3/4 (3/pi)^(1/3) n^(4/3) of energy per volume:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.density_g), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> energy = xc_energy(basis, get_xc("lda_x"), density) / basis.volume
    >>> print(f"{energy:.6f} {-0.75 * (3 / torch.pi) ** (1 / 3) * 0.03 ** (4 / 3):.6f}")
    -0.006885 -0.006885
    """
    from deepchem_xc.xc import integrated_energy

    if density.requires_grad:
        density = _watched(basis, functional, density, core)
    information = density_information(basis, functional, density, core)
    return integrated_energy(functional, information, basis.volume / basis.ngrid)


def _watched(
    basis: PlaneWaveBasis, functional: XCFunctional, density: Tensor, core: Tensor | None
) -> Tensor:
    """The same density; whatever is differentiated through it has to be finite."""
    from deepchem_xc.xc import check_finite

    given = density.detach()
    core = None if core is None else core.detach()

    def check(derivative: Tensor) -> None:
        if not bool(torch.isfinite(derivative).all()):
            with torch.no_grad():
                information = density_information(basis, functional, given, core)
            check_finite(functional, information, derivative, order=2)

    watched = density.view_as(density)
    watched.register_hook(check)
    return watched


def xc_potential(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    density: Tensor,
    core: Tensor | None = None,
    create_graph: bool = False,
) -> tuple[Tensor, Tensor]:
    """XC energy, and its derivative with respect to the density.

    The derivative is taken by autograd through the whole expression, so the potential is exactly
    consistent with the energy on this grid, whatever the functional.

    Parameters
    ----------
    basis, functional, density, core
        As for `xc_energy`.
    create_graph : bool, optional
        Keep the graphs of both results, to the density and the functional's parameters.

    Returns
    -------
    energy : Tensor
        0-d, Hartree per cell.
    potential : Tensor
        (nspin, nG), Hartree, symmetrised as the density is; (2, nspin, nG) where the kinetic
        energy density was given, whose part of it has no unit.

    Examples
    --------
    Of a uniform gas exchange makes -(3 n / pi)^(1/3):

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.density_g), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> _, potential = xc_potential(basis, get_xc("lda_x"), density)
    >>> print(f"{potential[0, 0].real:.6f} {-((3 * 0.03 / torch.pi) ** (1 / 3)):.6f}")
    -0.305983 -0.305983
    """
    with torch.enable_grad():
        variable = density if density.requires_grad else density.detach().requires_grad_()
        energy = xc_energy(basis, functional, variable, core)
        (derivative,) = torch.autograd.grad(energy, variable, create_graph=create_graph)
    potential = basis.symmetrize(derivative / basis.volume)
    return (energy, potential) if create_graph else (energy.detach(), potential.detach())


def core_density(basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential]) -> Tensor | None:
    """Core density of all atoms, (nG,), bohr^-3, or None where no pseudopotential carries one."""
    if not any(pseudos[species].has_core_density for species in basis.crystal.species):
        return None

    def form_factor(pseudo: Pseudopotential, q2: Tensor) -> Tensor:
        return pseudo.core_density(q2) if pseudo.has_core_density else torch.zeros_like(q2)

    return superpose_atoms(basis, pseudos, form_factor)


class ExchangeCorrelation(DensityTerm):
    """Exchange and correlation of the electrons, core densities included.

    Parameters
    ----------
    functional : XCFunctional
        Any.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    """

    name = "xc"

    def __init__(self, functional: XCFunctional, pseudos: Mapping[str, Pseudopotential]) -> None:
        self._functional, self._pseudos = functional, pseudos
        self._kept: tuple[PlaneWaveBasis, Tensor | None] | None = None

    def energy(self, basis: PlaneWaveBasis, fields: Tensor) -> Tensor:
        """See `xc_energy`."""
        return xc_energy(basis, self._functional, fields, core_density(basis, self._pseudos))

    def potential(self, basis: PlaneWaveBasis, fields: Tensor) -> tuple[Tensor, Tensor]:
        """See `xc_potential`."""
        if self._kept is None or self._kept[0] is not basis:
            self._kept = basis, core_density(basis, self._pseudos)
        energy, potential = xc_potential(basis, self._functional, fields, self._kept[1])
        return potential, energy - basis.volume * (potential.conj() * fields).real.sum()
