"""What the documents say is run, resolved or counted."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import scannable as sc

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "scannable"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def blocks(text):
    """Return (line number, code) for each Python block."""
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: m.start(1)].count("\n") + 1, m[1]) for m in found]


def table(path, *header):
    """Return the rows, split into cells, of the table with this header."""
    lines = path.read_text().splitlines()
    start = lines.index("| " + " | ".join(header) + " |")
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows
    return rows


def anchors(path):
    """Return the fragment of each heading, as hosts of Markdown spell it."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names(path):
    """Return the functions, classes and values that a Python file defines at its top or in its classes."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def texts():
    """Return every text file that is ours: what a clone holds, less what tools and runs leave behind."""
    folders = [ROOT / name for name in ("src", "tests", "docs", "scripts", "benchmarks", "examples", ".ci")]
    found = [path for path in ROOT.iterdir() if path.is_file()]
    found += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    kinds = {"", ".py", ".md", ".toml", ".txt", ".cff", ".yaml", ".yml", ".json", ".html", ".sh"}
    return [path for path in found if path.suffix in kinds and "__pycache__" not in path.parts]


@pytest.mark.parametrize("name", [name for name in NAMES if blocks((ROOT / name).read_text())])
def test_python_blocks_run_in_order(name, capsys):
    namespace = {"__name__": "document"}
    for line, code in blocks((ROOT / name).read_text()):
        exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)


def test_the_example_stands_within_the_first_30_lines_of_the_readme():
    line, code = blocks((ROOT / "README.md").read_text())[0]
    assert line + code.count("\n") <= 30
    for part in ("def combine", "sc.scan(", "sc.Counter", "assert torch.equal("):
        assert part in code


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name):
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        file, _, fragment = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), target


def test_every_definition_of_the_theory_has_its_file_and_its_test():
    for definition, files, tests in table(ROOT / "docs" / "theory.md", "definition", "file", "test"):
        for cell, folder in ((files, SOURCE), (tests, ROOT / "tests")):
            places = re.findall(r"`([^`]+)`", cell)
            assert places, definition
            for place in places:
                file, _, name = place.partition("::")
                assert (folder / file).is_file(), place
                assert name in names(folder / file), place


def test_every_item_of_the_paper_has_its_file():
    for item, file in table(ROOT / "README.md", "paper", "file"):
        assert (ROOT / file.strip("`")).exists(), item


@pytest.mark.parametrize("name", ["README.md", "docs/design.md", "docs/extending.md"])
def test_public_names_in_documents_exist(name):
    for path in set(re.findall(r"\bsc((?:\.[A-Za-z]\w*)+)", (ROOT / name).read_text())):
        thing = sc
        for part in path[1:].split("."):
            if thing is sc.Counter and part in sc.Counter.__dataclass_fields__:
                break
            assert hasattr(thing, part), f"sc{path} in {name}"
            thing = getattr(thing, part)


def test_layers_in_documents_are_those_that_the_linter_holds():
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert " -> ".join(layers) + " -> torch" in (ROOT / "docs" / "design.md").read_text()
    inside = [row[0] for row in table(ROOT / "README.md", "layer", "what it holds")]
    flat = [name for layer in layers for name in layer.split(" | ") if name != "__main__"]
    assert inside == [f"`scannable.{name}`" for name in flat]


def test_every_dependency_is_pinned():
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    groups = PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], *groups["test"]]
    wanted += groups["lint"]
    missing = {re.match(r"[\w-]+", line)[0].lower() for line in wanted} - {name.lower() for name in pinned}
    assert not missing


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    (paper,) = citation["references"]
    families = [author["family-names"] for author in paper["authors"]]
    assert families == ["Yau", "Gupta", "Engelmayer", "Irie", "Jegelka", "Andreas"]
    assert paper["identifiers"][0]["value"] == "arXiv:2506.10918"


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_ci_and_make_run_the_one_list_of_checks():
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert re.search(r"^test:.*\n\tscripts/check$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "entry: scripts/check --static" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_no_file_names_a_machine_or_a_registry():
    machine = r"(?:^|[^\w.])/(?:work|farm|root|home/\w+|Users/\w+)/|/tmp/bash_[j]obs|/opt/(?:wheels|pypi)"
    registry = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|(?:extra-)?index-[u]rl|find-[l]inks"
    pattern = re.compile(f"{machine}|{registry}", re.MULTILINE)
    for path in texts():
        found = pattern.search(path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found[0]!r}"
