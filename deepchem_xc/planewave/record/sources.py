"""What a calculation may be given as its density: the protocol, and what `start=` makes of it."""

from __future__ import annotations

import os
import pkgutil
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from deepchem_xc._files import file_digest
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record.density_record import DensityRecord
from deepchem_xc.planewave.record.model_files import model_file, valid_models
from deepchem_xc.planewave.result import SCFResult

if TYPE_CHECKING:
    from deepchem_xc.planewave.problem import KohnShamProblem

# Function that reads a file of a density model. Networks stand above calculations: it is named as
# text, like that of a plug-in, and imported when such a file is first given.
_MODEL_READER = "deepchem_xc.densities.files:load_predictor"
_VALID = (
    "an SCFResult, a DensityRecord, the path of a record (.npz) or of a density model "
    "(.safetensors), the name of a shipped model, or an object with density_for(problem)"
)
# What some keywords take besides, see `fixed_density.sources`.
_ALSO = {"density": "; or an array (nspin, n1, n2, n3) in bohr^-3"}


@runtime_checkable
class DensitySource(Protocol):
    """Anything that knows the density of a problem: records, and models of densities.

    This protocol is all that plane-wave calculations know of models. The calculation checks what
    comes back (shape, NaN, number of electrons, symmetry; `given_density`), so that a source need
    not.

    Examples
    --------
    Superposed atoms are a source:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> class Atoms:
    ...     def density_for(self, problem):
    ...         return problem.starting_fields()
    >>> isinstance(Atoms(), DensitySource)
    True
    >>> result = scf(bulk("Si"), ecut=100.0, start=Atoms())
    >>> result.start.removed < 1e-12
    True
    """

    def density_for(self, problem: KohnShamProblem) -> Fields:
        """Density of a problem's structure.

        Parameters
        ----------
        problem : KohnShamProblem
            Structure, plane waves, pseudopotentials, functional and number of channels.

        Returns
        -------
        Fields
            Total density on the sphere ``problem.basis.g_vectors``, (nspin, nG), complex128,
            bohr^-3, with the problem's electrons. For a meta-GGA the kinetic energy density may be
            None: a self-consistent calculation then starts with that of a slowly varying gas.

        Raises
        ------
        ValueError
            For elements, potentials or spins that it does not know.
        """


def density_source(given: Any, keyword: str = "start") -> DensitySource:
    """The source that a keyword was given: results and paths become records or models.

    Parameters
    ----------
    given : SCFResult, DensityRecord, str, path or DensitySource
        What a user gave; of a string, a file takes precedence over the name of a shipped model.
    keyword : str, optional
        Name of the keyword, for messages.

    Raises
    ------
    ValueError
        If it is none of these.
    FileNotFoundError
        If there is no such file, nor a shipped model of this name.
    DamagedFileError
        If the file holds no complete record or model.

    Examples
    --------
    >>> density_source(5)
    Traceback (most recent call last):
    ValueError: start = 5 is not a density: give an SCFResult, a DensityRecord, the path of a ...
    """
    check_source(given, keyword)
    if isinstance(given, SCFResult):
        return DensityRecord.of(given, results=False)
    if not isinstance(given, (str, os.PathLike)):
        source: DensitySource = given
        return source
    model = model_file(given)
    if model is not None:
        read: DensitySource = pkgutil.resolve_name(_MODEL_READER)(model)[0]
        return read
    if not os.path.isfile(given):
        problem = "it is a folder" if os.path.isdir(given) else "there is no such file"
        raise FileNotFoundError(
            f"{keyword} = {os.fspath(given)!r}: {problem}, and {valid_models()}. Give "
            f"{_VALID}; DensityRecord.of(result).save(path) and calc.write(path) write a record."
        )
    return DensityRecord.load(given)


def state_selected_by(
    start: Any, moments: Iterable[float], keywords: Mapping[str, Any]
) -> str | None:
    """Hash of a start that may decide which magnetic state a calculation ends in.

    From a record the loop goes on with the record's moments, whatever the initial ones are. What
    is kept of such a calculation belongs to its start; all others end in the same state.

    Parameters
    ----------
    start : SCFResult, DensityRecord, path, name or DensitySource, or None
        As `density_source` takes it. A file that is missing counts by its name.
    moments : iterable of float
        Initial moments, mu_B.
    keywords : mapping
        Those of `scf`, of which spinpol and occupations count.

    Returns
    -------
    str or None
        None without a start, and for calculations with one spin channel.

    Raises
    ------
    ValueError
        For a model in memory, which has no hash.

    Examples
    --------
    >>> state_selected_by("absent.npz", [0.0], {})
    >>> state_selected_by("absent.npz", [1.0], {})
    'absent.npz'
    """
    occupations = keywords.get("occupations")
    held = isinstance(occupations, Mapping) and occupations.get("fixmagmom")
    if start is None or not (keywords.get("spinpol") or held or any(m != 0.0 for m in moments)):
        return None
    if isinstance(start, SCFResult):
        start = DensityRecord.of(start, results=False)
    if isinstance(start, DensityRecord):
        return start.digest
    if not isinstance(start, (str, os.PathLike)):
        raise ValueError(
            f"with two spin channels start may decide which magnetic state is found, and start = "
            f"{type(start).__name__} in memory cannot be compared with that of kept points: give "
            "the path of a record or of a saved model, or leave keep_in out."
        )
    path = model_file(start) or Path(start)
    return file_digest(path) if path.is_file() else os.fspath(start)


def asked_density(problem: KohnShamProblem, source: DensitySource) -> Fields:
    """The density that a source has for a problem, or ValueError if it returns anything else."""
    fields = source.density_for(problem)
    if not isinstance(fields, Fields):
        raise ValueError(
            f"{type(source).__name__}.density_for(problem) returned {type(fields).__name__}, not "
            "Fields: return planewave.fields.Fields(density) with the density on the sphere, "
            "(nspin, nG), bohr^-3."
        )
    return fields


def check_source(given: Any, keyword: str = "start") -> Any:
    """`given`, or ValueError if `density_source` would not take it; no file is read."""
    paths = isinstance(given, (str, os.PathLike)) and os.fspath(given) != ""
    known = isinstance(given, SCFResult) or callable(getattr(given, "density_for", None))
    if isinstance(given, type) or not (paths or known):
        shown = " ".join(reprlib.repr(given).split())
        valid = _VALID + _ALSO.get(keyword, "")
        raise ValueError(f"{keyword} = {shown} is not a density: give {valid}.")
    return given
