"""Functionals against their published equations in 60 digits, where libxc is no reference.

Vacuum, gradients that saturate the functional, and nearly or fully polarised densities: there the
derivatives of libxc carry errors up to 1e-4 by cancellation.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from deepchem_xc.xc import get_xc

THIRD = mp.mpf(1) / 3


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(60):
        yield


def kf(n):
    return mp.cbrt(3 * mp.pi**2 * n)


def pw92(rs, zeta):
    """Perdew and Wang (1992), equations (8)-(10), with the constants of many digits."""

    def g(a, alpha1, beta1, beta2, beta3, beta4):
        a, alpha1, beta1, beta2, beta3, beta4 = map(mp.mpf, (a, alpha1, beta1, beta2, beta3, beta4))
        root = mp.sqrt(rs)
        q = 2 * a * (beta1 * root + beta2 * rs + beta3 * rs * root + beta4 * rs**2)
        return -2 * a * (1 + alpha1 * rs) * mp.log(1 + 1 / q)

    unpolarised = g("0.0310907", "0.21370", "7.5957", "3.5876", "1.6382", "0.49294")
    polarised = g("0.01554535", "0.20548", "14.1189", "6.1977", "3.3662", "0.62517")
    stiffness = -g("0.0168869", "0.11125", "10.357", "3.6231", "0.88026", "0.49671")
    f = ((1 + zeta) ** (4 * THIRD) + (1 - zeta) ** (4 * THIRD) - 2) / (2 ** (4 * THIRD) - 2)
    curvature = 4 / (9 * (mp.cbrt(2) - 1))
    return (
        unpolarised
        + stiffness * f / curvature * (1 - zeta**4)
        + (polarised - unpolarised) * f * zeta**4
    )


def pbe_correlation(up, down, sigma_uu, sigma_ud, sigma_dd):
    """Perdew, Burke and Ernzerhof (1996), equations (3), (7), (8)."""
    n = up + down
    zeta = (up - down) / n
    phi = ((1 + zeta) ** (2 * THIRD) + (1 - zeta) ** (2 * THIRD)) / 2
    sigma = sigma_uu + 2 * sigma_ud + sigma_dd
    t2 = sigma / (4 * phi**2 * (4 * kf(n) / mp.pi) * n**2)
    beta, gamma = mp.mpf("0.06672455060314922"), (1 - mp.log(2)) / mp.pi**2
    ec = pw92(mp.cbrt(3 / (4 * mp.pi * n)), zeta)
    a = beta / gamma / (mp.exp(-ec / (gamma * phi**3)) - 1)
    ratio = (1 + a * t2) / (1 + a * t2 + a**2 * t2**2)
    return n * (ec + gamma * phi**3 * mp.log(1 + beta / gamma * t2 * ratio))


def lyp(up, down, sigma_uu, sigma_ud, sigma_dd):
    """Lee, Yang and Parr (1988) in the form of Miehlich et al. (1989), equation (2)."""
    n = up + down
    a, b, c, d = map(mp.mpf, ("0.04918", "0.132", "0.2533", "0.349"))
    x = 1 / mp.cbrt(n)
    omega = mp.exp(-c * x) / (1 + d * x) * n ** (-11 * THIRD)
    delta = c * x + d * x / (1 + d * x)
    sigma = sigma_uu + 2 * sigma_ud + sigma_dd
    cf = 3 * (3 * mp.pi**2) ** (2 * THIRD) / 10
    bracket = (
        2 ** (11 * THIRD) * cf * (up ** (8 * THIRD) + down ** (8 * THIRD))
        + (mp.mpf(47) / 18 - 7 * delta / 18) * sigma
        - (mp.mpf(5) / 2 - delta / 18) * (sigma_uu + sigma_dd)
        - (delta - 11) / 9 * (up / n * sigma_uu + down / n * sigma_dd)
    )
    rest = (
        -2 * n**2 * sigma / 3
        + (2 * n**2 / 3 - up**2) * sigma_dd
        + (2 * n**2 / 3 - down**2) * sigma_uu
    )
    return -a * 4 / (1 + d * x) * up * down / n - a * b * omega * (up * down * bracket + rest)


def exchange(enhancement):
    def energy(up, down, sigma_uu, sigma_ud, sigma_dd):
        total = mp.mpf(0)
        for n, sigma in ((2 * up, 4 * sigma_uu), (2 * down, 4 * sigma_dd)):
            if n > 0:
                s2 = sigma / (2 * kf(n) * n) ** 2
                total -= 3 * kf(n) / (4 * mp.pi) * n * enhancement(s2) / 2
        return total

    return energy


def rpbe_factor(s2):
    """Hammer, Hansen and Norskov (1999), equation (15)."""
    kappa, mu = mp.mpf("0.804"), mp.mpf("0.2195149727645171")
    return 1 + kappa * (1 - mp.exp(-mu * s2 / kappa))


def pbe_factor(s2):
    kappa, mu = mp.mpf("0.804"), mp.mpf("0.2195149727645171")
    return 1 + kappa - kappa / (1 + mu * s2 / kappa)


def b88_factor(s2):
    """Becke (1988), equation (8), x being the reduced gradient of one spin channel."""
    beta = mp.mpf("0.0042")
    x = mp.sqrt(4 * (6 * mp.pi**2) ** (2 * THIRD) * s2)
    slater = mp.mpf(3) / 2 * mp.cbrt(3 / (4 * mp.pi))
    return 1 + beta / slater * x**2 / (1 + 6 * beta * x * mp.asinh(x))


R2SCAN_X_TEXT = (
    "1 -0.667 -0.4445555 -0.663086601049 1.451297044490 -0.887998041597 0.234528941479 "
    "-0.023185843322"
)
R2SCAN_C_TEXT = (
    "1 -0.64 -0.4352 -1.535685604549 3.061560252175 -1.915710236206 0.516884468372 -0.051848879792"
)
R2SCAN_X, R2SCAN_C = ([mp.mpf(c) for c in text.split()] for text in (R2SCAN_X_TEXT, R2SCAN_C_TEXT))
ETA, DP2 = mp.mpf("0.001"), mp.mpf("0.361")


def iso_orbital(n, sigma, tau, spin_factor):
    """Furness et al. (2020), equation (6)."""
    weizsaecker = sigma / (8 * n)
    uniform = 3 * kf(n) ** 2 * n * spin_factor / 10
    return (tau - weizsaecker) / (uniform + ETA * weizsaecker)


def interpolation(alpha, polynomial, below, above, limit):
    """Equation (8)."""
    if alpha < 0:
        return mp.exp(-mp.mpf(below) * alpha / (1 - alpha))
    if alpha > 2.5:
        return -mp.mpf(limit) * mp.exp(mp.mpf(above) / (1 - alpha))
    return sum(c * alpha**i for i, c in enumerate(polynomial))


def r2scan_exchange(up, down, sigma_uu, sigma_ud, sigma_dd, tau_up, tau_down):
    """Furness et al. (2020), equations (7)-(11) and (S1)-(S13)."""
    h0, k1, a1 = mp.mpf("1.174"), mp.mpf("0.065"), mp.mpf("4.9479")
    c2 = -sum(i * c for i, c in enumerate(R2SCAN_X)) * (1 - h0)
    total = mp.mpf(0)
    for n, sigma, tau in (
        (2 * up, 4 * sigma_uu, 2 * tau_up),
        (2 * down, 4 * sigma_dd, 2 * tau_down),
    ):
        if n > 0:
            p = sigma / (2 * kf(n) * n) ** 2
            f = interpolation(iso_orbital(n, sigma, tau, 1), R2SCAN_X, "0.667", "0.8", "1.24")
            x = (mp.mpf(20) / 27 + 5 * ETA / 3) * c2 * mp.exp(-(p**2) / DP2**4) + mp.mpf(10) / 81
            h1 = 1 + k1 - k1 / (1 + x * p / k1)
            decay = 1 - mp.exp(-a1 / mp.sqrt(mp.sqrt(p))) if p > 0 else 1
            total -= 3 * kf(n) / (4 * mp.pi) * n * (h1 + f * (h0 - h1)) * decay / 2
    return total


def r2scan_correlation(up, down, sigma_uu, sigma_ud, sigma_dd, tau_up, tau_down):
    """Furness et al. (2020) and its correction, equations (12)-(18) and (S14)-(S37)."""
    n, sigma = up + down, sigma_uu + 2 * sigma_ud + sigma_dd
    zeta, rs = (up - down) / n, mp.cbrt(3 / (4 * mp.pi * n))
    p = sigma / (2 * kf(n) * n) ** 2

    def powers(exponent):
        return ((1 + zeta) ** exponent + (1 - zeta) ** exponent) / 2

    phi, ds = powers(2 * THIRD), powers(5 * THIRD)
    b1, b2, b3 = mp.mpf("0.0285764"), mp.mpf("0.0889"), mp.mpf("0.125541")
    gc = (1 - mp.mpf("2.363") * (powers(4 * THIRD) - 1)) * (1 - zeta**12)

    def lda0(r):
        return -b1 / (1 + b2 * mp.sqrt(r) + b3 * r)

    g_infinity = (1 + 4 * mp.mpf("0.12802585262625815") * p) ** mp.mpf("-0.25")
    h0 = b1 * mp.log(1 + (mp.exp(-lda0(rs) / b1) - 1) * (1 - g_infinity))
    one_orbital = (lda0(rs) + h0) * gc

    gamma = (1 - mp.log(2)) / mp.pi**2
    ec = pw92(rs, zeta)
    with mp.workdps(2 * mp.mp.dps):  # as the whole is differentiated again
        slope = mp.diff(lambda r: lda0(r) * gc - pw92(r, zeta), rs)
    beta = mp.mpf("0.06672455060314922") * (1 + rs / 10) / (1 + mp.mpf("0.1778") * rs)
    w1 = mp.exp(-ec / (gamma * phi**3)) - 1
    t2 = (3 * mp.pi**2 / 16) ** (2 * THIRD) * p / (phi**2 * rs)
    shift = sum(i * c for i, c in enumerate(R2SCAN_C)) / (27 * gamma * ds * phi**3 * w1)
    shift *= 20 * rs * slope - 45 * ETA * (lda0(rs) * gc - ec)
    shift *= p * mp.exp(-(p**2) / DP2**4)
    g = (1 + 4 * (beta * t2 / (gamma * w1) - shift)) ** mp.mpf("-0.25")
    slow = ec + gamma * phi**3 * mp.log(1 + w1 * (1 - g))

    alpha = iso_orbital(n, sigma, tau_up + tau_down, ds)
    f = interpolation(alpha, R2SCAN_C, "0.64", "1.5", "0.7")
    return n * (slow + f * (one_orbital - slow))


EQUATIONS = {
    "gga_x_pbe": exchange(pbe_factor),
    "gga_x_rpbe": exchange(rpbe_factor),
    "gga_x_b88": exchange(b88_factor),
    "gga_c_pbe": pbe_correlation,
    "gga_c_lyp": lyp,
    "mgga_x_r2scan": r2scan_exchange,
    "mgga_c_r2scan": r2scan_correlation,
}

# density, 1 - zeta, reduced gradient of each channel
EXTREMES = {
    "vacuum": (1e-13, 0.7, 1.0),
    "vacuum, large gradient": (1e-12, 0.4, 30.0),
    "small gradient": (0.3, 0.6, 1e-7),
    "saturating gradient": (0.05, 0.8, 200.0),
    "nearly polarised": (0.5, 1e-7, 0.8),
    "nearly polarised, low density": (1e-5, 1e-6, 3.0),
    "core": (1e5, 0.9, 0.5),
}


def point(identifier, density, minority, s, alphas=(0.4, 3.5)):
    """(2, 4, 1) density and gradient, the gradients of the channels at an angle.

    For meta-GGAs (2, 5, 1), with a kinetic energy density of the given alpha in each channel.
    """
    up, down = density * (1.0 - 0.5 * minority), density * 0.5 * minority
    two_kf = 2.0 * (3.0 * np.pi**2) ** (1.0 / 3.0)
    rho = np.zeros((2, 4, 1))
    rho[0, :2, 0] = up, s * two_kf * up ** (4 / 3)
    rho[1, :3, 0] = down, *(0.7 * s * two_kf * down ** (4 / 3) * np.array([0.6, 0.8]))
    if not identifier.startswith("mgga"):
        return rho
    n = rho[:, :1]
    uniform = 0.3 * (6.0 * np.pi**2) ** (2 / 3) * n ** (5 / 3)
    weizsaecker = (rho[:, 1:] ** 2).sum(1, keepdims=True) / (8.0 * np.where(n > 0.0, n, 1.0))
    return np.concatenate((rho, weizsaecker + np.reshape(alphas, (2, 1, 1)) * uniform), axis=1)


def exact_derivatives(energy, packed):
    """Energy, first and second derivatives in the order of the fixture ``derivatives``."""
    x = [mp.mpf(float(value)) for value in packed]
    size = range(len(x))

    def moved(steps):  # relative steps: the variables differ by many powers of ten
        return energy(*(x[i] * (1 + steps.get(i, 0)) for i in size))

    values = [moved({})]
    values += [mp.diff(lambda t, i=i: moved({i: t}), 0) / x[i] for i in size]
    for i in size:
        values.append(mp.diff(lambda t, i=i: moved({i: t}), 0, 2) / x[i] ** 2)
        for j in range(i + 1, len(x)):
            mixed = mp.diff(lambda t, u, i=i, j=j: moved({i: t, j: u}), (0, 0), (1, 1))
            values.append(mixed / x[i] / x[j])
    return np.array([float(value) for value in values])


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("identifier", EQUATIONS)
def test_energy_potential_and_kernel(identifier, extreme, derivatives, contract):
    rho = point(identifier, *EXTREMES[extreme])
    ours = derivatives(get_xc(identifier), rho)[:, 0]
    exact = exact_derivatives(EQUATIONS[identifier], contract(rho)[:, 0])
    vanishing = np.abs(exact) < 1e-25 * np.abs(exact).max()
    assert np.all(np.abs(ours - exact)[~vanishing] <= 1e-9 * np.abs(exact)[~vanishing])
    assert np.all(np.abs(ours)[vanishing] <= 1e-20 * np.abs(exact).max())


@pytest.mark.parametrize("density", [1e-3, 0.2, 50.0])
@pytest.mark.parametrize("identifier", EQUATIONS)
def test_full_polarisation(identifier, density, derivatives, contract):
    """With one channel empty: the energy, and the potential of the other channel."""
    rho = point(identifier, density, 0.0, 1.1)
    ours = derivatives(get_xc(identifier), rho)[:, 0]
    energy = EQUATIONS[identifier]
    up, _, sigma, _, _, *tau = (mp.mpf(float(value)) for value in contract(rho)[:, 0])
    exact = [
        energy(up, 0, sigma, 0, 0, *tau),
        mp.diff(lambda n: energy(n, 0, sigma, 0, 0, *tau), up),
        mp.diff(lambda s: energy(up, 0, s, 0, 0, *tau), sigma),
    ]
    exact = np.array(exact, dtype=float)
    # LYP gives a single channel no correlation
    assert np.all(np.abs(ours[[0, 1, 3]] - exact) <= 1e-9 * np.abs(exact) + 1e-15)
