"""Functionals of this package in PySCF's calculations: `to_pyscf`."""

from __future__ import annotations

import os
import types
from typing import Any

from deepchem_xc.xc import BaseXC, Ingredients, XCFunctional, exchange_shares, get_xc
from deepchem_xc.xc.trial import check_functional

__all__ = ["to_pyscf"]

# What PySCF's integrators provide at a point.
_PROVIDED = (Ingredients.DENSITY, Ingredients.GRADIENT, Ingredients.TAU)
_KINDS = "RKS, UKS and ROKS of pyscf.dft and pyscf.pbc.dft, KRKS, KUKS and KROKS"


def to_pyscf(functional: str | os.PathLike[str] | BaseXC, mf: Any) -> Any:
    """PySCF's calculation `mf` with this functional instead of the one it was made with.

    Parameters
    ----------
    functional : str, path-like or XCFunctional
        A functional, or anything else that :func:`~deepchem_xc.xc.get_xc` takes: a name, or the
        file of a trained functional. An LDA, GGA or meta-GGA. Its present weights are used whenever
        PySCF evaluates it, so that a training continues to be seen.
    mf : pyscf object
        RKS, UKS or ROKS of ``pyscf.dft`` or ``pyscf.pbc.dft``, KRKS, KUKS or KROKS, with or without
        ``density_fit()``, ``newton()``, ``x2c()`` or a solvent. It is changed.

    Returns
    -------
    pyscf object
        `mf` itself, without results of the earlier functional. Its density, taken before as
        ``density = mf.make_rdm1()``, may serve as a first guess, ``mf.kernel(density)``, and for
        the energy at this density, ``mf.energy_tot(density)``. Energies are in Hartree, lengths in
        bohr, as always in PySCF.

    Raises
    ------
    TypeError
        For anything else than a calculation of these kinds.
    ValueError
        For functionals that cannot be computed here (see :func:`~deepchem_xc.xc.get_xc` and
        ``docs/functionals.md``), those that need more than density, gradient, kinetic energy
        density and exact exchange of one range; if `mf` adds nonlocal correlation (``mf.nlc``) or a
        dispersion correction (``mf.disp``); for integrators other than PySCF's standard ones. `mf`
        is then unchanged.

    Notes
    -----
    Nothing of the earlier functional survives, neither exact exchange nor VV10; PySCF adds the
    exact exchange that this one declares. ``mf.xc`` holds the
    functional itself and prints its name. ``mf.xc = "pbe"`` returns to PySCF's own.

    Derivatives are those of autograd to the third order, to the second for functionals that
    are libxc's in this package as well. PySCF's newton, gradients, Hessians, TDDFT and their
    gradients work where they do for its own functionals. Its electron-phonon module, which asks for
    derivatives in another form, and two-component methods (GKS, DKS) raise errors.

    Examples
    --------
    >>> from pyscf import dft, gto
    >>> from deepchem_xc.calculators import to_pyscf
    >>> molecule = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)
    >>> mf = to_pyscf("PBE", dft.RKS(molecule, xc="b3lyp"))
    >>> float(mf.kernel())
    -1.1521
    >>> mf.xc
    <deepchem_xc:PBE>
    """
    from deepchem_xc.calculators.pyscf_integrators import INTEGRATORS, XCCode

    _check_kind(mf)
    xc = get_xc(functional)
    if not isinstance(xc, XCFunctional):
        raise TypeError(f"get_xc gives no XCFunctional for {functional!r}, but {type(xc).__name__}")
    _check_ingredients(xc)
    check_functional(xc)
    layers = _layers(mf)
    integrators = [_integrator(layer, INTEGRATORS) for layer in layers]
    for layer in layers:
        _check_additions(layer)
    for layer, integrator in zip(layers, integrators, strict=True):
        layer.xc = XCCode(xc)
        layer._numint = integrator
        _forget_results(layer)
    return mf


