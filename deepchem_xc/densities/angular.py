"""Real solid harmonics, and the products that couple features of different angular momenta.

A feature is a tensor (n, channels, components): for each l from 0 to some maximum the 2l + 1
components of a real spherical harmonic, one after the other. Features change sign under inversion
as the harmonics do, by (-1)^l, so that only products with l1 + l2 + l3 even occur. e3nn provides
the harmonics and the coupling constants.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def components(l_max: int) -> int:
    """Number of components of all l up to `l_max`."""
    return (l_max + 1) ** 2


def block(l: int) -> slice:
    """Where the components of one l are."""
    return slice(l * l, (l + 1) ** 2)


def l_of_components(l_max: int) -> Tensor:
    """The l of each component, (components,)."""
    return torch.cat([torch.full((2 * l + 1,), l) for l in range(l_max + 1)])


def solid_harmonics(vectors: Tensor, l_max: int) -> Tensor:
    """Real solid harmonics, homogeneous polynomials of degree l.

    Parameters
    ----------
    vectors : Tensor
        Cartesian, (..., 3).
    l_max : int
        Largest l, at most 11.

    Returns
    -------
    Tensor
        (..., components), in the unit of the vectors to the power l. The squares of one l add up to
        (2l + 1) times the length to the power 2l.

    Examples
    --------
    >>> import torch
    >>> solid_harmonics(torch.tensor([0.0, 0.0, 2.0]), 1).square()
    tensor([ 1.,  0.,  0., 12.])
    """
    from e3nn import o3

    return o3.spherical_harmonics(
        list(range(l_max + 1)), vectors, normalize=False, normalization="component"
    )


class Coupling(nn.Module):
    """All products of two features that are features again, each with weights of its own.

    Parameters
    ----------
    l_first, l_second, l_out : int
        Largest l of both factors and of the product.
    alike : bool
        Both factors are the same feature: products of (l1, l2) and (l2, l1) are equal, and only one
        of both is formed.

    Examples
    --------
    The scalar product of two vectors, and the product of two scalars:

    >>> import torch
    >>> coupling = Coupling(1, 1, 0)
    >>> coupling.paths
    ((0, 0, 0), (1, 1, 0))
    """

    def __init__(self, l_first: int, l_second: int, l_out: int, alike: bool = False) -> None:
        from e3nn import o3

        super().__init__()
        self.paths: tuple[tuple[int, int, int], ...] = tuple(
            (first, second, out)
            for out in range(l_out + 1)
            for first in range(l_first + 1)
            for second in range(first if alike else 0, l_second + 1)
            if abs(first - second) <= out <= first + second and (first + second + out) % 2 == 0
        )
        self.l_out = l_out
        self.counts = tuple(sum(path[2] == l for path in self.paths) for l in range(l_out + 1))
        widths = [2 * path[2] + 1 for path in self.paths]
        table = torch.zeros(
            components(l_first), components(l_second), sum(widths), dtype=torch.float64
        )
        start = 0
        for (first, second, out), width in zip(self.paths, widths):
            constants = o3.wigner_3j(first, second, out, dtype=torch.float64)
            # Factors of unit variance in each component then have such products.
            scaled = constants * width**0.5
            table[block(first), block(second), start : start + width] = scaled
            start += width
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)

    def pair_products(self, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        """Products of each channel of `first` with the one channel of `second`.

        Parameters
        ----------
        first : Tensor
            (n, channels, components).
        second : Tensor
            (n, components), for example the harmonics of a direction.
        weights : Tensor
            (n, channels, npath).

        Returns
        -------
        Tensor
            (n, channels, components).
        """
        matrices = torch.einsum("ej,ijk->eik", second, self.table)
        return self._sum_paths(torch.bmm(first, matrices), weights)

    def channel_products(self, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        """Products of two features, channel by channel; the shapes are as above.

        `second` has the shape of `first` here.
        """
        outer = (first.unsqueeze(-1) * second.unsqueeze(-2)).flatten(-2)
        return self._sum_paths(outer @ self.table.flatten(0, 1), weights)

    def _sum_paths(self, products: Tensor, weights: Tensor) -> Tensor:
        found, start, path = [], 0, 0
        for l, count in enumerate(self.counts):
            width = 2 * l + 1
            part = products[..., start : start + count * width].unflatten(-1, (count, width))
            weight = weights[..., path : path + count] / max(count, 1) ** 0.5
            found.append((weight.unsqueeze(-2) @ part).squeeze(-2))
            start, path = start + count * width, path + count
        return torch.cat(found, -1)
