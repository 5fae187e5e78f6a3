"""Functionals and their tests, laid out as DeepChem's tree has them.

Modules of ``deepchem_xc/xc`` and the three small modules that they need become the package
``deepchem.models.dft.xc``; the tests of ``tests/xc`` become its folder ``tests``. Names of modules
are replaced wherever they stand, imports of DeepChem's own types go to where DeepChem has them,
and tests that need another room of this package stay here. An import of this package that is left
over is an error. Runs on Python 3.9, like the tree that it writes.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "deepchem.models.dft.xc"
FOLDER = Path(*PACKAGE.split("."))
# Modules from outside `deepchem_xc/xc` that go with it.
HELPERS = ("_atomic", "_modes")
# What a name of this project's is called there, most special first; whole names alone.
MODULES = {
    r"deepchem_xc\.(_atomic|_files|_modes)": rf"{PACKAGE}.\1",
    r"deepchem_xc\.xc": PACKAGE,
    r"tests\.differences": f"{PACKAGE}.tests.differences",
    r"tests\.xc": f"{PACKAGE}.tests",
}
# DeepChem's modules of the names that `_deepchem.py` imports here.
DEEPCHEM = {
    "del_attr": "deepchem.utils.attribute_utils",
    "get_attr": "deepchem.utils.attribute_utils",
    "set_attr": "deepchem.utils.attribute_utils",
    "AddBaseXC": "deepchem.utils.dft_utils",
    "BaseXC": "deepchem.utils.dft_utils",
    "MulBaseXC": "deepchem.utils.dft_utils",
    "SpinParam": "deepchem.utils.dft_utils",
    "ValGrad": "deepchem.utils.dft_utils",
}
# DeepChem's jobs choose tests by what they need; added to the conftest.
MARKS = """
def pytest_itemcollected(item: pytest.Item) -> None:
    \"\"\"All tests here need torch.\"\"\"
    item.add_marker(pytest.mark.torch)
