"""Mixing: the next fields from the fields and residuals of earlier steps.

Anderson's method [1]_ finds the combination of past residuals that is smallest in the Coulomb
metric (`deepchem_xc.numerics.anderson`). The residual of the total density is screened as the
electrons at the Fermi level would screen it (`screening`), and no step gives up a growing
magnetisation.

References
----------
.. [1] D. G. Anderson, J. ACM 12, 547 (1965).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.numerics.anderson import Anderson
from deepchem_xc.numerics.vectors import Inner
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, stack
from deepchem_xc.planewave.loop.screening import coulomb_metric, participation_ratio, screen
from deepchem_xc.planewave.values import real_number, whole_number

# Density of states, per Hartree and electron, below which a crystal does not screen like a metal.
_NEGLIGIBLE_STATES = 1e-3

#: Function of the basis, the residual of the total density and the local density of states, (nG,)
#: each; returns the residual to step along, (nG,).
Preconditioner = Callable[[PlaneWaveBasis, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Mixing:
    """Options for making the next density from earlier ones.

    Parameters
    ----------
    beta : float, optional
        Step along the preconditioned residual, between 0 and 1.
    history : int, optional
        Number of earlier steps to combine; 0 is plain mixing.
    preconditioner : str, callable or None, optional
        ``"auto"`` uses the local density of states at the Fermi level if its states extend through
        the crystal, ``"ldos"`` always does, and None never. A function takes basis, residual of the
        total density and local density of states, (nG,) each, and returns the residual to step
        along.
    keep_moment : bool, optional
        Refuse steps that reduce the start's magnetisation while the residual says that it grows:
        otherwise the loop may converge to an unstable non-magnetic state. Has no effect if the
        levels at the Fermi energy are localised, as in isolated atoms.
    subspace : bool, optional
        If levels at the Fermi energy are localised and the error stays large, make the current
        orbitals self-consistent among each other first, as the partly filled shell of an isolated
        atom needs. Has no effect with Methfessel-Paxton and Marzari-Vanderbilt occupations.
    localised : float, optional
        Part of the cell, 0 to 1, below which levels at the Fermi energy count as localised: the
        participation ratio of their density of states. Measured: Al 0.96, Fe 0.22, Ni 0.16, a slab
        of Al 0.64; isolated atoms of Ti 0.045, Fe 0.017, Ni 0.015, Na and Cl far apart 0.028. With
        0 no level is localised.
    least_moment : float, optional
        Part of the largest magnetisation so far, 0 to 1, below which `keep_moment` regards the
        magnetisation along the start's as lost. Measured: iron that starts with 0.5 mu_B ends with
        2.0 mu_B with the default, and non-magnetic without `keep_moment`.

    Raises
    ------
    ValueError
        For invalid values.

    Examples
    --------
    >>> Mixing(beta=0.3, preconditioner=None)
    Mixing(beta=0.3, history=8, preconditioner=None, keep_moment=True, subspace=True,
           localised=0.06, least_moment=0.8)
    """

    beta: float = 0.8
    history: int = 8
    preconditioner: str | Preconditioner | None = "auto"
    keep_moment: bool = True
    subspace: bool = True
    localised: float = 0.06
    least_moment: float = 0.8

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", real_number(self.beta, "mixing['beta']"))
        if not 0.0 < self.beta <= 1.0:
            raise ValueError(
                f"mixing['beta'] must be above 0 and at most 1, got {self.beta}; "
                f"{Mixing.beta} is the default."
            )
        history = whole_number(self.history, "mixing['history']", minimum=0)
        object.__setattr__(self, "history", history)
        known = self.preconditioner in ("auto", "ldos", None)
        if not known and not callable(self.preconditioner):
            raise ValueError(
                f"mixing['preconditioner'] must be 'auto', 'ldos', None or a function, got "
                f"{self.preconditioner!r}."
            )
        for name in ("keep_moment", "subspace"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(
                    f"mixing[{name!r}] must be True or False, got {getattr(self, name)!r}."
                )
        for name in ("localised", "least_moment"):
            part = real_number(getattr(self, name), f"mixing[{name!r}]")
            object.__setattr__(self, name, part)
            if not 0.0 <= part <= 1.0:
                raise ValueError(
                    f"mixing[{name!r}] must be between 0 and 1, got {part}; "
                    f"{getattr(Mixing, name)} is the default."
                )

    @classmethod
    def of(cls, given: Mixing | Mapping[str, Any] | None) -> Mixing:
        """Return a `Mixing`, or make it from a mapping of its parameters; None is the default.

        Examples
        --------
        >>> Mixing.of({"beta": 0.2}).beta
        0.2
        """
        if isinstance(given, Mixing):
            return given
        names = [field.name for field in fields(cls)]
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(
                f"mixing = {given!r} is not valid: give a dictionary with some of the keys "
                f"{', '.join(names)}, for example mixing={{'beta': 0.3}}."
            )
        unknown = sorted(set(given or {}) - set(names))
        if unknown:
            raise ValueError(f"unknown mixing keys {unknown}; the valid ones are {names}.")
        return cls(**(given or {}))


def to_total_and_moment(density: Tensor) -> Tensor:
    """Convert (up, down) to (total, magnetisation); one channel stays as it is.

    Parameters
    ----------
    density : Tensor
        (..., nspin, nG), in any unit, which the result keeps.

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
    """Convert (total, magnetisation) to (up, down); one channel stays as it is.

    Parameters
    ----------
    density : Tensor
        (..., nspin, nG), in any unit, which the result keeps.

    Examples
    --------
    >>> from_total_and_moment(torch.tensor([[8.0], [2.0]])).tolist()
    [[5.0], [3.0]]
    """
    if density.shape[-2] == 1:
        return density
    total, moment = density.unbind(-2)
    return 0.5 * torch.stack([total + moment, total - moment], dim=-2)


