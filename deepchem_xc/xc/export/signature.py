"""Inputs and outputs of exported programs: names, order, shapes, units.

Squared gradients are the input, not gradients. Functionals depend on nothing else of them, other
codes and libxc pass the same three numbers, the derivative with respect to them exists at zero
gradient, and a program cannot depend on the axes that a code chose. Derivatives with respect to
the gradients follow from it: 2 vsigma[0] grad n for one channel, and for two

    d e / d grad n_up   = 2 vsigma[0] grad n_up   + vsigma[1] grad n_down
    d e / d grad n_down = 2 vsigma[2] grad n_down + vsigma[1] grad n_up

Points are the last axis, so that each row is a contiguous field on a code's grid.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..ingredients import Ingredients

__all__ = ["HEADER", "Quantity", "Signature"]

#: Name of the JSON text inside an exported file, for ``torch.export.load(..., extra_files=...)``.
HEADER = "deepchem_xc.json"

_ROWS = {
    1: {"density": ["total"], "sigma": ["total"]},
    2: {"density": ["up", "down"], "sigma": ["up up", "up down", "down down"]},
}


@dataclass(frozen=True)
class Quantity:
    """One input or output of an exported program.

    Attributes
    ----------
    name : str
        Its name; inputs have it as arguments, too.
    rows : tuple of str
        What its first axis enumerates; empty if its only axis is that of the points.
    unit : str
        Its unit, in Hartree atomic units.
    meaning : str
        Its definition.

    Examples
    --------
    >>> Quantity("exc", (), "Hartree/bohr^3", "energy per volume").shape
    ('n',)
    """

    name: str
    rows: tuple[str, ...]
    unit: str
    meaning: str

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Its shape; ``"n"`` stands for any number of points, 0 included."""
        return (len(self.rows), "n") if self.rows else ("n",)


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of an exported program, in order.

    Attributes
    ----------
    nspin : int
        Number of spin channels, 1 or 2.
    inputs, outputs : tuple of Quantity
        All float64.

    Examples
    --------
    >>> signature = Signature.of(Ingredients.DENSITY | Ingredients.GRADIENT, nspin=2)
    >>> [quantity.name for quantity in signature.inputs]
    ['rho', 'sigma']
    >>> [quantity.shape for quantity in signature.outputs]
    [('n',), (2, 'n'), (3, 'n')]
    """

    nspin: int
    inputs: tuple[Quantity, ...]
    outputs: tuple[Quantity, ...]

    @classmethod
    def of(cls, ingredients: Ingredients, nspin: int) -> Signature:
        """Signature of functionals with these ingredients.

        Parameters
        ----------
        ingredients : Ingredients
            An LDA has ``rho`` alone, a GGA ``sigma`` too, a meta-GGA all three.
        nspin : int
            Number of spin channels, 1 or 2.

        Raises
        ------
        ValueError
            For another number of channels.
        """
        if isinstance(nspin, bool) or nspin not in _ROWS:
            raise ValueError(
                f"nspin must be 1 (total density) or 2 (up and down), got {nspin!r}; for both, "
                "write two files"
            )
        channels, pairs = (tuple(_ROWS[nspin][what]) for what in ("density", "sigma"))
        inputs = [Quantity("rho", channels, "1/bohr^3", "density, negative values count as zero")]
        if Ingredients.GRADIENT in ingredients:
            inputs.append(
                Quantity("sigma", pairs, "1/bohr^8", "scalar products of the density gradients")
            )
        if Ingredients.TAU in ingredients:
            inputs.append(
                Quantity("tau", channels, "Hartree/bohr^3", "sum_i f_i |grad psi_i|^2 / 2")
            )
        units = {"rho": "Hartree", "sigma": "Hartree bohr^5", "tau": "1"}
        outputs = [Quantity("exc", (), "Hartree/bohr^3", "energy per volume, not per electron")]
        outputs += [
            Quantity(f"v{given.name}", given.rows, units[given.name], f"d exc / d {given.name}")
            for given in inputs
        ]
        return cls(int(nspin), tuple(inputs), tuple(outputs))

    def described(self) -> dict[str, Any]:
        """The same as JSON values, for the header of a file."""

        def listed(quantities: tuple[Quantity, ...]) -> list[dict[str, Any]]:
            return [{**asdict(q), "rows": list(q.rows), "shape": list(q.shape)} for q in quantities]

        return {
            "nspin": self.nspin,
            "dtype": "float64",
            "inputs": listed(self.inputs),
            "outputs": listed(self.outputs),
        }
