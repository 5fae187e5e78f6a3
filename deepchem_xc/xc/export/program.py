"""Writing a functional as a file that torch alone can load."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch

from deepchem_xc import __version__
from deepchem_xc._atomic import replacing

from ..base import XCFunctional, as_functional
from ..exact_exchange import exchange_shares
from ..file_format import digest
from ..saving import file_contents
from ..trial import check_functional
from .comparison import compare
from .signature import HEADER, Signature
from .tracing import frozen_copy, refuse_parts, trace

__all__ = ["export_functional"]

_FORMAT = 1
_SUFFIX = ".pt2"


def export_functional(
    functional: XCFunctional,
    path: str | os.PathLike[str],
    nspin: int = 1,
    classes: Iterable[type[torch.nn.Module]] = (),
) -> Signature:
    """Write a functional as a program that torch runs without this package.

    Parameters
    ----------
    functional : XCFunctional
        In torch: any of this package except libxc's, sums, multiples, networks, and classes of
        your own.
    path : str or path-like
        Must end in ``.pt2``.
    nspin : int, optional
        1: a program of the total density. 2: one of the up and down densities.
    classes : iterable of types, optional
        Your own classes among its functionals and networks, as for
        :func:`~deepchem_xc.xc.save_functional`.

    Returns
    -------
    Signature
        Names, order, shapes and units of the program's inputs and outputs.

    Raises
    ------
    ValueError
        For functionals of libxc, of DeepChem's ``BaseXC`` alone, and those whose operations depend
        on values of the density or that use gradients in another way than through their scalar
        products; for functionals that could not be used in a calculation or saved; for another
        number of channels and another ending of the file name.
    OSError
        If the file cannot be written.

    Notes
    -----
    ``torch.export.load(path).module()`` returns the program. With ``nspin = 2`` it maps ``rho``
    (2, n), for GGAs and meta-GGAs ``sigma`` (3, n) and for meta-GGAs ``tau`` (2, n) to ``exc`` (n,)
    and ``vrho`` (2, n), ``vsigma`` (3, n), ``vtau`` (2, n), for any n. With ``nspin = 1`` all but
    ``exc`` have one row. :mod:`deepchem_xc.xc.export.signature` says what each one is.

    The program screens vacuum and empty channels as the functional does, runs on the CPU, and takes
    first derivatives only: its outputs do not require gradients. The text ``"deepchem_xc.json"``
    inside the file holds the signature, the functional's definition, versions, and a checksum of
    definition and weights, which is also that of :func:`~deepchem_xc.xc.save_functional`.

    Examples
    --------
    >>> import tempfile, torch
    >>> from deepchem_xc.xc import export_functional, get_xc
    >>> path = tempfile.mkdtemp() + "/lda.pt2"
    >>> signature = export_functional(get_xc("LDA"), path)
    >>> [quantity.name for quantity in (*signature.inputs, *signature.outputs)]
    ['rho', 'exc', 'vrho']
    >>> program = torch.export.load(path).module()
    >>> program(torch.ones(1, 3, dtype=torch.float64))[0]  # Hartree / bohr^3
    tensor([-0.8098, -0.8098, -0.8098], dtype=torch.float64)
    """
    functional = as_functional(functional)
    signature = Signature.of(functional.ingredients, nspin)
    if Path(path).suffix != _SUFFIX:
        raise ValueError(
            f"an exported program's name must end in {_SUFFIX}, got {os.fspath(path)!r}; "
            "functional.save(path) writes files for this package, .safetensors"
        )
    refuse_parts(functional)
    check_functional(functional)
    header, tensors = file_contents(functional, tuple(classes))
    described = {
        "format": _FORMAT,
        "deepchem_xc": __version__,
        "torch": torch.__version__,
        "name": functional.name,
        "family": functional.family,
        "density_threshold": functional.density_threshold,
        # Pairs of omega (1/bohr) and fraction; the program is the rest of a hybrid.
        "exact_exchange": [[w, float(a)] for w, a in exchange_shares(functional).items()],
        **signature.described(),
        "functional": header["functional"],
        "sha256": digest(header, tensors),
    }
    copied = frozen_copy(functional)
    program = trace(copied, signature)
    buffer = io.BytesIO()
    text = json.dumps(described, allow_nan=False)
    torch.export.save(program, buffer, extra_files={HEADER: text})
    compare(copied, program.module(), signature)
    with replacing(path, "wb") as file:
        file.write(buffer.getvalue())
    return signature
