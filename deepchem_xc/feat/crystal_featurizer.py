"""What the featurizers of crystals have in common: rows, errors, settings, names."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from deepchem.feat import MaterialStructureFeaturizer
from numpy.typing import NDArray

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._files import plain
from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.files import content_digests, structure_values
from deepchem_xc.feat.protocols import KINDS, TOLERANCES, ProtocolTable
from deepchem_xc.feat.reduced_cell import meshes_noticed_once
from deepchem_xc.feat.schema import validate_entry
from deepchem_xc.planewave.potentials import family_digests
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kpoints import make_kpoints

logger = logging.getLogger(__name__)

Array = NDArray[Any]

# A structure to check settings with; nothing is computed.
_ANY = {"symbols": ["H"], "cell": np.diag([5.0] * 3).tolist(), "scaled_positions": [[0, 0, 0]]}
# Cutoff, eV, to check other settings with.
_ECUT = 100.0
# Characters of a datapoint that a message repeats.
_SHOWN = 60


class FeaturizationWarning(UserWarning):
    """A datapoint was left out because it cannot be featurized.

    Examples
    --------
    >>> from deepchem_xc.feat import FeaturizationWarning
    >>> issubclass(FeaturizationWarning, UserWarning)
    True
    """


class CrystalFeaturizer(MaterialStructureFeaturizer):
    """Base of the featurizers of crystals.

    A subclass takes `protocol`, `kind`, `pseudopotentials`, `ecut`, `kpts`, `folder`, `table`,
    `on_error` and other keywords of calculations, and implements `_featurize_system`.

    Attributes
    ----------
    failures : dict
        ``{number: reason}`` of the datapoints that were left out since the featurizer was made;
        numbers are those of messages, see `featurize`.
    """

    def __init__(
        self,
        protocol: str,
        kind: str,
        pseudopotentials: str | Mapping[str, str],
        ecut: float | None,
        kpts: Any,
        folder: str | os.PathLike[str] | None,
        table: str | os.PathLike[str] | ProtocolTable | None,
        on_error: str,
        keywords: Mapping[str, Any],
    ) -> None:
        for name, value, valid in (
            ("protocol", protocol, tuple(TOLERANCES)),
            ("kind", kind, KINDS),
            ("on_error", on_error, ("raise", "skip")),
        ):
            if value not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, got {value!r}.")
        if "structure" in keywords:
            raise TypeError("structure is what is featurized: give it to featurize().")
        self.protocol, self.kind, self.on_error = protocol, kind, on_error
        self.pseudopotentials, self.ecut, self.kpts = pseudopotentials, ecut, kpts
        self.folder, self.table = folder, table
        self.keywords = dict(keywords)
        self.failures: dict[Any, str] = {}
        # Mistakes in settings are no mistakes of datapoints, which may be left out.
        spec = self._spec(
            _ANY, self._settings(_ECUT if ecut is None else ecut, kpts), type(self).__name__
        )
        if spec.kpts is not None:
            atoms = spec.structure.atoms()
            try:
                make_kpoints(spec.kpts, Crystal.from_ase(atoms), symmetry=False)
            except (ValueError, TypeError) as error:
                raise ValueError(f"kpts: {error}") from error

    @cached_property
    def _table(self) -> ProtocolTable:
        given = self.table
        return given if isinstance(given, ProtocolTable) else ProtocolTable.read(given)

    def featurize(self, datapoints: Any = None, log_every_n: int = 1000, **kwargs: Any) -> Array:
        """Featurize crystals.

        Parameters
        ----------
        datapoints : iterable, or one structure
            Each one ASE Atoms, a pymatgen Structure or its dictionary, a `Crystal`, a mapping with
            symbols, cell and positions, the path of a file or the text of a CIF. DeepChem's
            `InMemoryLoader` hands over one at a time.
        log_every_n : int, optional
            Number of datapoints after which a line is logged.

        Returns
        -------
        ndarray
            (n,) of objects. With ``on_error="skip"`` an empty array stands for a datapoint that
            cannot be featurized, as everywhere in DeepChem: its `CSVLoader` and `JsonLoader` leave
            these rows out, with their labels.

        Raises
        ------
        ValueError
            Unless ``on_error="skip"``, for datapoints that cannot be featurized, with their numbers
            and the reasons: all mistakes in structures and settings, and the first failed
            calculation. Numbers count from 0; those of a pandas Series are its index, which in
            `CSVLoader` and `JsonLoader` counts through a whole file. For a lone datapoint in any
            case, because its label would remain.
        """
        if "structures" in kwargs:
            raise TypeError("structures is DeepChem's former name of datapoints: give that.")
        if kwargs:
            raise TypeError(
                f"featurize() got unknown arguments {', '.join(kwargs)}: settings belong to the "
                f"featurizer, {type(self).__name__}(...)."
            )
        alone, rows = _rows(datapoints)
        features: dict[Any, Any] = {}
        wrong: dict[Any, str] = {}
        systems: dict[Any, Any] = {}
        with meshes_noticed_once():
            for number, given in rows.items():
                try:
                    systems[number] = self._read(given)
                except (ValueError, OSError, TypeError) as error:
                    wrong[number] = str(error)
        self._report(wrong, rows, alone)
        for done, (number, system) in enumerate(systems.items()):
            if done % log_every_n == 0:
                logger.info("Featurizing datapoint %s", number)
            try:
                features[number] = self._featurize_system(system)
            except (ValueError, RuntimeError) as error:
                wrong[number] = f"{type(error).__name__}: {error}"
                self._report({number: wrong[number]}, rows, alone)
        self.failures.update(wrong)
        return self._stacked([features.get(number, np.array([])) for number in rows])

    def _featurize(self, datapoint: Any, **kwargs: Any) -> Any:
        return self._featurize_system(self._read(datapoint))

    def _read(self, given: Any) -> Any:
        """What `_featurize_system` takes, from a datapoint."""
        spec = self._spec(*self._structure_and_settings(given), "the datapoint")
        system = DFTSystem(spec)
        system.check()
        return system

    def _featurize_system(self, system: Any) -> Any:
        """Feature of one datapoint."""
        raise NotImplementedError

    def _stacked(self, features: list[Any]) -> Array:
        """X of a data set."""
        x = np.empty(len(features), dtype=object)
        for i, feature in enumerate(features):  # whole assignments may take rows apart
            x[i] = feature
        return x

    def _structure_and_settings(self, given: Any) -> tuple[Any, dict[str, Any]]:
        """Plain values of a structure, and the keywords of its calculation."""
        nan = isinstance(given, float) and math.isnan(given)
        if given is None or nan or (isinstance(given, str) and not given.strip()):
            raise ValueError("there is no structure")
        structure = structure_values(given, self._path)
        if not isinstance(structure, Mapping):
            raise ValueError(
                f"{type(given).__name__} {_shown(given)} is not a structure: give ASE Atoms, a "
                "pymatgen Structure or its dictionary, a mapping with symbols, cell and positions, "
                "the path of a file or the text of a CIF"
            )
        ecut = self.ecut
        if ecut is None:
            species = dict.fromkeys(map(str, structure.get("symbols", ())))
            ecut = self._table.cutoff(self.protocol, species, self.pseudopotentials)
        kpts = self.kpts
        if kpts is None:
            kpts = self._table.mesh(self.protocol, self.kind)
        return structure, self._settings(ecut, kpts)

    def _settings(self, ecut: float, kpts: Any) -> dict[str, Any]:
        settings = {"ecut": ecut, "kpts": kpts, "pseudopotentials": self.pseudopotentials}
        if self.ecut is None or self.kpts is None:
            settings["occupations"] = dict(self._table.occupations)
        if self.ecut is None:
            settings["ecut_smoothing"] = self._table.smoothing(ecut)
        return {**settings, **self.keywords}

    def _spec(self, structure: Any, settings: Mapping[str, Any], where: str) -> Any:
        values = {"e_type": "energy", "systems": [{"structure": structure, **settings}]}
        return validate_entry(values, where, self._path).systems[0]

    @property
    def _path(self) -> Path | None:
        return None if self.folder is None else Path(self.folder)

    def _report(self, wrong: Mapping[Any, str], rows: Mapping[Any, Any], alone: bool) -> None:
        """Raise for datapoints that cannot be featurized, or warn of them."""
        if not wrong:
            return
        lines = [
            f"{'the datapoint' if alone else f'datapoint {number}'} ({_shown(rows[number])}) "
            f"cannot be featurized: {reason.strip()}"
            for number, reason in wrong.items()
        ]
        if self.on_error == "skip" and not alone:
            for line in lines:
                warnings.warn(
                    f"{line.rstrip('.')}. It is left out.",
                    FeaturizationWarning,
                    stacklevel=users_stacklevel(),
                )
            return
        if self.on_error == "skip":
            lines.append(
                "A lone datapoint cannot be left out, because its label would remain "
                "(InMemoryLoader hands over one at a time): featurize a list, or remove it first."
            )
        elif not alone:
            lines.append("on_error='skip' leaves such datapoints out.")
        raise ValueError("\n".join(lines))

    def _arguments(self) -> dict[str, Any]:
        """Arguments with their values, in the order of the signature, then other keywords."""
        names = [
            name
            for name, parameter in inspect.signature(type(self).__init__).parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        ]
        return {**{name: getattr(self, name) for name in names}, **self.keywords}

    def __repr__(self) -> str:
        """As DeepChem's featurizers: all arguments with their values."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments().items())
        return f"{type(self).__name__}[{arguments}]"

    def __str__(self) -> str:
        """Name of folders in which DeepChem caches data sets: what differs from the defaults.

        DeepChem's own leaves out lists and paths; here a digest at the end stands for whatever
        cannot be written into a name, so that other settings never find this one's data.
        """
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(type(self).__init__).parameters.items()
        }
        name, other = type(self).__name__, {}
        for key, value in self._arguments().items():
            if key in defaults and value == defaults[key]:
                continue
            text = str(value)
            content = self._content(key, value)
            if content == text and text.replace("-", "").isalnum():
                name += f"_{key}_{text}"
            else:
                other[key] = content
        return name + (f"_{digest(other)[:12]}" if other else "")

    def _content(self, name: str, value: Any) -> Any:
        """What an argument says, as JSON values; files and datasets count by their content."""
        if name == "pseudopotentials":
            content = content_digests(plain(value))
            # Without the package of the datasets nothing is computed, or kept under this name.
            with contextlib.suppress(ImportError):
                content |= family_digests(plain(value))
            return [plain(value), content] if content else plain(value)
        if isinstance(value, str | int | float):
            return str(value)
        return repr(plain(value))


def _rows(datapoints: Any) -> tuple[bool, dict[Any, Any]]:
    """Whether it is a lone datapoint, and all datapoints by their numbers."""
    lone = isinstance(datapoints, str | os.PathLike | Mapping) or any(
        hasattr(datapoints, name) for name in ("get_scaled_positions", "frac_coords", "lattice")
    )
    if lone:
        return True, {0: datapoints}
    # InMemoryLoader makes a tuple of a datapoint without label.
    if isinstance(datapoints, tuple) and len(datapoints) == 1:
        return True, {0: datapoints[0]}
    if not isinstance(datapoints, Iterable):
        raise TypeError(
            f"featurize() takes structures, or one structure, got {type(datapoints).__name__}."
        )
    index = getattr(datapoints, "index", None)
    points = list(datapoints)
    if index is None or callable(index) or not index.is_unique:
        return False, dict(enumerate(points))
    return False, dict(zip(index.tolist(), points, strict=True))


def _shown(given: Any) -> str:
    text = str(getattr(given, "symbols", None) or getattr(given, "formula", None) or given)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
