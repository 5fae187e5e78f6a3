"""Brillouin-zone sampling: meshes, explicit lists, and their reduction by symmetry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup, find_symmetry
from deepchem_xc.planewave.values import flag, symmetry_choice

_MESH_KEYS = ("size", "density", "gamma", "even")
_LIST_KEYS = ("kpts", "weights")
# Largest translation of an operation, in reduced coordinates, that counts as zero.
_NO_SHIFT = 1e-6


class MeshSymmetryWarning(UserWarning):
    """A k-point mesh that avoids Gamma has less symmetry than the crystal."""


@dataclass(frozen=True, eq=False)
class KPoints:
    """k-points with weights, and the symmetry by which they represent the whole zone.

    Parameters
    ----------
    coordinates : Tensor
        Reduced coordinates, shape (nk, 3), float64.
    weights : Tensor
        Shape (nk,), summing to 1 within 1e-8; normalised to rounding.
    symmetry : SymmetryGroup
        Operations that map the full mesh onto itself. Averaging sums over `coordinates` over this
        group gives the full sum, so density, forces and stress must be symmetrised with it and no
        other.
    size : tuple of int, optional
        Divisions of the full mesh; None for an explicit list.
    dropped : int, optional
        Operations of the crystal that the mesh lacks because it avoids Gamma.

    Examples
    --------
    >>> from deepchem_xc.planewave import KPoints
    >>> from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
    >>> import torch
    >>> gamma = KPoints(torch.zeros(1, 3), torch.ones(1), SymmetryGroup.trivial())
    >>> len(gamma)
    1
    """

    coordinates: Tensor
    weights: Tensor
    symmetry: SymmetryGroup
    size: tuple[int, int, int] | None = None
    dropped: int = 0

    def __post_init__(self) -> None:
        coordinates = torch.as_tensor(self.coordinates).to(torch.float64)
        weights = torch.as_tensor(self.weights, device=coordinates.device).to(torch.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != 3 or len(coordinates) == 0:
            raise ValueError(
                f"k-points must have shape (nk, 3) with nk > 0, got {tuple(coordinates.shape)}."
            )
        if weights.shape != coordinates.shape[:1]:
            raise ValueError(
                f"weights must have shape ({len(coordinates)},), got {tuple(weights.shape)}."
            )
        if not bool(torch.isfinite(coordinates).all()):
            raise ValueError("the k-points contain NaN or infinite numbers.")
        if not bool((weights >= 0).all()) or abs(float(weights.sum()) - 1) > 1e-8:
            raise ValueError(
                "weights of k-points must be non-negative and sum to 1; they sum to "
                f"{float(weights.sum()):.10g}."
            )
        object.__setattr__(self, "coordinates", coordinates)
        object.__setattr__(self, "weights", weights / weights.sum())  # 1 to rounding

    def __len__(self) -> int:
        return len(self.coordinates)

    def to(self, device: torch.device | str) -> KPoints:
        """The same k-points with their tensors on `device`."""
        return replace(
            self, coordinates=self.coordinates.to(device), weights=self.weights.to(device)
        )


def make_kpoints(spec: Any, crystal: Crystal, symmetry: Any = None) -> KPoints:
    """Make k-points from the notation of GPAW and ASE.

    Parameters
    ----------
    spec : sequence, mapping, KPoints or None
        - ``None``: the Gamma point;
        - ``(4, 4, 4)``, or 4: a Monkhorst-Pack mesh (even divisions avoid Gamma);
        - ``{"size": (4, 4, 4), "gamma": True}``: a mesh that contains Gamma (False: avoids it);
        - ``{"density": 3.5}``: at least that many points per 1/Angstrom along each reciprocal
          vector, with ``"gamma"`` and ``"even": True | False`` (even or odd divisions); one point
          along directions in which ``crystal.pbc`` is False;
        - ``[[0, 0, 0], [0.5, 0, 0]]`` or ``{"kpts": ..., "weights": ...}``: an explicit list in
          reduced coordinates, used as it is, with equal weights by default;
        - `KPoints`: returned unchanged.
    crystal : Crystal
        Determines symmetry and, for a density, the size of the zone.
    symmetry : bool, str, mapping, SymmetryGroup or None, optional
        True, None: meshes are reduced by the space group of the crystal and time reversal, except
        operations that do not map the mesh onto itself. False, ``"off"``: no reduction at all. See
        also `values.symmetry_choice`. A group: reduced by that one.

    Returns
    -------
    KPoints
        On the device of the crystal.

    Raises
    ------
    ValueError
        For divisions that are not positive integers, NaN, wrong shapes, unknown keys, or an unknown
        symmetry.

    Warns
    -----
    MeshSymmetryWarning
        If operations of the crystal are dropped because the mesh avoids Gamma.

    References
    ----------
    H. J. Monkhorst, J. D. Pack, Phys. Rev. B 13, 5188 (1976).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, make_kpoints
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> len(make_kpoints({"size": (4, 4, 4), "gamma": True}, silicon))
    8
    >>> len(make_kpoints((4, 4, 4), silicon, symmetry=False))
    64
    """
    if isinstance(spec, KPoints):
        return spec if spec.coordinates.device == crystal.device else spec.to(crystal.device)
    choice = None if isinstance(symmetry, SymmetryGroup) else symmetry_choice(symmetry)
    if spec is None:
        spec = (1, 1, 1)
    if isinstance(spec, Mapping):
        if "kpts" in spec:
            _check_keys(spec, _LIST_KEYS, "an explicit list of k-points")
            return _explicit(spec["kpts"], spec.get("weights"), crystal)
        _check_keys(spec, _MESH_KEYS, "a k-point mesh")
        size, offsets = _mesh_from_mapping(spec, crystal)
    else:
        array = _numeric(spec)
        if array.ndim > 1:
            return _explicit(array, None, crystal)
        size, offsets = _check_size(spec), np.zeros(3)
    if choice is None:
        group = symmetry
    else:
        group = find_symmetry(crystal) if choice.point_group else SymmetryGroup.trivial()
        group = replace(group, time_reversal=choice.time_reversal)
    if choice is not None and choice.symmorphic:
        shifts = group.translations - np.rint(group.translations)
        group = group.subset(np.abs(shifts).max(axis=1) < _NO_SHIFT)
    return _reduce(size, offsets, group).to(crystal.device)


def _check_keys(spec: Mapping[str, Any], valid: Sequence[str], what: str) -> None:
    unknown = sorted(set(map(str, spec)) - set(valid))
    if "path" in unknown:
        raise ValueError(
            f"k-points: {dict(spec)!r} is a path, along which no density can be summed: give a "
            "mesh such as {'size': (4, 4, 4), 'gamma': True}, and the path to "
            "calc.band_structure(path) or band_structure(result, path)."
        )
    if unknown:
        raise ValueError(
            f"unknown key(s) {', '.join(map(repr, unknown))} for {what}; valid keys: "
            f"{', '.join(_MESH_KEYS)} for a mesh, {', '.join(_LIST_KEYS)} for an explicit list."
        )


def _numeric(spec: Any) -> np.ndarray:
    try:
        plain = np.asarray(spec.detach().cpu() if isinstance(spec, torch.Tensor) else spec)
        # numpy converts text and booleans to numbers, but "444" is not a mesh of 444 divisions.
        if plain.dtype.kind not in "iuf" and plain.size > 0:
            raise TypeError("not numbers")
        return plain.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cannot read k-points from {spec!r}; give three divisions such as (4, 4, 4), a "
            "dictionary such as {'size': (4, 4, 4), 'gamma': True} or {'density': 3.5}, or an "
            "(nk, 3) list of reduced coordinates."
        ) from error


def _check_size(size: Any) -> tuple[int, int, int]:
    array = _numeric(size)
    if array.ndim == 0 and not isinstance(size, (bool, np.bool_)):
        array = np.full(3, array)
    if array.shape != (3,) or not np.all(array == np.rint(array)) or np.any(array < 1):
        raise ValueError(
            f"a k-point mesh needs three positive integers, or one for all three, got {size!r}; an "
            "explicit k-point is given as [[k1, k2, k3]], a density as {'density': 3.5}."
        )
    return int(array[0]), int(array[1]), int(array[2])


def _mesh_from_mapping(
    spec: Mapping[str, Any], crystal: Crystal
) -> tuple[tuple[int, int, int], np.ndarray]:
    from ase.calculators.calculator import kpts2sizeandoffsets

    if "size" in spec and "density" in spec:
        raise ValueError("give either 'size' or 'density' of the k-point mesh, not both.")
    keywords: dict[str, Any] = {}
    for name in ("gamma", "even"):
        value = spec.get(name)
        keywords[name] = None if value is None else flag(value, f"k-points: {name!r}")
    if "density" in spec:
        density = _numeric(spec["density"])
        if density.shape != () or not np.isfinite(density) or density <= 0:
            raise ValueError(
                "the k-point density must be a positive number (points per 1/Angstrom), got "
                f"{spec['density']!r}."
            )
        keywords |= {"density": float(density), "atoms": crystal.to_ase()}
    elif "size" in spec:
        keywords["size"] = _check_size(spec["size"])
    size, offsets = kpts2sizeandoffsets(**keywords)
    return _check_size(size), np.asarray(offsets, dtype=np.float64)


def _explicit(kpts: Any, weights: Any, crystal: Crystal) -> KPoints:
    coordinates = _numeric(kpts)
    if coordinates.ndim != 2 or coordinates.shape[1] != 3 or len(coordinates) == 0:
        raise ValueError(
            "an explicit list of k-points must have shape (nk, 3) with nk > 0, got "
            f"{coordinates.shape}."
        )
    if weights is None:
        weights = np.full(len(coordinates), 1 / len(coordinates))
    k_points = KPoints(
        torch.from_numpy(coordinates), torch.from_numpy(_numeric(weights)), SymmetryGroup.trivial()
    )
    return k_points.to(crystal.device)


def _reduce(size: tuple[int, int, int], offsets: np.ndarray, group: SymmetryGroup) -> KPoints:
    """One k-point per orbit of the mesh ``(i + shift) / size``, in exact integer arithmetic."""
    from ase.dft.kpoints import monkhorst_pack

    divisions = np.array(size)
    # 2 n k is an integer for Monkhorst-Pack points with or without an offset of half a division.
    corner = monkhorst_pack(size)[0] + offsets
    shift = np.rint(2 * divisions * corner).astype(np.int64) % 2  # in half divisions
    common = 2 * int(np.lcm.reduce(divisions))
    step = common // divisions  # step of the mesh, in units of 1 / common
    origin = shift * step // 2

    # k transforms with W^T (up to inversion of the group element). The mesh is a lattice plus an
    # origin, so it is invariant when the images of its three steps and of its origin are in it.
    transposed = group.rotations.transpose(0, 2, 1)
    steps_kept = (transposed * step[None, None, :]) % step[None, :, None] == 0
    origin_kept = (transposed @ origin - origin) % step == 0
    lattice_kept = steps_kept.all(axis=(1, 2))
    kept = lattice_kept & origin_kept.all(axis=1)
    dropped = int(lattice_kept.sum() - kept.sum())
    if dropped > 0:
        warnings.warn(
            f"the {' x '.join(map(str, size))} mesh of k-points avoids Gamma and lacks {dropped} "
            f"of the crystal's {len(group)} symmetry operations: they are not used, which costs "
            "more k-points and may split degenerate states. "
            f"{{'size': {size}, 'gamma': True}} has them.",
            MeshSymmetryWarning,
            stacklevel=users_stacklevel(),
        )
    group = group.subset(kept)

    mesh = np.indices(size).reshape(3, -1).T * step + origin  # (nk, 3), in units of 1 / common
    representative = np.arange(len(mesh))
    for rotation in group.point_group:
        image = mesh @ rotation  # = W^T k for every row
        for sign in (1, -1) if group.time_reversal else (1,):
            index = ((sign * image - origin) % common) // step
            flat = np.ravel_multi_index(tuple(index.T), size)
            np.minimum(representative, flat, out=representative)
    chosen, counts = np.unique(representative, return_counts=True)

    numerators = mesh[chosen]
    numerators = numerators - common * (2 * numerators > common)  # into (-1/2, 1/2]
    return KPoints(
        torch.from_numpy(numerators / common),
        torch.from_numpy(counts / len(mesh)),
        group,
        size,
        dropped,
    )
