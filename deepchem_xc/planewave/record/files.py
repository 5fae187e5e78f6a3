"""Records in npz files: format 2, and reading of format 1.

Format 2 has one array for each tensor, ``about`` (JSON) for everything else, and ``sha256`` over
all of them. A value that is not known is absent. Format 1 had structure, density and orbitals
only, and the two fields of a meta-GGA in one array.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc._atomic import replacing
from deepchem_xc._files import plain
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record.carried_orbitals import Orbitals
from deepchem_xc.planewave.record.sphere_occupations import SphereOccupations
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.store import digest_of_arrays

_FORMAT, _FORMAT_1 = "deepchem_xc density 2", "deepchem_xc density 1"
_CHECKSUM = "sha256"
# First bytes of npz files, which are zip archives.
_ZIP = b"PK\x03\x04"
# Leading axes of the density in format 1: spin, or (density and kinetic energy density, spin).
_SHAPES_1 = {(1,), (2,), (2, 1), (2, 2)}
# Names in files and names of attributes of `Orbitals`.
_ORBITALS = {
    "orbitals_k_coordinates": "k_coordinates",
    "orbitals_orbital_g": "g_vectors",
    "orbitals_mask": "mask",
    "orbitals_coefficients": "coefficients",
}
# Attributes of the record that are tensors or None, and those that JSON holds.
_TENSORS = ("k_coordinates", "k_weights", "forces", "moments", "fermi_level")
_ABOUT = (
    *("potentials", "superposition", "functional", "functional_digest", "ecut", "ecut_smoothing"),
    *("fft_size", "k_mesh", "smearing", "fixed_moment", "convergence", "energy", "free_energy"),
    *("version", "other_code"),
)
_TUPLES = ("fft_size", "k_mesh")
# Attributes that are `Fields`, and what their members' names begin with.
_FIELDS = {"fields": "", "superposition_fields": "superposition_"}
# Name in `about` of what occupations inside of PAW spheres belong to.
_SPHERES = "spheres"


def write_record(record: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the attributes of a `DensityRecord`: see `DensityRecord.save`."""
    if os.fspath(path).endswith(".safetensors"):
        raise ValueError(
            f"{os.fspath(path)!r}: files of density models end in .safetensors, and a record is "
            "none; give a name that ends in .npz."
        )
    arrays = _arrays(record)
    arrays[_CHECKSUM] = np.array(digest_of_arrays(arrays))
    with replacing(path, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of the attributes of a `DensityRecord`."""
    return digest_of_arrays(_arrays(record))


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Attributes of a `DensityRecord`; errors as for `DensityRecord.load`."""
    try:
        with open(path, "rb") as file:
            if (start := file.read(4)) != _ZIP and start != b"":
                raise ValueError(
                    "its content is no npz archive; densities of other codes, such as cube files "
                    "and CHGCAR, do not start calculations"
                )
            file.seek(0)
            # Reading every array verifies the archive's own checksums.
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        found = str(arrays["format"])
        if found not in (_FORMAT, _FORMAT_1):
            raise ValueError(f"its format is {found!r}, not {_FORMAT!r} or {_FORMAT_1!r}")
        if found == _FORMAT_1:
            return _of_format_1(arrays)
        if str(arrays.pop(_CHECKSUM)) != digest_of_arrays(arrays):
            raise ValueError("its checksum does not match its content")
        return _of_format_2(arrays)
    except (FileNotFoundError, IsADirectoryError):
        raise
    except (
        *(OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError),
        zipfile.BadZipFile,
    ) as error:
        raise DamagedFileError(
            f"{os.fspath(path)!r} is not a complete density file ({error}). Give one that "
            "DensityRecord.save(...) or calc.write(...) wrote, or write it again."
        ) from error


def stacked(fields: Fields) -> Tensor:
    """Fields as in checkpoints: (nspin, nG), or (2, nspin, nG) with the kinetic energy density."""
    return fields.density if fields.tau is None else torch.stack([fields.density, fields.tau])


def fields_from_state(array: Tensor) -> Fields:
    """The inverse of `stacked`."""
    return Fields(array) if array.ndim == 2 else Fields(*array)


def _arrays(record: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    crystal, orbitals = record["crystal"], record["orbitals"]
    moments = crystal.magnetic_moments
    about = {name: record[name] for name in _ABOUT}
    known = {name: value for name, value in about.items() if value is not None}
    spheres: SphereOccupations | None = record[_SPHERES]
    if spheres is not None:
        known[_SPHERES] = spheres.about()
    arrays = {
        "format": np.array(_FORMAT),
        "notes": np.array(record["notes"]),
        "about": np.array(json.dumps(plain(known), sort_keys=True)),
        "lattice": _numpy(crystal.lattice),
        "positions": _numpy(crystal.positions),
        "symbols": np.array(crystal.symbols),
        "pbc": np.array(crystal.pbc),
        "density_g": _numpy(record["g_vectors"]),
    }
    if moments is not None:
        arrays["initial_moments"] = np.array(moments, dtype=np.float64)
    for name, prefix in _FIELDS.items():
        for member in dataclasses.fields(Fields):
            leaf = getattr(record[name], member.name, None)
            if leaf is not None:
                arrays[prefix + member.name] = _numpy(leaf)
    for name in _TENSORS:
        value = record[name]
        if value is not None:
            arrays[name] = _numpy(value)
    if spheres is not None:
        arrays |= {name: _numpy(tensor) for name, tensor in spheres.tensors().items()}
    if orbitals is not None:
        arrays |= {key: _numpy(getattr(orbitals, name)) for key, name in _ORBITALS.items()}
    return arrays


def _of_format_2(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    moments = arrays.get("initial_moments")
    about = json.loads(str(arrays["about"]))
    common = _common(arrays, None if moments is None else tuple(moments.tolist()))
    spheres = None
    if _SPHERES in about:
        found = {name: torch.from_numpy(a) for name, a in arrays.items() if name.startswith("sph")}
        spheres = SphereOccupations.from_tensors(found, about[_SPHERES], common["crystal"].natom)
    return {
        **common,
        _SPHERES: spheres,
        **_fields(arrays),
        **{name: about[name] for name in _ABOUT if name in about},
        **{name: tuple(about[name]) for name in _TUPLES if name in about},
        **{name: torch.from_numpy(arrays[name]) for name in _TENSORS if name in arrays},
    }


def _fields(arrays: dict[str, NDArray[Any]]) -> dict[str, Fields]:
    """The attributes that are `Fields`; the density must be there, all others may be."""
    found = {}
    members = [member.name for member in dataclasses.fields(Fields)]
    for name, prefix in _FIELDS.items():
        leaves = {
            member: torch.from_numpy(arrays[prefix + member])
            for member in members
            if prefix + member in arrays
        }
        if leaves or name == "fields":
            found[name] = Fields(**leaves)
    return found


def _of_format_1(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    g, density = arrays["density_g"], torch.from_numpy(arrays["density"])
    if g.shape != (density.shape[-1], 3) or tuple(density.shape[:-1]) not in _SHAPES_1:
        raise ValueError(f"its arrays have shapes {tuple(g.shape)} and {tuple(density.shape)}")
    moments = tuple(arrays["moments"].tolist()) or None
    return {**_common(arrays, moments), "fields": fields_from_state(density)}


def _common(arrays: dict[str, NDArray[Any]], moments: tuple[float, ...] | None) -> dict[str, Any]:
    """Arguments that both formats have."""
    crystal = Crystal(
        lattice=torch.from_numpy(arrays["lattice"]),
        symbols=tuple(str(symbol) for symbol in arrays["symbols"]),
        positions=torch.from_numpy(arrays["positions"]),
        magnetic_moments=moments,
        pbc=tuple(arrays["pbc"].tolist()),
    )
    orbitals = None
    if "orbitals_coefficients" in arrays:
        orbitals = Orbitals(
            **{name: torch.from_numpy(arrays[key]) for key, name in _ORBITALS.items()}
        )
    g = torch.from_numpy(arrays["density_g"])
    return {"crystal": crystal, "g_vectors": g, "orbitals": orbitals, "notes": str(arrays["notes"])}


def _numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
