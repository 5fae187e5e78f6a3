"""Layers of equivariant message passing: messages along pairs, products at each atom, gates.

Features are (n, channels, components) as in `angular`. Under reversal of all initial moments they
are even or odd. `Features` holds both; without spin the odd ones are absent, and nothing is
computed for them. Every operation keeps to the rule that products of two even or two odd features
are even, and the others odd.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepchem_xc.densities.angular import Coupling, components, l_of_components

#: Factor that gives SiLU of a normal variable the mean square 1.
_SILU = 1.6765


@dataclass(frozen=True, eq=False)
class Features:
    """Features of atoms or points, (n, channels, components), even and odd in the moments."""

    even: Tensor
    odd: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Edges:
    """What messages along pairs depend on besides features.

    Attributes
    ----------
    receivers, senders : Tensor
        (npair,), integers.
    harmonics : Tensor
        Of the directions from receivers to senders, (npair, components).
    radial : Tensor
        Functions of the distances and embeddings of the elements, (npair, number).
    decay : Tensor
        Factor that vanishes at the cutoff, (npair,).
    nreceiver : int
        Number of atoms or points that receive.
    """

    receivers: Tensor
    senders: Tensor
    harmonics: Tensor
    radial: Tensor
    decay: Tensor
    nreceiver: int

    def gather(self, messages: Tensor) -> Tensor:
        """Sum over the pairs of each receiver, (nreceiver, ...)."""
        total = messages.new_zeros(self.nreceiver, *messages.shape[1:])
        return total.index_add(0, self.receivers, messages)


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers; smooth, so that the density has derivatives of every order."""
    layers = [nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)]
    for layer, gain in zip(layers, (1.0, _SILU, _SILU)):
        # Values of the order of 1 at first, throughout; torch's own choice lets them fade.
        nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])


class Mixing(nn.Module):
    """Linear maps of channels, one for each l, and for each element if there are several."""

    def __init__(self, l_max: int, inputs: int, outputs: int, nelement: int = 1) -> None:
        super().__init__()
        weight = torch.randn(nelement, l_max + 1, inputs, outputs) / inputs**0.5
        self.weight = nn.Parameter(weight)
        self.of_component: Tensor
        self.register_buffer("of_component", l_of_components(l_max), persistent=False)

    def forward(self, features: Tensor, elements: Tensor | None = None) -> Tensor:
        """(n, outputs, components), of the components that there are in `features`."""
        l = self.of_component[: features.shape[-1]]
        if elements is None:
            return torch.einsum("ncm,mcd->ndm", features, self.weight[0, l])
        found = torch.zeros_like(features[:, :1]).expand(-1, self.weight.shape[-1], -1)
        for element in torch.unique(elements).tolist():
            chosen = (elements == element).nonzero().squeeze(1)
            mixed = torch.einsum("ncm,mcd->ndm", features[chosen], self.weight[element, l])
            found = found.index_copy(0, chosen, mixed)
        return found


class Gate(nn.Module):
    """Scalars through SiLU; other components, and odd scalars, times a function of even scalars."""

    def __init__(self, channels: int, l_max: int, with_odd: bool) -> None:
        super().__init__()
        self.l_max = l_max
        self.even = nn.Linear(channels, channels * l_max) if l_max else None
        self.odd = nn.Linear(channels, channels * (l_max + 1)) if with_odd else None
        self.of_component: Tensor
        self.register_buffer("of_component", l_of_components(l_max), persistent=False)

    def forward(self, features: Features) -> Features:
        """Features of the same shapes."""
        scalars = features.even[..., 0]
        even = nn.functional.silu(scalars).unsqueeze(-1)
        if self.even is not None:
            factors = torch.sigmoid(self.even(scalars)).unflatten(-1, (-1, self.l_max))
            higher = features.even[..., 1:] * factors[..., self.of_component[1:] - 1]
            even = torch.cat([even, higher], -1)
        if features.odd is None or self.odd is None:
            return Features(even)
        factors = torch.sigmoid(self.odd(scalars)).unflatten(-1, (-1, self.l_max + 1))
        return Features(even, features.odd * factors[..., self.of_component])


