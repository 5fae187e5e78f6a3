"""The C library libxc as PySCF ships it: which functionals it has, which are usable, their values.

Two things are changed in it. First, libxc limits the squared gradient of meta-GGAs to ``8 n tau``
(the Fermi hole's curvature is not negative in exact densities), but only in the energy, so that its
derivatives belong to another energy. This limit is switched off, so that energy and potential
agree for any density and kinetic energy density. Second, a few functionals have infinite
derivatives at zero gradient (of a channel, or of the total density where those of the channels
cancel) or in a vacuum. They are evaluated at a gradient that is never quite zero (1e-5 is added in
squares to the reduced one, a relative change of the energy of about 1e-10), or only down to a
density of 1e-10 / bohr^3.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = [
    "FAMILIES",
    "evaluate",
    "exact_exchange",
    "libxc_identifiers",
    "lifted",
    "treatment",
    "uniform_tau",
    "why_not",
]

FAMILIES = {"LDA": 1, "GGA": 2, "MGGA": 4}
# Flag bits, and the kind "kinetic energy", from libxc's xc.h.
_HAVE_EXC, _HAVE_FXC, _THREE_DIMENSIONAL = 1 << 0, 1 << 2, 1 << 7
_KINETIC = 3
# Hybrids with a Yukawa potential, which PySCF's table does not tell from erf(omega r) / r.
_OTHER_SCREENING = re.compile(r"_camy_|_lcy_|_bn05$|_lb07$")
# Smallest reduced gradient s of a lifted gradient.
_LIFT = 1e-5
# Square of such a gradient of one channel, in units of its density to the power 8/3.
_LIFT_OF_SIGMA = 4.0 * (6.0 * np.pi**2) ** (2.0 / 3.0) * _LIFT**2
# Relative rounding error of squared gradients where those of two channels cancel.
_ROUNDING = 1e-14
# Density threshold of libxc (1 / bohr^3) for functionals whose default one leads to infinities.
_RAISED_THRESHOLD = 1e-10


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """PySCF's interface; imported when first needed, because functionals in torch need none."""
    from pyscf.dft import libxc

    return libxc


@lru_cache(maxsize=1)
def libxc_identifiers() -> dict[str, int]:
    """Identifiers of all functionals of the bundled libxc, in lower case, and their numbers."""
    known = library().available_libxc_functionals()
    return {name.lower(): int(number) for name, number in known.items()}


def evaluate(number: int, rows: np.ndarray, family: int, spin: int, order: int) -> np.ndarray:
    """Energy per particle, then derivatives of the energy per volume up to ``order``.

    Parameters
    ----------
    number : int
        libxc's number, see `libxc_identifiers`.
    rows : ndarray
        (nvariables, npoints): n, sigma, tau; or n_up, n_down, sigma_uu, sigma_ud, sigma_dd, tau_up,
        tau_down, as far as the family needs them; atomic units.
    family : int
        1, 2 or 4.
    spin : int
        1 for two channels, else 0.
    order : int
        1 or 2; second derivatives come last, as an upper triangle, row by row.

    Returns
    -------
    ndarray
        (nout, npoints).
    """
    needs = treatment(number)
    return _evaluate(number, rows, family, spin, order, needs is not None and needs.raised)


def _evaluate(
    number: int, rows: np.ndarray, family: int, spin: int, order: int, raised: bool
) -> np.ndarray:
    name = _own_name(number, raised)
    out: np.ndarray = library().eval_xc1(name, _vectors(rows, family, spin), spin, deriv=order)
    return out


def _vectors(rows: np.ndarray, family: int, spin: int) -> np.ndarray:
    """Densities, gradient vectors with the given scalar products, and tau, in PySCF's order."""
    if family == 1:
        return rows if spin else rows[0]
    shape = (2, 5 if family == 4 else 4, rows.shape[1])
    fields = np.zeros(shape) if spin else np.zeros(shape)[:1]
    fields[:, 0] = rows[: 1 + spin]
    if spin:
        up_up, up_down, down_down = rows[2:5]
        length = np.sqrt(up_up)
        along = up_down / np.where(length > 0.0, length, 1.0)
        fields[0, 1], fields[1, 1] = length, along
        fields[1, 2] = np.sqrt(np.clip(down_down - along**2, 0.0, None))
    else:
        fields[0, 1] = np.sqrt(rows[1])
    if family == 4:
        fields[:, 4] = rows[5:] if spin else rows[2:]
    return fields if spin else fields[0]


