"""What a `DensityModel` is given: a network or its name, structures, metrics."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepchem.metrics import Metric

from deepchem_xc._values import real_number
from deepchem_xc.densities import DensityNetwork, DensityPredictor
from deepchem_xc.densities.files import NETWORKS, valences_of
from deepchem_xc.densities.other_code import predictor_for
from deepchem_xc.keywords import standard


def predictor_of(
    elements: Any,
    network: Any,
    target: str | None,
    spin: bool | None,
    functional: Any,
    pseudopotentials: Any,
    other_code: str | None,
    options: Mapping[str, Any] | None,
    seed: int,
) -> tuple[DensityPredictor, Any]:
    """Predictor of a `DensityModel` with these options, and its potentials: None for other codes.

    Raises
    ------
    ValueError
        For options that are invalid or contradict each other.
    """
    electrons: Mapping[str, float] | None = elements if isinstance(elements, Mapping) else None
    if other_code is None:
        if electrons is not None:
            raise ValueError(
                f"elements = {elements!r} gives numbers of electrons, which for densities of this "
                "package their pseudopotentials have: give a list of elements, or name the code "
                "whose densities have these electrons by other_code=."
            )
        potentials = standard("pseudopotentials") if pseudopotentials is None else pseudopotentials
    else:
        if pseudopotentials is not None:
            raise ValueError(
                f"pseudopotentials = {pseudopotentials!r} are those of this package, but "
                f"other_code={other_code!r} makes a model for densities without them: leave one "
                "of both out."
            )
        if electrons is None and not (elements is None and isinstance(network, DensityNetwork)):
            raise ValueError(
                f"elements = {elements!r}: with other_code={other_code!r} give a mapping that "
                "names the electrons of each element in that code's files, such as {'Si': 4} "
                "(VASP's ZVAL), or {'Si': 14} for all-electron densities."
            )
        potentials = None
    made = network_of(elements, network, target, spin, potentials, options, seed)
    name = functional if functional is None or isinstance(functional, str) else functional.name
    return predictor_for(made, potentials, name, other_code), potentials


def network_of(
    elements: str | Sequence[str] | Mapping[str, float] | None,
    network: Any,
    target: str | None,
    spin: bool | None,
    pseudopotentials: Any,
    options: Mapping[str, Any] | None,
    seed: int,
) -> DensityNetwork:
    """The network that was given, or one of the named kind."""
    electrons: Mapping[str, float] | None = elements if isinstance(elements, Mapping) else None
    symbols = None
    if elements is not None:
        symbols = [elements] if isinstance(elements, str) else [str(one) for one in elements]
        if not symbols:
            raise ValueError("elements is empty: name those of the structures, as in ['Si'].")
    if isinstance(network, DensityNetwork):
        contradictions = {
            "elements": symbols is not None
            and (
                sorted(set(symbols)) != list(network.valences)
                or (electrons is not None and dict(electrons) != network.valences)
            ),
            "target": target not in (None, network.target),
            "spin": spin not in (None, network.spin),
            "network_options": bool(options),
        }
        wrong = [name for name, is_wrong in contradictions.items() if is_wrong]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} contradict the given network ({', '.join(network.valences)}; "
                f"target {network.target}, spin {network.spin}): leave them out."
            )
        return network
    if network not in NETWORKS:
        raise ValueError(
            f"network must be one of {', '.join(map(repr, NETWORKS))}, or a DensityNetwork, got "
            f"{network!r}."
        )
    if symbols is None:
        raise ValueError("elements is missing: name those of the structures, as in ['Si'].")
    keywords = {
        "target": "difference" if target is None else target,
        "spin": False if spin is None else spin,
        "seed": seed,
    }
    kind = NETWORKS[network]
    known = inspect.signature(kind).parameters.keys() - {"valences", *keywords}
    unknown = sorted(set(options or {}) - known)
    if unknown:
        raise ValueError(
            f"network_options {', '.join(unknown)} are not known to network={network!r}; valid: "
            f"{', '.join(sorted(known))}."
        )
    made: Any = kind
    valences = valences_of(pseudopotentials, symbols) if electrons is None else electrons
    return made(valences, **keywords, **(options or {}))


def scales(given: Any) -> tuple[float, float]:
    """Smallest and largest factor of initial moments.

    Examples
    --------
    >>> scales((0.5, 2))
    (0.5, 2.0)
    """
    valid = "moment_scales must be two positive numbers, the smaller first, as in (0.5, 2.0)"
    try:
        low, high = (real_number(one, "moment_scales") for one in given)
    except (TypeError, ValueError):
        raise ValueError(f"{valid}; got {given!r}.") from None
    if not 0.0 < low <= high < float("inf"):
        raise ValueError(f"{valid}; got {given!r}.")
    return low, high


def listed(given: Any) -> list[Any]:
    """Structures as a list; one alone is accepted."""
    single = any(
        hasattr(given, name) for name in ("get_scaled_positions", "frac_coords", "symbols")
    )
    if single or hasattr(given, "fields") or not isinstance(given, Iterable):
        return [given]
    return list(given)


def named_function(metric: Any) -> tuple[str, Any]:
    """Name and function of a metric, also of a `Metric` of DeepChem."""
    function = metric.metric if isinstance(metric, Metric) else metric
    if not callable(function):
        raise ValueError(
            f"a metric must be a function of two densities, such as density_error, got {metric!r}."
        )
    name = getattr(metric, "name", None) or getattr(function, "__name__", type(function).__name__)
    return str(name), function
