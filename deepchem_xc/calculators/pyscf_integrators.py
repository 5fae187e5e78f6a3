"""How PySCF meets a functional of this package: `XCCode` in ``mf.xc``, and what evaluates it.

PySCF describes functionals by strings in ``mf.xc`` and hands these to ``mf._numint``, its
integrator, which asks libxc about them: their family, their exact exchange, their derivatives.
Here ``mf.xc`` holds an `XCCode`, which carries the functional, and the integrator answers for it.
Every string still goes to libxc, so that ``mf.xc = "b3lyp"`` is B3LYP again. An `XCCode` that meets
an integrator of PySCF's own fails ("DEEPCHEM_XC not found") and never becomes another functional.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pyscf.dft import libxc, numint
from pyscf.pbc.dft import numint as periodic_numint

from deepchem_xc.xc import LibXC, XCFunctional, exchange_shares
from deepchem_xc.xc.density_derivatives import HIGHEST_ORDER, energy_derivatives, number_of_rows

__all__ = ["INTEGRATORS", "XCCode"]

_TYPES = {1: "LDA", 4: "GGA", 5: "MGGA"}
_NAME = "deepchem_xc"


class XCCode:
    """A functional where PySCF expects the name of one.

    It is no string, because PySCF's parser has to reject it where this package's integrator is
    missing. Iteration yields two names, as of PySCF's pairs of exchange and correlation: what reads
    pairs (density fitting asks libxc whether a pair is a hybrid) sees whether this is one, and
    libxc's parser does not know both names.

    Parameters
    ----------
    functional : XCFunctional
        Any.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> print(XCCode(PBE()))
    deepchem_xc:PBE
    """

    def __init__(self, functional: XCFunctional) -> None:
        self.functional = functional

    def __iter__(self) -> Iterator[Any]:
        return iter(("HF" if self.is_hybrid else _Unknown(), _Unknown()))

    def __str__(self) -> str:
        return f"{_NAME}:{self.functional.name or type(self.functional).__name__}"

    def __repr__(self) -> str:
        return f"<{self}>"

    # PySCF searches names for those of Laplacian functionals and dispersion corrections: the
    # user's own name must not resemble one.
    def upper(self) -> str:
        """Upper case, as of strings."""
        return _NAME.upper()

    def lower(self) -> str:
        """Lower case, as of strings."""
        return _NAME

    @property
    def xc_type(self) -> str:
        """PySCF's name of the family: "LDA", "GGA" or "MGGA"."""
        return _TYPES[number_of_rows(self.functional.ingredients)]

    @property
    def is_hybrid(self) -> bool:
        """Whether it declares exact exchange."""
        return bool(exchange_shares(self.functional))

    @property
    def range_coefficients(self) -> tuple[float, float, float]:
        """Omega, fraction of exact exchange at long range, and what is added at short range."""
        shares = {w: float(a) for w, a in exchange_shares(self.functional).items()}
        everywhere = shares.pop(0.0, 0.0)
        omega, long = next(iter(shares.items()), (0.0, 0.0))
        return omega, everywhere + long, -long

    @property
    def highest_order(self) -> int:
        """Highest order of its derivatives: 3, or 2 if a part of it is libxc's."""
        borrowed = any(isinstance(part, LibXC) for part in self.functional.modules())
        return 2 if borrowed else HIGHEST_ORDER


class _Unknown:
    """A name that libxc's parser rejects; without parts, it is no hybrid."""

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __str__(self) -> str:
        return _NAME


