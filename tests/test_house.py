"""The house: who imports whom, how long files are, and that the picture of it is the house itself."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.relative_to(ROOT).with_suffix("").as_posix(): path for path in sorted(ROOT.glob("smith/**/*.py"))}
LONGEST, MOST = 360, {"smith": 14_487, "tests": 13_243}  # lines of a file; of all files

FLOORS = [  # from the ground up: the rooms of a floor, each with the paths of its modules
    {"ground": r"errors|registry|disk"},
    {"networks": r"networks/.*", "data": r"data/.*"},
    {"descriptions": r"run|lengths|rules|schedules|policies|metrics|scales|replicates|figure|legends"},
    {"store": r"store/.*"},
    {"train": r"train/.*", "analysis": r"analysis/.*"},
    {"figures": r"figures/.*"},
    {"tune": r"tune/.*"},
    {"command": r"cli|commands/.*|experiments|frames|names|__main__|__init__"},
]


def room_of(module: str) -> tuple[int, str]:
    """Returns the floor and the room of a module, "smith/train/jobs" or "smith/train/__init__"."""
    (found,) = [
        (floor, room)
        for floor, rooms in enumerate(FLOORS)
        for room, pattern in rooms.items()
        if re.fullmatch(f"smith/({pattern})", module)
    ]
    return found


def imports(path: Path) -> set[str]:
    """Returns the modules of this package that a file imports, anywhere in it; not what only type checkers see."""
    tree, found = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            name = f"{package}{alias.name}".replace(".", "/")
            for module in (name, f"{name}/__init__", name.rpartition("/")[0], f"{name.rpartition('/')[0]}/__init__"):
                if module in FILES:
                    found.add(module)
                    break
    return found


def test_every_import_leads_down_or_stays_in_the_room():
    wrong = []
    for module, path in FILES.items():
        floor, room = room_of(module)
        for other in imports(path) - {"smith/__init__"}:  # whose names come from other modules when they are asked for
            below, there = room_of(other)
            wrong += [f"{module} imports {other}"] * (below >= floor and there != room)
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    needs = {module: imports(path) - {module, "smith/__init__"} for module, path in FILES.items()}
    graphlib.TopologicalSorter(needs).prepare()  # raises CycleError, which names a circle


def test_experiments_import_what_is_for_people_and_the_command():
    for path in ROOT.glob("experiments/*.py"):
        allowed = r"smith/(cli|__init__|analysis/.*)" if path.name != "bases.py" else r"smith/(lengths|__init__)"
        assert all(re.fullmatch(allowed, module) for module in imports(path)), path


def test_a_room_s_list_of_its_files_has_them_all():
    for path in ROOT.glob("smith/**/__init__.py"):
        listed = set(re.findall(r"\b(\w+)\.py\b", (ast.get_docstring(ast.parse(path.read_text())) or "")))
        there = {file.stem for file in path.parent.glob("*.py")} - {"__init__"}
        assert len(listed) < 2 or listed == there, f"{path}: {listed ^ there}"


@pytest.mark.parametrize("folder", MOST)
def test_files_are_short_and_there_are_not_too_many(folder):
    found = {f"{path.relative_to(ROOT)}": len(path.read_text().splitlines()) for path in ROOT.glob(f"{folder}/**/*.py")}
    assert sum(found.values()) <= MOST[folder]
    if folder == "smith":
        assert not {name: count for name, count in found.items() if count > LONGEST}


def test_the_tree_in_the_readme_is_the_tree_on_disk():
    """A line is a file or a folder, indented by four for each folder that it is in, and what is in it."""
    tree = re.search(r"<!-- tree -->\n(.*?)<!-- /tree -->", (ROOT / "README.md").read_text(), re.DOTALL)
    if not tree:
        pytest.skip("README.md has no tree between its marks")
    named, parents = set(), []
    for line in tree[1].splitlines():
        match = re.match(r"( +)(\S+)", line)
        if match:
            depth = len(match[1]) // 4 - 1
            parents = [*parents[:depth], match[2].rstrip("/")]
            named.add("/".join(parents))
    assert not {name for name in named if not (ROOT / name).exists()}
    whole = {name for name in named if (ROOT / name).is_dir() and any(n.startswith(f"{name}/") for n in named)}
    for folder in whole:
        there = {
            path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("[!_.]*") if path.suffix in ("", ".py")
        }
        assert there <= named, f"{folder} also has {', '.join(sorted(there - named))}"
