"""Exchange-correlation energy and potential of a density on the grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential, derivative
from deepchem_xc.planewave.pseudo import AtomicPotential
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.kept import KeptForBasis
from deepchem_xc.planewave.terms.local import superpose_atoms
from deepchem_xc.planewave.terms.superposed import core_density

if TYPE_CHECKING:
    from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional


def density_information(
    basis: PlaneWaveBasis, functional: XCFunctional, fields: Fields, core: Fields | None
) -> ValGrad | SpinParam:
    """Ingredients of the functional on the flattened grid.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid.
    functional : XCFunctional
        Its ingredients determine whether gradients are computed.
    fields : Fields
        Valence density, for meta-GGAs with the kinetic energy density.
    core : Fields or None
        Fields of the cores, with one channel, to add; shared equally by the channels (non-linear
        core correction, PAW's smooth core).

    Returns
    -------
    ValGrad or SpinParam[ValGrad]
        A `ValGrad` of the total density for one channel, up and down for two: values (nr,) in
        bohr^-3 and, if they are needed, gradients (3, nr) in bohr^-4.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> seen = density_information(basis, get_xc("PBE"), Fields(density), core=None)
    >>> round(float(seen.value.mean()), 9), float(seen.grad.abs().max())
    (0.03, 0.0)
    """
    from deepchem_xc.xc import Ingredients, SpinParam, ValGrad

    density = fields.density
    nspin = density.shape[0]
    kinetic = fields.tau
    if core is not None:
        density = density + core.density / nspin
        if kinetic is not None and core.tau is not None:
            kinetic = kinetic + core.tau / nspin
    tau = None if kinetic is None else basis.to_grid(kinetic).flatten(1)
    values = basis.to_grid(density).flatten(1)  # (nspin, nr)
    channels = []
    for spin in range(nspin):
        gradient = None
        if Ingredients.GRADIENT in functional.ingredients:
            gradient = basis.gradient(density[spin]).flatten(1)  # (3, nr)
        kin = None if tau is None else tau[spin]
        channels.append(ValGrad(value=values[spin], grad=gradient, kin=kin))
    return channels[0] if nspin == 1 else SpinParam(u=channels[0], d=channels[1])


def xc_energy(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    fields: Fields,
    core: Fields | None = None,
    step: Fields | None = None,
) -> Tensor:
    """XC energy of a density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and volume.
    functional : XCFunctional
        Any functional.
    fields : Fields
        Valence density, for meta-GGAs with the kinetic energy density.
    core : Fields, optional
        Fields of the cores to add, see `density_information`.
    step : Fields, optional
        Zero, to be added; derivatives are then as `DensityTerm.energy_beside` says.

    Returns
    -------
    Tensor
        0-d, Hartree per cell. Its derivatives with respect to the density are checked when they
        are computed.

    Raises
    ------
    FunctionalValueError
        If the energy, or a first or second derivative, is NaN or infinite; the message names the
        functional and the density at such a point.

    Examples
    --------
    Dirac's exchange of a uniform gas is -3/4 (3/pi)^(1/3) n^(4/3) per volume:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> energy = xc_energy(basis, get_xc("lda_x"), Fields(density)) / basis.volume
    >>> print(f"{energy:.6f} {-0.75 * (3 / torch.pi) ** (1 / 3) * 0.03 ** (4 / 3):.6f}")
    -0.006885 -0.006885
    """
    from deepchem_xc.xc import integrated_energy

    watch = _watch(basis, functional, fields.detach(), core)
    fields = fields.map(watch)
    information = density_information(basis, functional, fields, core)
    if step is not None:
        change = density_information(basis, functional, step.map(watch), None)
        information = _sum(_seen(information, functional.density_threshold), change)
    return integrated_energy(functional, information, basis.volume / basis.ngrid)


def _seen(given: ValGrad | SpinParam, threshold: float) -> ValGrad | SpinParam:
    """Ingredients without the derivative of densities of channels that count as empty.

    Functionals see a constant in an empty channel, and return the derivative there as its
    potential. Their second derivative at this constant, about 1e12 Ha bohr^3, is not that of the
    potential, which does not change with the channel's density.
    """
    from deepchem_xc.xc import SpinParam, ValGrad
    from deepchem_xc.xc.variables import counts_as_empty

    def seen(channel: ValGrad) -> ValGrad:
        value = channel.value
        value = torch.where(counts_as_empty(value, threshold), value.detach(), value)
        return ValGrad(value=value, grad=channel.grad, kin=channel.kin)

    if isinstance(given, ValGrad):  # an empty total density has neither energy nor potential
        return given
    return SpinParam(u=seen(given.u), d=seen(given.d))


def _sum(given: ValGrad | SpinParam, other: ValGrad | SpinParam) -> ValGrad | SpinParam:
    from deepchem_xc.xc import SpinParam, ValGrad

    def added(one: ValGrad, two: ValGrad) -> ValGrad:
        pairs = {name: (getattr(one, name), getattr(two, name)) for name in ("grad", "kin")}
        sums = {name: x + y for name, (x, y) in pairs.items() if x is not None}
        return ValGrad(value=one.value + two.value, **sums)

    if isinstance(given, SpinParam) and isinstance(other, SpinParam):
        return SpinParam(u=added(given.u, other.u), d=added(given.d, other.d))
    assert isinstance(given, ValGrad) and isinstance(other, ValGrad)
    return added(given, other)


def _watch(
    basis: PlaneWaveBasis, functional: XCFunctional, given: Fields, core: Fields | None
) -> Callable[[Tensor], Tensor]:
    """A function that returns a leaf whose derivatives must be finite in a backward pass."""
    from deepchem_xc.xc import check_finite

    core = None if core is None else core.detach()

    def check(derivative: Tensor) -> None:
        if not bool(torch.isfinite(derivative).all()):
            with torch.no_grad():
                information = density_information(basis, functional, given, core)
            check_finite(functional, information, derivative, order=2)

    def watch(leaf: Tensor) -> Tensor:
        if not leaf.requires_grad:
            return leaf
        watched = leaf.view_as(leaf)
        watched.register_hook(check)
        return watched

    return watch


def xc_potential(
    basis: PlaneWaveBasis,
    functional: XCFunctional,
    fields: Fields,
    core: Fields | None = None,
    create_graph: bool = False,
) -> tuple[Tensor, Potential]:
    """XC energy, and its derivative with respect to the fields.

    Autograd differentiates the whole expression, so the potential is exactly consistent with the
    energy on this grid, whatever the functional.

    Parameters
    ----------
    basis, functional, fields, core
        As for `xc_energy`.
    create_graph : bool, optional
        Keep the graph of both results with respect to the density and the functional's parameters.

    Returns
    -------
    energy : Tensor
        0-d, Hartree per cell.
    potential : Potential
        Symmetrised like the density; with `v_tau` if the kinetic energy density was given.

    Examples
    --------
    The exchange potential of a uniform gas is -(3 n / pi)^(1/3):

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.xc import get_xc
    >>> density = torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128)
    >>> density[0, 0] = 0.03  # uniform, bohr^-3
    >>> _, potential = xc_potential(basis, get_xc("lda_x"), Fields(density))
    >>> print(f"{potential.v[0, 0].real:.6f} {-((3 * 0.03 / torch.pi) ** (1 / 3)):.6f}")
    -0.305983 -0.305983
    """
    with torch.enable_grad():
        electrons = fields.to_electrons(basis.volume)
        if not fields.requires_grad:
            electrons = electrons.detach().map(Tensor.requires_grad_)
        energy = xc_energy(basis, functional, electrons.to_densities(basis.volume), core)
        potential = derivative(energy, electrons, create_graph).symmetrized(basis)
    return (energy, potential) if create_graph else (energy.detach(), potential.detach())


def core_fields(
    basis: PlaneWaveBasis, pseudos: Mapping[str, AtomicPotential], tau: bool = False
) -> Fields | None:
    """Fields of all cores, with one channel; None if no potential has a core density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    tau : bool, optional
        Whether the kinetic energy density of the cores is wanted.
    """
    if not any(pseudos[species].has_core_density for species in basis.crystal.species):
        return None

    def kinetic(pseudo: AtomicPotential, q2: Tensor) -> Tensor:
        return pseudo.core_kinetic_density(q2) if pseudo.has_core_density else torch.zeros_like(q2)

    found = Fields(core_density(basis, pseudos).unsqueeze(0))
    if not tau:
        return found
    return replace(found, tau=superpose_atoms(basis, pseudos, kinetic).unsqueeze(0))


class ExchangeCorrelation(DensityTerm):
    """Exchange and correlation of the electrons, including core densities.

    Parameters
    ----------
    functional : XCFunctional
        Any functional.
    pseudos : mapping of str to AtomicPotential
        One for every species.
    """

    name = "xc"

    def __init__(self, functional: XCFunctional, pseudos: Mapping[str, AtomicPotential]) -> None:
        self._functional, self._pseudos = functional, pseudos
        self._core = KeptForBasis(self._core_fields)

    def _core_fields(self, basis: PlaneWaveBasis) -> Fields | None:
        from deepchem_xc.xc import Ingredients

        tau = Ingredients.TAU in self._functional.ingredients
        return core_fields(basis, self._pseudos, tau)

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """See `xc_energy`."""
        return xc_energy(basis, self._functional, fields, self._core_fields(basis))

    def energy_beside(self, basis: PlaneWaveBasis, fields: Fields, step: Fields) -> Tensor:
        """See `DensityTerm.energy_beside`.

        The potential of an empty channel does not depend on how negative its density is.
        """
        return xc_energy(basis, self._functional, fields, self._core_fields(basis), step)

    def left_out(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor | None:
        """See `DensityTerm.left_out`: negative densities of a channel, with the core's share."""
        from deepchem_xc.xc.variables import counts_as_empty

        if len(fields.density) == 1:
            return None
        core = self._core.of(basis)
        density = fields.density if core is None else fields.density + core.density / 2
        values = basis.to_grid(density).flatten(1)
        empty = counts_as_empty(values, self._functional.density_threshold)
        return torch.where(empty, values, 0.0) if bool(empty.any()) else None

    def energy_of_left_out(self, basis: PlaneWaveBasis, fields: Fields, left_out: Tensor) -> Tensor:
        """See `DensityTerm.energy_of_left_out`."""
        from deepchem_xc.xc import SpinParam, ValGrad, integrated_energy

        functional, core = self._functional, self._core_fields(basis)
        seen = density_information(basis, functional, fields, core)
        seen = _seen(seen, functional.density_threshold)
        assert isinstance(seen, SpinParam)
        with torch.enable_grad():
            part = left_out.new_zeros(()).requires_grad_()
            up, down = (
                ValGrad(value=channel.value + part * more, grad=channel.grad, kin=channel.kin)
                for channel, more in zip((seen.u, seen.d), left_out)
            )
            weight = basis.volume / basis.ngrid
            energy = integrated_energy(functional, SpinParam(u=up, d=down), weight)
            (found,) = torch.autograd.grad(energy, part, create_graph=True)
        return found

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """See `xc_potential`."""
        core = self._core.of(basis)
        smooth = replace(fields, spheres=None)
        energy, potential = xc_potential(basis, self._functional, smooth, core)
        return potential, energy - potential.energy(fields, basis.volume)
