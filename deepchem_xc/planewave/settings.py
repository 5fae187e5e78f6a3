"""What values of keywords mean, each in one place: for `scf`, the calculator, entries, commands.

None is the default of every keyword. numpy's numbers and booleans are numbers and booleans.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_DEVICES = ("cpu", "cuda")


def real_number(value: Any, name: str, unit: str = "") -> float:
    """A real number; text, lists and booleans are none.

    Parameters
    ----------
    value : object
        What was given: a number, or a 0-d array or tensor.
    name : str
        Keyword, for the message.
    unit : str, optional
        Unit that the number should have been given in, for the message.

    Raises
    ------
    ValueError
        The message says what was given.

    Examples
    --------
    >>> real_number(np.float32(300), "ecut")
    300.0
    >>> real_number("300", "ecut", "eV")
    Traceback (most recent call last):
    ValueError: ecut must be a number (eV), got '300' (a str).
    """
    plain = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float, np.number)):
        kind = type(value).__name__
        raise ValueError(
            f"{name} must be a number{f' ({unit})' if unit else ''}, got {value!r} (a {kind})."
        )
    return float(plain)


def whole_number(value: Any, name: str, minimum: int = 1) -> int:
    """A whole number of at least `minimum`.

    Raises
    ------
    ValueError
        The message says what was given.

    Examples
    --------
    >>> whole_number(np.int64(8), "nbands")
    8
    >>> whole_number(4.5, "maxiter")
    Traceback (most recent call last):
    ValueError: maxiter must be a whole number of at least 1, got 4.5.
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}.")
    return number


def flag(value: Any, name: str) -> bool:
    """True or False; 1 and 0 are that too, text is not.

    Examples
    --------
    >>> flag(np.bool_(True), "spinpol")
    True
    >>> flag("no", "spinpol")
    Traceback (most recent call last):
    ValueError: spinpol must be True or False, got 'no'.
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {value!r}.")


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
        k and -k are the same.
    symmorphic : bool
        Only operations without a translation.
    """

    point_group: bool = True
    time_reversal: bool = True
    symmorphic: bool = False


def symmetry_choice(value: Any) -> SymmetryChoice:
    """What ``symmetry=`` means.

    Parameters
    ----------
    value : bool, None, "on", "off" or mapping
        ``True``, ``None``, ``"on"`` and ``{}``: all symmetries. ``False`` and ``"off"``: none, so
        that all k-points of a mesh are computed. A mapping, as GPAW's users write it, switches
        parts: ``{"point_group": False}`` leaves time reversal, ``{"time_reversal": False}`` the
        space group, ``{"symmorphic": True}`` the operations without a translation.

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
        f"symmetry = {value!r} is not known. Valid: True, None or 'on' (all), False or 'off' "
        f"(none), or a dictionary with {', '.join(SymmetryChoice.__dataclass_fields__)}, each True "
        "or False."
    )


def torch_device(value: Any) -> torch.device | None:
    """The device that ``device=`` names; None stands for where the structure is.

    Raises
    ------
    ValueError
        If there is no such device here, or it cannot compute in double precision.

    Examples
    --------
    >>> torch_device("cpu"), torch_device(None)
    (device(type='cpu'), None)
    """
    if value is None:
        return None
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device = {value!r} is not known: give 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    if device.type not in _DEVICES:
        raise ValueError(
            f"device = {value!r} is not supported: give one of {', '.join(map(repr, _DEVICES))}."
        )
    if device.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= there:
            raise ValueError(
                f"there is no CUDA device for {str(value)!r}: torch {torch.__version__} finds "
                f"{there} here. Use 'cpu'."
            )
    return device


def band_count(value: Any, occupied: float) -> int | None:
    """Number of bands that ``nbands=`` means; None leaves the choice to the calculation.

    Parameters
    ----------
    value : int, str or None
        That many; with a minus, so many more than the occupied ones (rounded down); ``"120%"`` of
        the occupied ones (rounded up), as GPAW's users write it.
    occupied : float
        Bands that hold electrons: half their number, or of the fuller spin channel all.

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
        f"nbands = {value!r} is no number of bands: give a positive integer, a negative one for so "
        "many more than the occupied bands, or a percentage of them such as '120%'."
    )