def exact_exchange(number: int) -> dict[float, float]:
    """Fractions of exact exchange of a hybrid, by omega: of 1/r for 0, else of erf(omega r)/r.

    Examples
    --------
    >>> exact_exchange(libxc_identifiers()["hyb_gga_xc_hse06"])
    {0.0: 0.25, 0.11: -0.25}
    """
    # PySCF's coefficients: of the long range, and what is added to it at short range.
    omega, long, added = library().rsh_coeff(number)
    shares = {0.0: float(long + added)}
    if omega != 0.0 and added != 0.0:
        shares[float(omega)] = -float(added)
    return shares


def uniform_tau(density: Any) -> Any:
    """Kinetic energy density of a fully polarised uniform gas, Hartree / bohr^3."""
    return 0.3 * (6.0 * np.pi**2) ** (2.0 / 3.0) * density ** (5.0 / 3.0)


@cache
def _own_name(number: int, raised: bool) -> str:
    """Name under which PySCF knows the functional without libxc's limit of sigma."""
    name = f"DEEPCHEM_XC_{number}" + "_RAISED" * raised
    interface = library()._itrf
    # libxc before 7 lacks it; `_mismatch` refuses the functionals that would need it.
    limit = getattr(interface, "xc_func_set_fhc_enforcement", None)
    threshold = interface.xc_func_set_dens_threshold
    threshold.argtypes, threshold.restype = (ctypes.c_void_p, ctypes.c_double), None

    def change(_: Any, objects: dict[int, ctypes.c_void_p], spin: int) -> None:
        for pointer in objects.values():
            if limit is not None:
                limit.argtypes, limit.restype = (ctypes.c_void_p, ctypes.c_int), None
                limit(pointer, 0)
            if raised:
                threshold(pointer, _RAISED_THRESHOLD)

    library().register_custom_functional_(name, number, callback=change)
    return name


@cache
def why_not(number: int) -> str | None:
    """Reason why a functional cannot be used here, or None."""
    pyscf = library()
    functional = pyscf._get_xc(number, 0)
    interface = pyscf._itrf
    for function in (interface.xc_func_info_get_flags, interface.xc_func_info_get_kind):
        function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_int
    info = interface.xc_func_get_info(functional.xc_objs[0])
    flags = interface.xc_func_info_get_flags(info)
    kind = pyscf.xc_type(number)
    if interface.xc_func_info_get_kind(info) == _KINETIC:
        return "it is a kinetic-energy functional, not exchange or correlation"
    if functional.is_nlc:
        return "it needs nonlocal (VV10) correlation, which is not a function of the local density"
    name = {known: identifier for identifier, known in libxc_identifiers().items()}[number]
    if pyscf.is_hybrid_xc(number) and _OTHER_SCREENING.search(name):
        return (
            "its exact exchange is screened by an exponential, and solvers here know erf(omega r)"
        )
    if functional.needs_laplacian:
        return "it needs the Laplacian of the density, which the solvers do not provide"
    if kind not in FAMILIES:
        return f"its family {kind!r} is not one of {', '.join(FAMILIES)}"
    if not flags & _HAVE_EXC:
        return "it is a potential without an energy"
    if not flags & _HAVE_FXC:
        return "libxc has no second derivatives of it"
    if not flags & _THREE_DIMENSIONAL:
        return "it is meant for one- or two-dimensional systems"
    family = FAMILIES[kind]
    if treatment(number) is None:
        return (
            "its energy or derivatives are NaN or infinite at values that occur on grids, such as "
            "zero gradient or a kinetic energy density below |grad n|^2 / 8 n"
        )
    return _mismatch(number) if family == 4 else None


class Treatment(NamedTuple):
    """Changes that keep a functional finite."""

    lift: bool
    """Whether its gradient must never be quite zero."""
    raised: bool
    """Whether libxc needs a higher density threshold."""


@cache
def treatment(number: int) -> Treatment | None:
    """Changes that keep a functional finite; None if nothing helps."""
    family = FAMILIES[library().xc_type(number)]
    for lift, raised in ((False, False), (True, False), (False, True), (True, True)):
        if _finite(number, family, lift, raised):
            return Treatment(lift, raised)
    return None


def _finite(number: int, family: int, lift: bool, raised: bool) -> bool:
    with np.errstate(all="ignore"):
        return all(
            np.isfinite(
                _evaluate(number, _probes(family, spin, lift), family, spin, 2, raised)
            ).all()
            for spin in (0, 1)
        )


