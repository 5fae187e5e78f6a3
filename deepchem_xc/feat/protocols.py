"""Protocols: cutoffs and k-point densities that keep a lattice constant within a known error.

data/protocols.py measures them, for each potential of an element and for each kind of crystal, and
writes data/protocols.json. A potential or dataset of another kind is added to the table under its
own name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepchem_xc._files import data_file
from deepchem_xc.planewave.measured_cutoffs import rows_of
from deepchem_xc.planewave.potentials import load_potentials

#: Largest relative error of a lattice constant from the cutoff, and from the mesh, by protocol.
TOLERANCES = {"fast": 0.005, "balanced": 0.001, "precise": 0.0002}
#: Kinds of crystals that need different meshes.
KINDS = ("metal", "insulator")

_REMEDY = "docs/settings.md shows how to find one"


@dataclass(frozen=True)
class ProtocolTable:
    """Measured cutoffs and k-point densities.

    Attributes
    ----------
    cutoffs : mapping
        ``{element: {name of the potential: {protocol: cutoff in eV}}}``.
    densities : mapping
        ``{kind: {protocol: density}}``, points per 1/Angstrom of meshes that contain Gamma.
    ecut_smoothing : float
        Width, relative to the cutoff, within which it was smoothed.
    occupations : mapping
        Occupations with which all this was measured, eV.

    Examples
    --------
    >>> table = ProtocolTable.read()
    >>> words = table.keywords("balanced", ["Si"])
    >>> list(words), words["ecut"] > table.keywords("fast", ["Si"])["ecut"]
    (['ecut', 'ecut_smoothing', 'kpts', 'occupations', 'pseudopotentials'], True)
    """

    cutoffs: Mapping[str, Mapping[str, Mapping[str, float]]]
    densities: Mapping[str, Mapping[str, float]]
    ecut_smoothing: float
    occupations: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None = None) -> ProtocolTable:
        """Read a table that data/protocols.py wrote.

        Parameters
        ----------
        path : path, optional
            The file; that of the package by default.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not such a table, or was measured for other tolerances.
        """
        file = data_file("protocols.json") if path is None else Path(path)
        try:
            content = json.loads(file.read_text())
            tolerances = content["tolerances"]
            table = cls(
                {
                    element: {name: row.ecut for name, row in rows.items()}
                    for element, rows in rows_of(content["elements"]).items()
                },
                {kind: _known(row) for kind, row in content["densities"].items()},
                float(content["ecut_smoothing"]),
                dict(content["occupations"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} is not a table of protocols ({type(error).__name__}: {error}); "
                "data/protocols.py writes one."
            ) from error
        if tolerances != TOLERANCES:
            raise ValueError(
                f"{file} was measured for the tolerances {tolerances}, but the protocols promise "
                f"{TOLERANCES}: measure it again with data/protocols.py."
            )
        return table

    def with_cutoffs(
        self, cutoffs: Mapping[str, Mapping[str, Mapping[str, float]]]
    ) -> ProtocolTable:
        """The table with more potentials, or other cutoffs for those that it has.

        Parameters
        ----------
        cutoffs : mapping
            As the attribute of this name; for example of PAW datasets.

        Raises
        ------
        ValueError
            For unknown protocols, and cutoffs that are not positive.

        Examples
        --------
        >>> table = ProtocolTable.read().with_cutoffs({"Si": {"si.psp8": {"fast": 300.0}}})
        >>> table.cutoffs["Si"]["si.psp8"]
        {'fast': 300.0}
        """
        merged = {element: dict(rows) for element, rows in self.cutoffs.items()}
        for element, rows in cutoffs.items():
            for name, row in rows.items():
                for protocol, ecut in row.items():
                    _check_name("protocol", protocol, TOLERANCES)
                    if not ecut > 0:
                        raise ValueError(
                            f"the cutoff of {element} with {name} must be a positive number of "
                            f"eV, got {ecut!r}."
                        )
                merged.setdefault(element, {})[name] = dict(row)
        return ProtocolTable(merged, self.densities, self.ecut_smoothing, self.occupations)

    def keywords(
        self,
        protocol: str,
        species: Iterable[str],
        pseudopotentials: str | Mapping[str, str] = "gth-pbe",
        kind: str = "metal",
    ) -> dict[str, Any]:
        """Keywords of a calculation: ecut, ecut_smoothing, kpts, occupations, pseudopotentials.

        Parameters
        ----------
        protocol : str
            "fast", "balanced" or "precise".
        species : iterable of str
            Elements of the crystal.
        pseudopotentials : str or mapping, optional
            As for `scf`.
        kind : str, optional
            "metal" or "insulator". A metal's mesh is dense enough for both.

        Raises
        ------
        ValueError
            For names that are not valid, and for what has not been measured.
        """
        ecut = self.cutoff(protocol, species, pseudopotentials)
        return {
            "ecut": ecut,
            "ecut_smoothing": self.smoothing(ecut),
            "kpts": self.mesh(protocol, kind),
            "occupations": dict(self.occupations),
            "pseudopotentials": pseudopotentials,
        }

    def cutoff(
        self,
        protocol: str,
        species: Iterable[str],
        pseudopotentials: str | Mapping[str, str] = "gth-pbe",
    ) -> float:
        """Cutoff of a crystal, eV: the largest of its elements'; parameters as for `keywords`."""
        _check_name("protocol", protocol, TOLERANCES)
        loaded = load_potentials(pseudopotentials, species)
        return max(
            self._cutoff(protocol, element, potential.name) for element, potential in loaded.items()
        )

    def _cutoff(self, protocol: str, element: str, potential: str) -> float:
        known = self.cutoffs.get(element, {})
        try:
            return known[potential][protocol]
        except KeyError:
            pass
        measured = ", ".join(
            name if protocol in rows else f"{name} ({', '.join(rows) or 'none'} only)"
            for name, rows in known.items()
        )
        elements = sorted(
            name for name, rows in self.cutoffs.items() if any(protocol in r for r in rows.values())
        )
        raise ValueError(
            f"protocol {protocol!r}: no cutoff has been measured for {element} with the potential "
            f"{potential}. Measured for {element}: {measured or 'nothing'}; elements with this "
            f"protocol: {', '.join(elements) or 'none'}. Give ecut= in eV ({_REMEDY}), or measure "
            "it with data/protocols.py."
        )

    def smoothing(self, ecut: float) -> float:
        """Width of the smoothing that belongs to a cutoff, eV."""
        return float(round(self.ecut_smoothing * ecut))

    def mesh(self, protocol: str, kind: str = "metal") -> dict[str, Any]:
        """Value of ``kpts``; parameters and errors as for `keywords`."""
        _check_name("protocol", protocol, TOLERANCES)
        _check_name("kind", kind, KINDS)
        density = self.densities.get(kind, {}).get(protocol)
        if density is None:
            raise ValueError(
                f"protocol {protocol!r}: no k-point density has been measured for the kind "
                f"{kind!r}. Give kpts= ({_REMEDY}), or measure it with data/protocols.py."
            )
        return {"density": density, "gamma": True}


def _known(row: Mapping[str, float | None]) -> dict[str, float]:
    """A row without the protocols for which its series was too short."""
    return {name: float(value) for name, value in row.items() if value is not None}


def _check_name(what: str, given: str, valid: Iterable[str]) -> None:
    if given not in valid:
        raise ValueError(f"{what} must be one of {', '.join(valid)}, got {given!r}.")
