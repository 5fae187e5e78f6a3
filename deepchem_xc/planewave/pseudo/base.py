"""The contract of a pseudopotential, which every format in this folder fulfils.

A norm-conserving pseudopotential (Hamann, Schlueter, Chiang, Phys. Rev. Lett. 43, 1494 (1979))
replaces the nucleus and the core electrons of an atom by

* a local potential V(r) that tends to -Z/r, where Z is the number of valence electrons,
* separable projectors (Kleinman, Bylander, Phys. Rev. Lett. 48, 1425 (1982); Bloechl, Phys. Rev.
  B 41, 5414 (1990)): sum over l, m, i, j of |p_i Y_lm> D_ij <p_j Y_lm|,
* sometimes a partial core density for the non-linear core correction (Louie, Froyen, Cohen,
  Phys. Rev. B 26, 1738 (1982)).

The plane-wave code needs only their Fourier transforms, the *form factors*. All of them are
functions of q2 = |q|^2 in bohr^-2, given as a float64 tensor of any shape on any device; they
return Hartree atomic units on that device and can be differentiated at least twice by autograd,
also at q2 = 0 (except `local`, which diverges there). This is why they take q2 instead of |q|,
which has no derivative at zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from .radial import RadialTransform

__all__ = ["AtomicPotential", "Channel", "FreeAtom", "Pseudopotential"]


@dataclass(frozen=True, eq=False)
class Channel:
    """The projectors of one angular momentum.

    Attributes
    ----------
    l : int
        Angular momentum.
    coupling : Tensor
        Symmetric matrix D_ij in Hartree, shape (n, n) for n projectors, float64 on the CPU.
    """

    l: int
    coupling: Tensor


class FreeAtom(Protocol):
    """The spherical atom of a potential, from which the self-consistent field starts."""

    @property
    def unpaired(self) -> float:
        """Electrons that can be unpaired in the open shell, the largest starting moment."""
        ...

    @property
    def density(self) -> RadialTransform:
        """Form factor of the valence density, in electrons."""
        ...

    @property
    def open_shell(self) -> RadialTransform:
        """Form factor of the density of one electron in the shell that carries a moment."""
        ...

    def orbitals(self, q2: Tensor) -> list[tuple[int, Tensor]]:
        """Angular momentum l and form factors, over q^l, (n, *q2.shape), of occupied states."""
        ...


class AtomicPotential(ABC):
    """What every potential of an element has: projectors, a core density, a free atom.

    Attributes
    ----------
    symbol : str
        Chemical symbol.
    name : str
        Name within its family, or of the file it was read from.
    valence : float
        Number of valence electrons Z.
    functional : str or None
        Functional with which it was made ("PBE", "LDA", ...), None if unknown.
    angular_momenta : tuple of int
        l of each channel of projectors.
    """

    symbol: str
    name: str
    valence: float
    functional: str | None

    @property
    @abstractmethod
    def angular_momenta(self) -> tuple[int, ...]:
        """l of each channel of projectors."""

    @abstractmethod
    def projectors(self, channel_index: int, q2: Tensor) -> Tensor:
        """Form factors of the projectors of one channel.

        Parameters
        ----------
        channel_index : int
            Index into `angular_momenta`.
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, zero allowed.

        Returns
        -------
        Tensor
            ``4 pi int r^2 p_i(r) j_l(qr) dr / q^l``, shape ``(n, *q2.shape)``. Multiplied by the
            real solid harmonic q^l Y_lm(q) and divided by the square root of the cell's volume,
            this is the Fourier coefficient of p_i Y_lm, up to a phase that cancels in the energy.
        """

    @property
    def has_core_density(self) -> bool:
        """Whether there is a partial core density (non-linear core correction)."""
        return False

    def core_density(self, q2: Tensor) -> Tensor:
        """Form factor of the partial core density.

        Parameters
        ----------
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, zero allowed.

        Returns
        -------
        Tensor
            4 pi int r^2 n_core(r) sin(qr)/(qr) dr, the number of partial core electrons at
            q2 = 0.

        Raises
        ------
        ValueError
            If the potential has no core density (see `has_core_density`).
        """
        raise ValueError(
            f"the pseudopotential {self.name!r} of {self.symbol} has no core density; "
            "check has_core_density first"
        )

    @property
    def has_core_kinetic_density(self) -> bool:
        """Whether the kinetic energy density of the core is known, as meta-GGAs need it."""
        return False

    def core_kinetic_density(self, q2: Tensor) -> Tensor:
        """Form factor of the core's kinetic energy density.

        Parameters
        ----------
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, zero allowed.

        Returns
        -------
        Tensor
            4 pi int r^2 tau_core(r) sin(qr)/(qr) dr, Hartree.

        Raises
        ------
        ValueError
            If the potential does not hold it (see `has_core_kinetic_density`).
        """
        raise ValueError(
            f"the potential {self.name!r} of {self.symbol} has no kinetic energy density of its "
            "core; check has_core_kinetic_density first"
        )

    @property
    @abstractmethod
    def atom(self) -> FreeAtom:
        """Spherical atom of this potential, from which the self-consistent field starts."""

    def atomic_density(self, q2: Tensor) -> Tensor:
        """Form factor of the valence density from which the self-consistent field starts.

        Parameters
        ----------
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, zero allowed.

        Returns
        -------
        Tensor
            4 pi int r^2 n(r) sin(qr)/(qr) dr, equal to `valence` at q2 = 0.
        """
        return self.atom.density(q2)[0]

    def definition(self) -> dict[str, NDArray[Any]] | None:
        """Arrays that determine local potential, projectors, core density and valence charge.

        They are hashed (`potential_digest`), so they must be the same in every process and on every
        machine. None, the default, stands for rounded values of the form factors; a format that
        keeps its input returns that.
        """
        return None


class Pseudopotential(AtomicPotential):
    """A norm-conserving pseudopotential of one element, in reciprocal space.

    Attributes
    ----------
    alpha : float
        Limit of ``local(q2) + 4 pi Z / q2`` for q2 -> 0, in Hartree bohr^3. It contributes
        N_electrons / volume * (sum of alpha over the atoms) to the energy per cell.
    channels : tuple of Channel
        One entry per angular momentum that has projectors.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotential
    >>> calcium = load_pseudopotential("gth-pbe", "Ca")
    >>> calcium
    <GTHPseudopotential Ca 'GTH-PBE-q10', valence 10, functional PBE, projectors {...}>
    >>> round(float(calcium.atomic_density(torch.zeros(1, dtype=torch.float64))), 9)  # electrons
    10.0
    """

    alpha: float
    channels: tuple[Channel, ...]

    @abstractmethod
    def local(self, q2: Tensor) -> Tensor:
        """Form factor of the local potential.

        Parameters
        ----------
        q2 : Tensor
            Squared wave vectors in bohr^-2, any shape, all greater than zero.

        Returns
        -------
        Tensor
            4 pi int r^2 V(r) sin(qr)/(qr) dr in Hartree bohr^3, with the shape of `q2`; it includes
            the Coulomb part -4 pi Z / q2.
        """

    @property
    def angular_momenta(self) -> tuple[int, ...]:
        """l of each channel of projectors."""
        return tuple(channel.l for channel in self.channels)

    def __repr__(self) -> str:
        projectors = ", ".join(f"l={c.l}: {c.coupling.shape[0]}" for c in self.channels)
        return (
            f"<{type(self).__name__} {self.symbol} {self.name!r}, valence {self.valence:g}, "
            f"functional {self.functional}, projectors {{{projectors}}}>"
        )