"""
# Tests that ask for an import without DeepChem's messages, which DeepChem itself does not have.
STAY = (
    "test_import_prints_nothing_and_leaves_logging_alone",
    "test_loading_imports_nothing_that_executes",
)
_TOP = ("deepchem_xc", "tests")


class LayoutError(ValueError):
    """A file that cannot be laid out; the message names it."""


def _is_docstring_or_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _replaced_lines(text: str, replacements: Iterable[tuple[ast.stmt, str]]) -> str:
    """Text with statements replaced; those replaced by "" go with their decorators."""
    lines = text.splitlines(keepends=True)
    for node, new in sorted(replacements, key=lambda pair: -pair[0].lineno):
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        indent = " " * node.col_offset
        lines[first - 1 : node.end_lineno] = [indent + line + "\n" for line in new.splitlines()]
    return "".join(lines)


def _imports_of_deepchem(node: ast.ImportFrom) -> str:
    """The import of this project's `_deepchem`, from DeepChem's own modules."""
    unknown = [alias.name for alias in node.names if alias.name not in DEEPCHEM]
    if unknown:
        raise LayoutError(
            f"line {node.lineno}: {', '.join(unknown)} of _deepchem.py is not in the table DEEPCHEM"
        )
    names: dict[str, list[str]] = {}
    for alias in node.names:
        written = alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
        names.setdefault(DEEPCHEM[alias.name], []).append(written)
    return "\n".join(f"from {module} import {', '.join(found)}" for module, found in names.items())


def rewritten(text: str) -> str:
    """Code with the names and imports that it has in DeepChem's tree.

    Parameters
    ----------
    text : str
        Code of a module or a test of this project's.

    Returns
    -------
    str
        With imports of DeepChem's types from DeepChem, and names of modules replaced, also those
        in docstrings and messages. Imports of other rooms of this package are left.

    Raises
    ------
    LayoutError
        If `_deepchem` is asked for a name that the table of DeepChem's modules does not have.

    Examples
    --------
    >>> print(rewritten("from .._deepchem import BaseXC, get_attr"))
    from deepchem.utils.dft_utils import BaseXC
    from deepchem.utils.attribute_utils import get_attr
    <BLANKLINE>
    >>> rewritten("import deepchem_xc.xc.libxc  # not deepchem_xc.xcfun")
    'import deepchem.models.dft.xc.libxc  # not deepchem_xc.xcfun'
    """
    own = [
        (node, _imports_of_deepchem(node))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("_deepchem")
    ]
    if own:
        text = _replaced_lines(text, own)
    text = re.sub(r"\bfrom deepchem_xc import __v", "from deepchem import __v", text)
    for name, new in MODULES.items():
        text = re.sub(rf"(?<![\w.]){name}(?!\w)", new, text)
    return text


def foreign_imports(tree: ast.AST) -> dict[ast.stmt, set[str]]:
    """Imports of this project that would be left in DeepChem's tree, with the names they bind.

    Examples
    --------
    >>> found = foreign_imports(ast.parse("from deepchem_xc.models import XCModel as M"))
    >>> [sorted(names) for names in found.values()]
    [['M']]
    """
    found: dict[ast.stmt, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        if any(module.partition(".")[0] in _TOP for module in modules):
            found[node] = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return found


def _used(node: ast.stmt) -> set[str]:
    """Names that a statement reads, those of fixtures among them."""
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return names | {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement at the top of a module binds."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {
            name.id
            for target in node.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
    return {node.target.id} if isinstance(node, ast.AnnAssign) else set()


def without_foreign(text: str) -> tuple[str, list[str]]:
    """Tests without those that need other rooms of this package.

    Parameters
    ----------
    text : str
        Code of a test file, rewritten.

    Returns
    -------
    str
        Without imports of other rooms, and without whatever uses them, at one or more removes;
        "" if no test is left.
    list of str
        Names of the tests left out.

    Examples
    --------
    >>> text, left_out = without_foreign('''
    ... from deepchem_xc.planewave import scf
    ... def energy(): return scf()
    ... def test_of_a_crystal(): assert energy() < 0
    ... def test_of_points(): assert True
    ... ''')
    >>> text.strip(), left_out
    ('def test_of_points(): assert True', ['test_of_a_crystal'])
    """
    tree = ast.parse(text)
    foreign = foreign_imports(tree)
    if not foreign and not any(name in text for name in STAY):
        return text, []
    top = [node for node in tree.body if node not in foreign]
    gone = set().union(*(names for node, names in foreign.items() if node in tree.body))
    # Imports inside a function concern that function alone.
    dropped = [
        node
        for node in top
        if any(inner in foreign for inner in ast.walk(node)) or _bound(node) & set(STAY)
    ]
    while True:
        gone |= set().union(*map(_bound, dropped)) if dropped else set()
        more = [
            node
            for node in top
            if node not in dropped and not _is_docstring_or_import(node) and _used(node) & gone
        ]
        if not more:
            break
        dropped += more
    names = [
        name
        for node in sorted(dropped, key=lambda node: node.lineno)
        for name in sorted(_bound(node))
        if name.startswith("test_")
    ]
    kept = [node for node in top if node not in dropped]
    if not any(name.startswith("test_") for node in kept for name in _bound(node)):
        return "", names
    imports = [node for node in foreign if node in tree.body]
    text = _replaced_lines(text, [(node, "") for node in (*imports, *dropped)])
    return _without_unused_imports(text), names


def _without_unused_imports(text: str) -> str:
    """Code without the imports at its top that nothing reads any more."""
    tree = ast.parse(text)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    changes = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and _module_of(node) != "__future__":
            kept = [a for a in node.names if (a.asname or a.name.partition(".")[0]) in read]
            if len(kept) < len(node.names):
                node.names = kept
                changes.append((node, ast.unparse(node) if kept else ""))
    return _replaced_lines(text, changes)


def _module_of(node: ast.stmt) -> str:
    return (node.module or "") if isinstance(node, ast.ImportFrom) else ""


def _checked(text: str, source: Path) -> str:
    """The text, which must be code without imports of this project."""
    try:
        left = foreign_imports(ast.parse(text))
    except SyntaxError as error:
        raise LayoutError(f"{source}: no code any more after it was rewritten ({error})") from error
    if left:
        lines = ", ".join(str(node.lineno) for node in left)
        raise LayoutError(
            f"{source}: imports what does not go to DeepChem (line {lines} of the rewritten file); "
            "move it into deepchem_xc/xc, or add it to HELPERS in .ci/upstream/layout.py"
        )
    return text


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def lay_out_modules(root: Path, tree: Path) -> Iterator[Path]:
    """Write the package of functionals; yields the files written.

    Parameters
    ----------
    root : Path
        This project's folder.
    tree : Path
        Folder that holds the folder ``deepchem``.

    Raises
    ------
    LayoutError
        If a module needs something that does not go with it.
    """
    room = root / "deepchem_xc" / "xc"
    sources = [*sorted(room.rglob("*.py")), *(room.parent / f"{name}.py" for name in HELPERS)]
    for source in sources:
        if source.name == "_deepchem.py":
            continue
        place = source.relative_to(room) if room in source.parents else source.name
        text = _checked(rewritten(source.read_text()), source)
        yield _write(tree / FOLDER / place, text)


def lay_out_data(root: Path, tree: Path) -> None:
    """Copy trained functionals, and the files of an earlier release that tests read."""
    data = tree / FOLDER / "data"
    data.mkdir(parents=True, exist_ok=True)
    for source in sorted((root / "data").glob("*.safetensors")):
        shutil.copy(source, data)
    for folder in sorted((root / "tests" / "data").glob("functionals_*")):
        shutil.copytree(folder, data / folder.name, ignore=shutil.ignore_patterns("*.py"))


def lay_out_tests(root: Path, tree: Path) -> dict[str, list[str]]:
    """Write the tests of functionals that need nothing else.

    Parameters
    ----------
    root, tree : Path
        As for `lay_out_modules`.

    Returns
    -------
    dict of str to list of str
        Tests left out, by their file; all others are laid out.

    Raises
    ------
    LayoutError
        If what the tests share needs another room.
    """
    tests = root / "tests" / "xc"
    left_out: dict[str, list[str]] = {}
    _write(tree / FOLDER / "tests" / "__init__.py", "")
    for source in (*sorted(tests.glob("*.py")), tests.parent / "differences.py"):
        text = rewritten(source.read_text())
        if source.name == "conftest.py":
            text = "\n\n".join([text, seeds(root), MARKS])
        if source.name.startswith("test_"):
            text, names = without_foreign(text)
            if names:
                left_out[source.name] = names
            if not text:
                continue
        _write(tree / FOLDER / "tests" / source.name, _checked(text, source))
    return left_out


def seeds(root: Path) -> str:
    """Code of the fixture that gives every test the same random numbers."""
    text = (root / "tests" / "conftest.py").read_text()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == "_seed":
            first = node.decorator_list[0].lineno
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"
    raise LayoutError("tests/conftest.py has no fixture _seed")