class Messages(nn.Module):
    """Sum over neighbours of their features times harmonics of the direction.

    The weights of the products are functions of the distance and of both elements, and vanish at
    the cutoff (NequIP: S. Batzner et al., Nat. Commun. 13, 2453 (2022)).
    """

    def __init__(
        self,
        channels: int,
        l_in: int,
        l_harmonics: int,
        l_out: int,
        nradial: int,
        neighbours: float,
    ) -> None:
        super().__init__()
        self.coupling = Coupling(l_in, l_harmonics, l_out)
        self.before = Mixing(l_in, channels, channels)
        self.weights = perceptron(nradial, 2 * channels, channels * len(self.coupling.paths))
        self.l_harmonics = l_harmonics
        self.scale = neighbours**-0.5

    def forward(self, features: Tensor, edges: Edges) -> Tensor:
        """(nreceiver, channels, components)."""
        sent = self.before(features)[edges.senders]
        weights = self.weights(edges.radial) * edges.decay.unsqueeze(-1)
        harmonics = edges.harmonics[:, : components(self.l_harmonics)]
        found = self.coupling.pair_products(
            sent, harmonics, weights.unflatten(-1, (sent.shape[1], -1))
        )
        return self.scale * edges.gather(found)


def _bounded(features: Tensor) -> Tensor:
    """Features scaled smoothly to a mean square below 1: products of products would explode."""
    size = features.square().mean((-2, -1), keepdim=True)
    return features * (1.0 + size).rsqrt()


class Products(nn.Module):
    """Products of the messages at each atom: three-body terms and beyond.

    As in MACE (I. Batatia et al., arXiv 2206.07697), at second order; weights depend on the
    element.
    """

    def __init__(
        self, channels: int, l_in: int, l_out: int, nelement: int, alike: bool = True
    ) -> None:
        super().__init__()
        self.coupling = Coupling(l_in, l_in, l_out, alike=alike)
        self.weight = nn.Parameter(torch.randn(nelement, channels, len(self.coupling.paths)))
        self.ncomponent = components(l_in)

    def forward(self, first: Tensor, second: Tensor, elements: Tensor) -> Tensor:
        """(n, channels, components)."""
        cut = self.ncomponent
        return self.coupling.channel_products(
            _bounded(first[..., :cut]), _bounded(second[..., :cut]), self.weight[elements]
        )


class Layer(nn.Module):
    """One round of messages between atoms.

    Parameters
    ----------
    channels : int
        Number of features of each component.
    l_in, l_out, l_products : int
        Largest l of the features before and after, and of the factors of products.
    nradial : int
        Number of radial inputs of messages.
    nelement : int
        Number of elements.
    neighbours : float
        Typical number of neighbours.
    with_odd : bool
        Whether there are odd features.
    """

    def __init__(
        self,
        channels: int,
        l_in: int,
        l_out: int,
        l_products: int,
        nradial: int,
        nelement: int,
        neighbours: float,
        with_odd: bool,
    ) -> None:
        super().__init__()

        def parts(alike: bool) -> nn.ModuleDict:
            return nn.ModuleDict(
                {
                    "messages": Messages(channels, l_in, l_out, l_out, nradial, neighbours),
                    "linear": Mixing(l_out, channels, channels),
                    "products": Products(channels, l_products, l_out, nelement, alike),
                    "quadratic": Mixing(l_out, channels, channels),
                    "own": Mixing(l_in, channels, channels, nelement),
                }
            )

        self.even = parts(alike=True)
        self.odd = parts(alike=False) if with_odd else None
        self.odd_squared = Products(channels, l_products, l_out, nelement) if with_odd else None
        self.gate = Gate(channels, l_out, with_odd)

    def forward(self, features: Features, edges: Edges, elements: Tensor) -> Features:
        """Features of the atoms after the round."""
        received = self.even["messages"](features.even, edges)
        products = self.even["products"](received, received, elements)
        if features.odd is None or self.odd is None or self.odd_squared is None:
            even = _assembled(self.even, features.even, received, products, elements)
            return self.gate(Features(even))
        turned = self.odd["messages"](features.odd, edges)
        products = products + self.odd_squared(turned, turned, elements)
        even = _assembled(self.even, features.even, received, products, elements)
        mixed = self.odd["products"](received, turned, elements)
        odd = _assembled(self.odd, features.odd, turned, mixed, elements)
        return self.gate(Features(even, odd))


def _assembled(
    parts: nn.ModuleDict, before: Tensor, received: Tensor, products: Tensor, elements: Tensor
) -> Tensor:
    """Messages, their products and the former features, mixed."""
    own = parts["own"](before, elements)
    found = parts["linear"](received) + parts["quadratic"](products)
    missing = found.shape[-1] - own.shape[-1]
    return (found + nn.functional.pad(own, (0, missing))) / 3.0**0.5