def _probes(family: int, spin: int, lift: bool) -> np.ndarray:
    """Densities from vacuum to core, gradients from zero, tau from zero to the uniform gas's.

    Gradients of the two channels are parallel, or cancel up to rounding, as between the atoms of
    an antiferromagnet. Some functionals are singular at the uniform gas's tau, which rounding hits
    or misses: neighbouring numbers are tried as well.
    """
    axes = np.meshgrid(
        np.geomspace(1e-14, 1e3, 35),
        [0.0, 1e-8, 1e-2, 1.0, 5.0],  # s
        # (tau - tau_W) / tau_unif; below 0: (tau - tau_W) / tau_W
        [-1.0, -0.3, 0.0, *(1.0 + np.arange(-4, 5) * 2.0**-52)] if family == 4 else [0.0],
        np.arange(5 if spin and family > 1 else 3) if spin else [0],
        indexing="ij",
    )
    n, s, alpha, kind = (axis.ravel() for axis in axes)
    ratio = np.array([1.0, 1.0 / 3.0, 1e-15, 1.0, 1.0])[kind.astype(int)]  # n_down / n_up
    cosine = np.array([1.0, 1.0, 1.0, -1.0, -1.0 - 1e-15])[kind.astype(int)]
    channels = []
    for density in (n, n * ratio) if spin else (0.5 * n,):
        scale = _two_kf(density) * density
        tau = (s * scale) ** 2 / (8.0 * density)
        tau = np.where(alpha < 0.0, (1.0 + alpha) * tau, tau + alpha * uniform_tau(density))
        channels.append((density, s * scale, tau))
    if not spin:
        ((density, gradient, tau),) = channels
        densities, sigmas = (2.0 * density)[None], (4.0 * gradient**2)[None]
        rows = densities, lifted(densities, sigmas) if lift else sigmas, (2.0 * tau)[None]
        return np.concatenate(rows)[: {1: 1, 2: 2, 4: 3}[family]]
    (up, g_up, tau_up), (down, g_down, tau_down) = channels
    densities, sigmas = np.stack((up, down)), np.stack((g_up**2, cosine * g_up * g_down, g_down**2))
    rows = densities, lifted(densities, sigmas) if lift else sigmas, np.stack((tau_up, tau_down))
    return np.concatenate(rows)[: {1: 2, 2: 5, 4: 7}[family]]


def lifted(densities: Any, sigmas: Any) -> Any:
    """Squared gradients that are never quite zero: a small orthogonal gradient is added.

    Parameters
    ----------
    densities : ndarray or Tensor
        (1, npoints) total density, or (2, npoints) of up and down.
    sigmas : ndarray or Tensor
        (1, npoints), or (3, npoints): up up, up down, down down.

    Returns
    -------
    ndarray or Tensor
        As `sigmas`. The added gradients are parallel, so that the total one is lifted by more than
        rounding also where those of the channels cancel.
    """
    if len(densities) == 1:
        return sigmas + 2.0 ** (-2.0 / 3.0) * _LIFT_OF_SIGMA * densities ** (8.0 / 3.0)
    powers = densities ** (4.0 / 3.0)
    own = (1.0 + _ROUNDING) * sigmas[::2] + _LIFT_OF_SIGMA * powers**2
    both = sigmas[1] + _LIFT_OF_SIGMA * powers[0] * powers[1]
    stack = np.stack if isinstance(sigmas, np.ndarray) else torch.stack
    return stack((own[0], both, own[1]))


def _two_kf(density: np.ndarray) -> np.ndarray:
    return 2.0 * (6.0 * np.pi**2 * density) ** (1.0 / 3.0)


def _mismatch(number: int) -> str | None:
    """Reason to refuse a meta-GGA: its energy jumps, or its derivatives disagree with it."""
    n = np.array([0.05, 0.4, 2.0])
    sigma = (0.6 * _two_kf(0.5 * n) * n) ** 2

    def energy(values: np.ndarray) -> np.ndarray:
        return evaluate(number, values, 4, 0, order=1)[0] * n

    # At the uniform gas's tau, the parts for tau above and below may both count by rounding.
    uniform = sigma / (8.0 * n), 2.0 * uniform_tau(0.5 * n)
    near, *at = (
        energy(np.stack((n, sigma, uniform[0] + alpha * uniform[1])))
        for alpha in (1.0 - 1e-6, *(1.0 + np.arange(-4, 5) * 2.0**-52))
    )
    if np.any(np.abs(np.stack(at) - near) > 1e-3 * np.abs(near)):
        return "its energy jumps where the kinetic energy density is that of the uniform gas"
    rows = np.stack((n, sigma, 0.4 * sigma / (8.0 * n)))
    given = evaluate(number, rows, 4, 0, order=1)[2] * sigma
    step = 1e-4
    above, below = (energy(rows * np.array([[1.0], [1.0 + h], [1.0]])) for h in (step, -step))
    scale = np.abs(given) + 1e-4 * np.abs(above)
    if np.all(np.abs((above - below) / (2.0 * step) - given) < 1e-3 * scale):
        return None
    return (
        "its potential is not the derivative of its energy where the kinetic energy density is "
        "below |grad n|^2 / 8 n (this libxc limits the gradient there in parts of the energy only)"
    )
