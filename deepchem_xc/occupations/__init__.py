"""How electrons fill levels: integer filling or smearing, Fermi level, entropy.

Contract: eigenvalues (nspin, nk, nband) in Hartree and k-point weights in, occupations
(nspin, nk, nband) between 0 and 2 / nspin out, without the k-point weight. Nothing here knows what
a basis is, so that crystals and molecules share it. Impossible electron counts are refused before
anything is computed.
"""