def _coulomb_product(metric: Tensor, volume: Tensor, left: Fields, right: Fields) -> Tensor:
    """Inner product of fields, real and 0-d, twice a Coulomb energy (Ha) over the volume.

    Charges inside of PAW spheres interact with about one Hartree.
    """
    scaled = left.map_waves(lambda leaf: leaf * metric)
    if left.spheres is not None:
        scaled = replace(scaled, spheres=left.spheres / volume)
    return scaled.dot(right)


class AndersonMixer:
    """Anderson mixing of fields on the sphere.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Provides metric and grid.
    nelectrons : float
        Scale for the density of states that counts as zero.
    mixing : Mixing, optional
        Step, history, preconditioner.
    start : Fields, optional
        Fields of the first step, whose magnetisation `Mixing.keep_moment` keeps; the first input
        by default.

    Attributes
    ----------
    inner : callable
        Inner product of residuals of total and moment, (Fields, Fields) -> 0-d.

    Examples
    --------
    A response that overshoots twofold, so that plain iteration would diverge:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wanted = basis.to_sphere(torch.rand(1, *basis.fft_size, dtype=torch.float64))
    >>> mixer, density = AndersonMixer(basis, nelectrons=8.0), torch.zeros_like(wanted)
    >>> for _ in range(2):
    ...     output = wanted - 2.0 * (density - wanted)
    ...     density = mixer.next_fields(Fields(density), Fields(output), None).density
    >>> bool(torch.allclose(density, wanted))
    True
    """

    def __init__(
        self,
        basis: PlaneWaveBasis,
        nelectrons: float,
        mixing: Mixing | None = None,
        start: Fields | None = None,
    ) -> None:
        self.basis = basis
        self.nelectrons = nelectrons
        self.mixing = mixing or Mixing()
        self.inner: Inner[Fields] = partial(_coulomb_product, coulomb_metric(basis), basis.volume)
        self._anderson: Anderson[Fields] = Anderson(self.mixing.history, self.inner)
        self._pattern = None if start is None else _moment(start.map(to_total_and_moment))
        self._largest = 0.0

    def next_fields(self, given: Fields, output: Fields, local_dos: Tensor | None) -> Fields:
        """Input of the next step.

        Parameters
        ----------
        given, output : Fields
            Input and output of the last step.
        local_dos : Tensor or None
            Local density of states at the Fermi level (all channels), (nG,), 1/(Hartree bohr^3);
            None without smearing.

        Returns
        -------
        Fields
            With the same members as the input.
        """
        x = given.map(to_total_and_moment)
        f = output.map(to_total_and_moment) - x
        if self._pattern is None:
            self._pattern = _moment(x)
        localised = self.is_localised(local_dos)
        precondition = self._preconditioner(local_dos, localised)
        new = self._anderson.next_input(x, f, self.mixing.beta, precondition)
        # The moment of an isolated atom follows from its shells, which plain steps would disturb.
        if len(new.density) == 2 and self.mixing.keep_moment and not localised:
            moment = self._moment_kept(_moment(new), _moment(x), _moment(f))
            new = stack([new.map(lambda leaf: leaf[0]), moment])
        return new.map(from_total_and_moment)

    def _preconditioner(
        self, local_dos: Tensor | None, localised: bool
    ) -> Callable[[Fields], Fields] | None:
        """Preconditioner for residuals of total and moment, or None."""
        chosen = self.mixing.preconditioner
        if local_dos is None or chosen is None:
            return None
        if isinstance(chosen, str):
            # An isolated atom's partly filled shell is not a metal, however many states it has.
            if self._has_no_states(local_dos) or (chosen == "auto" and localised):
                return None
            chosen = screen
        return partial(_on_total_density, self.basis, partial(chosen, self.basis), local_dos)

    def _has_no_states(self, local_dos: Tensor) -> bool:
        states = float(local_dos[0].real * self.basis.volume)
        return states <= _NEGLIGIBLE_STATES * self.nelectrons

    def is_localised(self, local_dos: Tensor | None) -> bool:
        """Whether there are states at the Fermi level that fill only a small part of the cell."""
        if local_dos is None or self._has_no_states(local_dos):
            return False
        return participation_ratio(self.basis, local_dos) < self.mixing.localised

    def _moment_kept(self, magnetisation: Fields, last: Fields, residual: Fields) -> Fields:
        """The next magnetisation, replaced by a plain step if it gives up a growing moment.

        `last` and `residual` belong to the last input.

        An unstable non-magnetic state is a solution too, and Anderson's method converges to it as
        readily: it steps backwards along the residual, which itself points away from that state.
        The test uses only the part along the start's magnetisation, so that an antiferromagnet does
        not follow a ferromagnetic part that came from rounding.
        """
        assert self._pattern is not None
        present, grows, step = (
            float(self._pattern.dot(part)) for part in (last, residual, magnetisation - last)
        )
        self._largest = max(self._largest, abs(present))
        least = self.mixing.least_moment * self._largest
        lost = abs(present + step) < least or present * (present + step) < 0.0
        if present * grows > 0.0 and present * step < 0.0 and lost:
            return last + self.mixing.beta * residual
        return magnetisation


def _on_total_density(
    basis: PlaneWaveBasis,
    precondition: Callable[[Tensor, Tensor], Tensor],
    local_dos: Tensor,
    residual: Fields,
) -> Fields:
    """The residual with only its total density preconditioned; moment and tau stay as they are.

    Products on a grid that does not carry the crystal's translations are not symmetric, and real
    orbitals need a potential that is even about the inversion centre: otherwise H depends on which
    two of them share an FFT, and residuals cannot become small.
    """
    density = residual.density.clone()
    density[:1] = basis.symmetrize(precondition(density[0], local_dos).unsqueeze(0))
    return replace(residual, density=density)


def _moment(fields: Fields) -> Fields:
    """Magnetisation from fields of total and moment, (nG,) each; the total if one channel."""
    return fields.map(lambda leaf: leaf[-1])
