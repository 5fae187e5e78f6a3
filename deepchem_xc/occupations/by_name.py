"""Smearings by their names and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepchem_xc.occupations.smearing import SMEARINGS, FixedOccupations, Smearing


def smearing_kind(name: object) -> str:
    """Name of a smearing as `SMEARINGS` has it, from other spellings of it.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the valid ones.

    Examples
    --------
    >>> smearing_kind("Fermi_Dirac")
    'fermi-dirac'
    """
    kind = str(name).strip().lower().replace("_", "-").replace(" ", "-")
    if kind not in SMEARINGS:
        raise ValueError(f"unknown occupations {name!r}; valid names: {', '.join(SMEARINGS)}.")
    return kind


def make_smearing(spec: str | Mapping[str, Any] | Smearing | None) -> Smearing:
    """A smearing from its description.

    Parameters
    ----------
    spec : mapping, str, Smearing or None
        ``{"name": "fermi-dirac", "width": 0.004}`` with the width in Hartree, and ``"order"`` for
        Methfessel-Paxton (default 1). ``None``, ``"fixed"`` and ``{"name": "fixed"}`` mean integer
        occupations. A `Smearing` is returned unchanged.

    Raises
    ------
    ValueError
        For an unknown name or key, or a missing or wrong width.

    Examples
    --------
    >>> make_smearing({"name": "methfessel-paxton", "width": 0.01})
    MethfesselPaxton(width=0.01, order=1)
    >>> make_smearing(None).name
    'fixed'
    """
    if isinstance(spec, Smearing):
        return spec
    if spec is None:
        return FixedOccupations()
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping) or "name" not in spec:
        raise ValueError(
            f"occupations must be a dictionary with a 'name', such as {{'name': 'fermi-dirac', "
            f"'width': ...}}; got {spec!r}. Valid names: {', '.join(SMEARINGS)}."
        )
    arguments = dict(spec)
    name = smearing_kind(arguments.pop("name"))
    valid = {"fixed": (), "methfessel-paxton": ("width", "order")}.get(name, ("width",))
    unknown = sorted(set(map(str, arguments)) - set(valid))
    if unknown:
        raise ValueError(
            f"unknown key(s) {', '.join(map(repr, unknown))} for {name} occupations; valid keys: "
            f"{', '.join(('name', *valid))}."
        )
    if name == "fixed":
        return FixedOccupations()
    width = arguments.pop("width", None)
    if isinstance(width, bool) or not isinstance(width, (int, float, np.number)):
        raise ValueError(f"{name} occupations need a 'width' (a positive number), got {width!r}.")
    return SMEARINGS[name](float(width), **arguments)