class _Library:
    """PySCF's interface to libxc, which also knows `XCCode`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(libxc, name)

    def xc_type(self, xc_code: Any) -> str:
        kind: str = xc_code.xc_type if isinstance(xc_code, XCCode) else libxc.xc_type(xc_code)
        return kind

    def is_lda(self, xc_code: Any) -> bool:
        return self.xc_type(xc_code) == "LDA"

    def is_gga(self, xc_code: Any) -> bool:
        return self.xc_type(xc_code) == "GGA"

    def is_meta_gga(self, xc_code: Any) -> bool:
        return self.xc_type(xc_code) == "MGGA"

    def needs_laplacian(self, xc_code: Any) -> bool:
        return not isinstance(xc_code, XCCode) and libxc.needs_laplacian(xc_code)

    def is_hybrid_xc(self, xc_code: Any) -> bool:
        known = isinstance(xc_code, XCCode)
        return xc_code.is_hybrid if known else libxc.is_hybrid_xc(xc_code)

    def is_nlc(self, xc_code: Any) -> bool:
        return not isinstance(xc_code, XCCode) and libxc.is_nlc(xc_code)

    def hybrid_coeff(self, xc_code: Any, spin: int = 0) -> Any:
        if isinstance(xc_code, XCCode):
            _, long, added = xc_code.range_coefficients
            return long + added
        return libxc.hybrid_coeff(xc_code, spin)

    def rsh_coeff(self, xc_code: Any) -> Any:
        known = isinstance(xc_code, XCCode)
        return xc_code.range_coefficients if known else libxc.rsh_coeff(xc_code)

    def nlc_coeff(self, xc_code: Any) -> Any:
        return () if isinstance(xc_code, XCCode) else libxc.nlc_coeff(xc_code)

    def xc_reference(self, xc_code: Any) -> Any:
        return [str(xc_code)] if isinstance(xc_code, XCCode) else libxc.xc_reference(xc_code)

    def max_deriv_order(self, xc_code: Any) -> Any:
        if isinstance(xc_code, XCCode):
            return xc_code.highest_order
        return libxc.max_deriv_order(xc_code)

    def test_deriv_order(self, xc_code: Any, deriv: int, raise_error: bool = False) -> Any:
        if not isinstance(xc_code, XCCode):
            return libxc.test_deriv_order(xc_code, deriv, raise_error)
        if deriv > xc_code.highest_order and raise_error:
            raise NotImplementedError(
                f"this needs derivatives of order {deriv} of the functional, and {xc_code} has "
                f"{xc_code.highest_order}, because a part of it is evaluated by libxc: use a "
                "functional written in torch, or name libxc's functional in mf.xc"
            )
        return deriv <= xc_code.highest_order

    def define_xc_(self, ni: Any, description: Any, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError(
            "define_xc_ changes an integrator that to_pyscf has made, and mf.xc would still hold "
            "the earlier functional: make a new mf, or assign a name to mf.xc"
        )

    def eval_xc(self, xc_code: Any, *arguments: Any, **keywords: Any) -> Any:
        _refuse_contracted(xc_code)
        return libxc.eval_xc(xc_code, *arguments, **keywords)

    def eval_xc1(self, xc_code: Any, *arguments: Any, **keywords: Any) -> Any:
        _refuse_contracted(xc_code)
        return libxc.eval_xc1(xc_code, *arguments, **keywords)

    def eval_xc_eff(self, xc_code: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(xc_code, XCCode):
            return _Integrator().eval_xc_eff(xc_code, *arguments, **keywords)
        return libxc.eval_xc_eff(xc_code, *arguments, **keywords)


def _refuse_contracted(xc_code: Any) -> None:
    if isinstance(xc_code, XCCode):
        raise NotImplementedError(
            "PySCF asks for derivatives with respect to |grad n|^2, as its electron-phonon module "
            f"does; {xc_code} has those with respect to the components of the gradient, which "
            "eval_xc_eff returns"
        )


class _Knows:
    """Part of an integrator that evaluates `XCCode`."""

    libxc = _Library()

    def eval_xc_eff(
        self,
        xc_code: Any,
        rho: Any,
        deriv: int = 1,
        omega: Any = None,
        xctype: Any = None,
        verbose: Any = None,
        spin: Any = None,
    ) -> Any:
        """Energy per electron and its derivatives in PySCF's order and shapes."""
        if isinstance(xc_code, XCCode):
            return _evaluated(xc_code, rho, deriv, spin)
        above: Any = super()
        return above.eval_xc_eff(xc_code, rho, deriv, omega, xctype, verbose, spin)


def _evaluated(xc_code: XCCode, rho: Any, deriv: int, spin: int | None) -> list[Any]:
    rho = np.asarray(rho, dtype=np.float64)
    rows = number_of_rows(xc_code.functional.ingredients)
    if rows == 5 and rho.shape[-2] == 6:
        rho = rho[..., [0, 1, 2, 3, 5], :]  # without the Laplacian
    if spin is None:
        spin = int(rho.ndim >= 2 and rho.shape[0] == 2)
    npoint = rho.shape[-1]
    density = rho.reshape(spin + 1, -1, npoint)
    energy, *derivatives = energy_derivatives(xc_code.functional, density, deriv)
    electrons = density[:, 0].sum(0)
    # PySCF multiplies by the density again; where that is zero, so is the energy.
    per_electron = np.divide(energy, electrons, out=np.zeros(npoint), where=electrons != 0.0)
    variables = (rows,) if spin == 0 else (2, rows)
    shaped = [
        values.reshape(variables * (order + 1) + (npoint,))
        for order, values in enumerate(derivatives)
    ]
    return [per_electron, *shaped, *[None] * (3 - len(shaped))]


class _Integrator(_Knows, numint.NumInt):
    """For molecules."""


class _PeriodicIntegrator(_Knows, periodic_numint.NumInt):
    """For crystals at one k-point."""

    def view(self, cls: type) -> Any:
        """As PySCF's, which makes bands along k-points from this integrator."""
        known = INTEGRATORS.get(cls, cls)
        return super().view(known)


class _KPointIntegrator(_Knows, periodic_numint.KNumInt):
    """For crystals with k-points."""


#: The integrator that replaces one of PySCF's, by its class.
INTEGRATORS: dict[type, type] = {
    numint.NumInt: _Integrator,
    periodic_numint.NumInt: _PeriodicIntegrator,
    periodic_numint.KNumInt: _KPointIntegrator,
}