def _check_kind(mf: Any) -> None:
    from pyscf.dft import dks, gks
    from pyscf.dft.rks import KohnShamDFT
    from pyscf.pbc.dft import gks as periodic_gks
    from pyscf.pbc.dft import kgks

    if not isinstance(mf, KohnShamDFT):
        raise TypeError(
            f"to_pyscf takes a Kohn-Sham calculation ({_KINDS}), not {type(mf).__name__}"
            f"{_kind_advice(mf)}"
        )
    two_component = (gks.GKS, dks.KohnShamDFT, periodic_gks.GKS, kgks.KGKS)
    if isinstance(mf, two_component):
        raise TypeError(
            f"{type(mf).__name__} has noncollinear spin, and a functional here reads the densities "
            f"of spin up and down; to_pyscf takes {_KINDS}"
        )


def _kind_advice(mf: Any) -> str:
    if isinstance(mf, BaseXC):
        return ": give the functional first, to_pyscf(functional, mf)"
    if isinstance(mf, (type, types.FunctionType)):
        return f": make one, {mf.__name__}(mol)"
    inner = getattr(mf, "base", None) or getattr(mf, "_scf", None)
    if inner is not None:
        return f", which is made from one: call to_pyscf({type(inner).__name__} object) before it"
    if hasattr(mf, "to_ks"):
        return ", which has no functional: mf.to_ks() makes one that does"
    return ""


def _check_ingredients(xc: XCFunctional) -> None:
    needed = [known for known in Ingredients if known in xc.ingredients]
    missing = [known.name for known in needed if known not in _PROVIDED]
    if missing:
        raise ValueError(
            f"{xc.name} needs {', '.join(map(str, missing))}, which PySCF's integration over "
            "points does not provide: density, gradient and kinetic energy density are available"
        )
    shares = exchange_shares(xc)
    if len(set(shares) - {0.0}) > 1:
        raise ValueError(
            f"{xc.name} declares exact exchange of the ranges omega = {sorted(shares)} (1/bohr), "
            "and PySCF computes one range in a functional"
        )


def _layers(mf: Any) -> list[Any]:
    """The calculation, and those inside it, which newton() evaluates."""
    found = [mf]
    while getattr(found[-1], "_scf", None) is not None:
        found.append(found[-1]._scf)
    return found


def _integrator(mf: Any, known: dict[type, type]) -> Any:
    """The integrator that evaluates functionals of this package for `mf`."""
    given = mf._numint
    for theirs, ours in known.items():
        if type(given) in (theirs, ours):
            made = ours()
            if "cutoff" in vars(given):
                made.cutoff = given.cutoff
            return made
    raise ValueError(
        f"{type(mf).__name__} integrates with {type(given).__module__}.{type(given).__name__}, "
        "which does not evaluate functionals of this package: use the standard integrator, "
        "without multigrid_numint() or a GPU"
    )


def _check_additions(mf: Any) -> None:
    # An empty string leaves the choice to mf.xc, False and 0 switch nonlocal correlation off.
    if getattr(mf, "nlc", "") not in ("", None, False, 0):
        raise ValueError(
            f"mf.nlc = {mf.nlc!r} adds nonlocal correlation to any functional: set mf.nlc = '' "
            "before to_pyscf; set it again afterwards if it belongs to this functional"
        )
    if getattr(mf, "disp", None) not in (None, "", False, 0):
        raise ValueError(
            f"mf.disp = {mf.disp!r} is a dispersion correction whose parameters belong to a named "
            "functional: set mf.disp = None before to_pyscf; 'd3bj:pbe' afterwards adds PBE's"
        )


def _forget_results(mf: Any) -> None:
    """Results of another functional; forces and Hessians then ask for new ones."""
    mf.converged = False
    mf.e_tot = 0
    # All three, because to_uks() converts none of them if there are no energies.
    mf.mo_energy = mf.mo_coeff = mf.mo_occ = None
    mf.scf_summary = {}
