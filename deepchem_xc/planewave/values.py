"""Meaning of keywords' values, each in one place: for `scf`, the calculator, entries, commands.

`deepchem_xc.keywords` lists the keywords, `settings.Settings` checks them all, and
`deepchem_xc._values` checks numbers, flags and devices.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Hartree

from deepchem_xc._values import flag, real_number, torch_device, whole_number
from deepchem_xc.keywords import standard
from deepchem_xc.occupations.occupy import Smearing, make_smearing, smearing_kind

__all__ = [
    "SymmetryChoice",
    "band_count",
    "flag",
    "grid_size",
    "make_occupations",
    "real_number",
    "symmetry_choice",
    "torch_device",
    "whole_number",
    "with_defaults",
]


def grid_size(value: Any, name: str = "fft_size") -> tuple[int, int, int]:
    """Three whole numbers; one stands for three.

    Examples
    --------
    >>> grid_size(24), grid_size([24, 24, 30])
    ((24, 24, 24), (24, 24, 30))
    """
    parts = [value] * 3 if np.ndim(value) == 0 else list(value)
    if len(parts) != 3:
        raise ValueError(f"{name} must be one or three whole numbers, got {value!r}.")
    first, second, third = (whole_number(part, name) for part in parts)
    return first, second, third


@dataclass(frozen=True)
class SymmetryChoice:
    """Which symmetries a calculation uses.

    Attributes
    ----------
    point_group : bool
        Operations of the space group.
    time_reversal : bool
        k and -k are equivalent.
    symmorphic : bool
        Only operations without a translation.
    """

    point_group: bool = True
    time_reversal: bool = True
    symmorphic: bool = False


def symmetry_choice(value: Any) -> SymmetryChoice:
    """Symmetries that ``symmetry=`` selects.

    Parameters
    ----------
    value : bool, None, "on", "off" or mapping
        ``True``, ``None``, ``"on"`` and ``{}``: all symmetries. ``False`` and ``"off"``: none, so
        that all k-points of a mesh are computed. A mapping, as in GPAW, switches parts:
        ``{"point_group": False}`` keeps only time reversal, ``{"time_reversal": False}`` only the
        space group, ``{"symmorphic": True}`` only operations without a translation.

    Raises
    ------
    ValueError
        For anything else; the message lists what is valid.

    Examples
    --------
    >>> symmetry_choice({"point_group": False})
    SymmetryChoice(point_group=False, time_reversal=True, symmorphic=False)
    >>> symmetry_choice("off") == symmetry_choice(False)
    True
    """
    if value is None:
        return SymmetryChoice()
    if isinstance(value, str) and value.strip().lower() in ("on", "off"):
        value = value.strip().lower() == "on"
    if isinstance(value, Mapping):
        unknown = sorted(set(map(str, value)) - set(SymmetryChoice.__dataclass_fields__))
        if not unknown:
            given = {k: flag(v, f"symmetry[{k!r}]") for k, v in value.items() if v is not None}
            return SymmetryChoice(**given)
    elif isinstance(value, (bool, np.bool_, int, np.integer)) and value in (0, 1):
        return SymmetryChoice(point_group=bool(value), time_reversal=bool(value))
    raise ValueError(
        f"symmetry = {value!r} is not known: give True, None or 'on' (all), False or 'off' "
        f"(none), or a dictionary with {', '.join(SymmetryChoice.__dataclass_fields__)}, each True "
        "or False."
    )


def band_count(value: Any, occupied: float) -> int | None:
    """Number of bands from ``nbands=``; None leaves the choice to the calculation.

    Parameters
    ----------
    value : int, str or None
        A positive number is the number of bands. A negative one is added to the occupied bands
        (rounded down); ``"120%"`` is relative to them (rounded up). Both are as in GPAW.
    occupied : float
        Bands that hold electrons: half the electrons, or the electrons of the fuller spin channel.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> band_count(np.int64(8), 4.0), band_count(-10, 4.0), band_count("120%", 4.0)
    (8, 14, 5)
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            percent = float(value.strip().removesuffix("%"))
        except ValueError:
            percent = math.nan
        if percent > 0 and math.isfinite(percent):
            return max(1, math.ceil(percent / 100.0 * occupied - 1e-9))
    elif not isinstance(value, (bool, np.bool_, str)):
        try:
            number = operator.index(value)
        except TypeError:
            number = 0
        if number > 0:
            return number
        if number < 0:
            return math.floor(occupied + 1e-9) - number
    raise ValueError(
        f"nbands = {value!r} is not a number of bands: give a positive integer, a negative one for "
        "that many more than the occupied bands, or a percentage of them such as '120%'."
    )


def make_occupations(
    spec: Mapping[str, Any] | str | Smearing | None, energy_unit: float = 1.0
) -> tuple[Smearing, bool]:
    """Smearing, and whether the moment is fixed, from ``occupations=``.

    Parameters
    ----------
    spec : mapping, str, Smearing or None
        ``{"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}``, or a name. The default name
        is Fermi-Dirac, the default width 0.1 eV.
    energy_unit : float, optional
        Unit of the width, Hartree.

    Raises
    ------
    ValueError
        For an unknown name or key, or a width that is not positive.

    Examples
    --------
    >>> make_occupations("fixed")
    (FixedOccupations(width=0.0), False)
    >>> smearing, fixed = make_occupations({"width": 0.2, "fixmagmom": True}, 1 / Hartree)
    >>> smearing.name, round(smearing.width * Hartree, 9), fixed
    ('fermi-dirac', 0.2, True)
    """
    if isinstance(spec, Smearing):
        return spec, False
    if isinstance(spec, str):
        spec = {"name": spec}
    if spec is not None and not isinstance(spec, Mapping):
        raise ValueError(
            f"occupations = {spec!r} is neither a name nor a dictionary: write for example "
            "{'name': 'fermi-dirac', 'width': 0.1}."
        )
    # None is the default of every key.
    options = {key: value for key, value in dict(spec or {}).items() if value is not None}
    fixed_moment = flag(options.pop("fixmagmom", False), "occupations['fixmagmom']")
    by_default = standard("occupations")
    options.setdefault("name", by_default["name"])
    if "width" in options:
        width = real_number(options["width"], "occupations['width']")
        if not (math.isfinite(width) and width > 0):
            raise ValueError(
                f"occupations['width'] must be a positive number, got {width:g}; for integer "
                "occupations use {'name': 'fixed'}."
            )
        options["width"] = width * energy_unit
    elif smearing_kind(options["name"]) != "fixed":
        options["width"] = by_default["width"] / Hartree
    return make_smearing(options), fixed_moment


def with_defaults(options: Any, defaults: Mapping[str, Any]) -> Any:
    """A mapping with `defaults` for keys that are missing or None.

    Anything else is returned unchanged, for `Convergence.of` to refuse.

    Examples
    --------
    >>> with_defaults({"energy": 1e-5, "maxiter": None}, {"energy": 1e-6, "maxiter": 100})
    {'energy': 1e-05, 'maxiter': 100}
    """
    if options is not None and not isinstance(options, Mapping):
        return options
    given = {key: value for key, value in (options or {}).items() if value is not None}
    return {**defaults, **given}
