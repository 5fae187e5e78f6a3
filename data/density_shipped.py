"""Write the densities that come with the package: the quick part of the silicon set.

    python data/density_shipped.py --data-dir densities

Densities that are not kept in the folder yet are computed, in two minutes on 2 cores. The archive
is the same whenever it is made from the same densities.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

from deepchem_xc.molnet import compute_densities

HERE = Path(__file__).parent
NAME = "silicon"
# The earliest time that archives can hold: files have none of their own here.
TIME = (1980, 1, 1, 0, 0, 0)


def write_archive(paths: list[Path], output: Path) -> None:
    """Pack the files, compressed: half of a file are the integers of its plane waves."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(paths):
            member = zipfile.ZipInfo(path.name, TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes(), compresslevel=9)


def main() -> None:
    """Compute what is missing, and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="where densities are kept")
    parser.add_argument("--output", type=Path, default=HERE)
    given = parser.parse_args()
    paths = compute_densities(NAME, given.data_dir, quick=True)
    output = given.output / f"density_{NAME}.zip"
    write_archive(list(paths.values()), output)
    print(f"{output.name}: {len(paths)} densities, {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
