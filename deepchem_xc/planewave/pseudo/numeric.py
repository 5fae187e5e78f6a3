"""A pseudopotential given by functions on a radial mesh, from any file format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import Channel, Pseudopotential
from .pseudo_atom import PseudoAtom, aufbau, solve_pseudo_atom
from .radial import RadialTransform, quadrature_weights
from .tables import check_angular_momentum, check_smooth

__all__ = ["NumericPseudopotential", "RadialProjectors"]

_LOCAL_CUTOFF = 10.0  # radius, bohr, beyond which V + Z/r is only the file's rounding error
_DENSITY_HELD = 0.99  # smallest fraction of the electrons in a usable file density


@dataclass(frozen=True, eq=False)
class RadialProjectors:
    """Projectors of one angular momentum on a radial mesh.

    Attributes
    ----------
    l : int
        Angular momentum.
    functions : ndarray, shape (n, nr)
        r p_i(r), in bohr^-1/2.
    coupling : ndarray, shape (n, n)
        D_ij in Hartree.
    """

    l: int
    functions: NDArray
    coupling: NDArray


class NumericPseudopotential(Pseudopotential):
    """A pseudopotential tabulated on a radial mesh.

    Parameters
    ----------
    symbol, name : str
        Chemical symbol, and name of the potential.
    valence : float
        Number of valence electrons.
    functional : str or None
        Functional with which it was made.
    r : ndarray, shape (nr,)
        Mesh in bohr.
    local : ndarray, shape (nr,)
        Local potential in Hartree, -Z/r at large r.
    projectors : sequence of RadialProjectors
        One entry per angular momentum.
    core_density : ndarray, shape (nr,), optional
        Partial core density in bohr^-3.
    valence_density : ndarray, shape (nr,), optional
        Valence density of the atom in bohr^-3, to be scaled to `valence` electrons. Without it, or
        if more than 1 % of the electrons are outside the mesh (PseudoDojo's Ca ends at 4 bohr), the
        atom is solved with this potential when a starting density is needed.
    rab : ndarray, shape (nr,), optional
        dr/di, for meshes that are not equidistant.

    Raises
    ------
    ValueError
        If the mesh, the functions or the couplings are damaged: wrong lengths, not finite, a local
        potential without its Coulomb tail; and for a number of electrons that is not positive.

    Notes
    -----
    The long-range part -Z erf(r/s)/r of the local potential is transformed analytically, and the
    short-range rest on the mesh; s is so small that the split is exact at the end of the mesh.

    Examples
    --------
    A proton smeared out over 0.3 bohr, without projectors; alpha is pi times 0.3 squared:

    >>> import numpy as np
    >>> import torch
    >>> from scipy.special import erf
    >>> from deepchem_xc.planewave.pseudo import NumericPseudopotential
    >>> r = np.linspace(1e-6, 8.0, 801)
    >>> smooth = NumericPseudopotential("H", "smooth", 1.0, None, r, -erf(r / 0.3) / r, ())
    >>> round(smooth.alpha, 6), round(float(torch.pi) * 0.3**2, 6)
    (0.282743, 0.282743)
    """

    def __init__(
        self,
        symbol: str,
        name: str,
        valence: float,
        functional: str | None,
        r: NDArray,
        local: NDArray,
        projectors: Sequence[RadialProjectors],
        core_density: NDArray | None = None,
        valence_density: NDArray | None = None,
        rab: NDArray | None = None,
    ) -> None:
        from scipy.special import erf

        if not (math.isfinite(valence) and valence > 0):
            raise ValueError(f"the number of valence electrons is {valence}: it must be positive")
        self.symbol = symbol
        self.name = name
        self.valence = valence
        self.functional = functional
        weights = quadrature_weights(r, rab)
        named = {"local potential": local, "core density": core_density}
        named["valence density"] = valence_density
        for p in projectors:
            for i, f in enumerate(p.functions):
                named[f"projector {i} of l={p.l}"] = f
        for what, values in named.items():
            if values is not None and (values.shape != r.shape or not np.all(np.isfinite(values))):
                raise ValueError(
                    f"the {what} has {np.count_nonzero(np.isfinite(values))} finite values for "
                    f"{len(r)} mesh points"
                )
            if values is not None and what != "valence density":
                check_smooth(values, what)
        for p in projectors:
            n = len(p.functions)
            for i, f in enumerate(p.functions):
                check_angular_momentum(r, f, p.l, f"projector {i} of l={p.l}")
            if p.coupling.shape != (n, n) or not np.all(np.isfinite(p.coupling)):
                raise ValueError(
                    f"the coupling of the {n} projectors of l={p.l} must be {n} x {n} finite "
                    f"numbers, got {p.coupling.tolist()}"
                )
            empty = [i for i, f in enumerate(p.functions) if not np.any(f)]
            if empty:
                raise ValueError(
                    f"projector {empty[0]} of l={p.l} contains only zeros: it would be lost"
                )
            idle = np.nonzero(~p.coupling.any(axis=1))[0]
            if len(idle) > 0:
                raise ValueError(
                    f"projector {idle[0]} of l={p.l} has no energy (its coupling is zero): "
                    "it would be lost"
                )

        end = int(np.searchsorted(r, _LOCAL_CUTOFF, side="right"))
        tail = r[end - 1] * local[end - 1] + valence
        if r[end - 1] < 1.0 or abs(tail) > 0.02 * valence:
            raise ValueError(
                f"the local potential at r = {r[end - 1]:.2f} bohr is {local[end - 1]:.4f} Ha, "
                f"not the -{valence:g}/r of {valence:g} valence electrons"
            )
        self._width = min(1.0, r[end - 1] / 6.5)
        safe = np.maximum(r[:end], 1e-12)
        coulomb = valence * erf(safe / self._width) / safe
        coulomb = np.where(
            r[:end] < 1e-10, 2.0 * valence / (math.sqrt(math.pi) * self._width), coulomb
        )
        short = r[:end] ** 2 * (local[:end] + coulomb)
        local_weights = quadrature_weights(r[:end], None if rab is None else rab[:end])
        self._short = RadialTransform(0, r[:end], local_weights, short[None])
        self.alpha = float(self._short.at_zero()[0]) + math.pi * valence * self._width**2

        self.channels = tuple(
            Channel(p.l, torch.tensor(p.coupling, dtype=torch.float64)) for p in projectors
        )
        self._projectors = [
            RadialTransform(p.l, r, weights, r * np.atleast_2d(p.functions)) for p in projectors
        ]
        self._core = None
        if core_density is not None:
            self._core = RadialTransform(0, r, weights, (r**2 * core_density)[None])
        self._density: RadialTransform | None = None
        if valence_density is not None:
            shell = r**2 * valence_density
            held = 4.0 * math.pi * float(weights @ shell)
            if held > _DENSITY_HELD * valence:
                self._density = RadialTransform(0, r, weights, shell[None] * (valence / held))
        self._definition = {
            "radii": r,
            "weights": weights,
            "valence": np.array(valence),
            "local": local,
            **{f"projectors of l={p.l}": np.atleast_2d(p.functions) for p in projectors},
            **{f"coupling of l={p.l}": p.coupling for p in projectors},
        }
        if core_density is not None:
            self._definition["core density"] = core_density
        self._solve_atom = partial(
            _atom, symbol, valence, r, local, [(p.l, p.functions, p.coupling) for p in projectors]
        )

    def local(self, q2: Tensor) -> Tensor:
        """Local potential: see `Pseudopotential.local`."""
        coulomb = -4.0 * math.pi * self.valence * torch.exp(-0.25 * self._width**2 * q2) / q2
        return coulomb + self._short(q2)[0]

    def projectors(self, channel_index: int, q2: Tensor) -> Tensor:
        """Projectors of one channel: see `Pseudopotential.projectors`."""
        return self._projectors[channel_index](q2)

    @property
    def has_core_density(self) -> bool:
        """Whether the file has a partial core density."""
        return self._core is not None

    def core_density(self, q2: Tensor) -> Tensor:
        """Partial core density: see `Pseudopotential.core_density`."""
        return super().core_density(q2) if self._core is None else self._core(q2)[0]

    def atomic_density(self, q2: Tensor) -> Tensor:
        """Starting valence density: see `Pseudopotential.atomic_density`."""
        return super().atomic_density(q2) if self._density is None else self._density(q2)[0]

    def definition(self) -> dict[str, NDArray[Any]]:
        """Mesh and functions as given: see `Pseudopotential.definition`."""
        # Zero has two signs.
        return {
            name: np.asarray(array, dtype=np.float64) + 0.0
            for name, array in self._definition.items()
        }

    @cached_property
    def atom(self) -> PseudoAtom:
        """The potential's own atom: see `Pseudopotential.atom`."""
        return self._solve_atom()


def _atom(
    symbol: str,
    valence: float,
    r: NDArray,
    local: NDArray,
    projectors: Sequence[tuple[int, NDArray, NDArray]],
) -> PseudoAtom:
    """Atom of a potential on a mesh; beyond the mesh the potential is -Z/r."""

    def potential(radii: NDArray) -> NDArray:
        outside = -valence / np.maximum(radii, r[-1])
        return np.where(radii < r[-1], np.interp(radii, r, local), outside)

    def on_mesh(functions: NDArray, radii: NDArray) -> NDArray:
        return np.array([np.interp(radii, r, f, right=0.0) for f in functions])

    return solve_pseudo_atom(
        potential,
        [(l, partial(on_mesh, functions), coupling) for l, functions, coupling in projectors],
        aufbau(symbol, valence),
    )
