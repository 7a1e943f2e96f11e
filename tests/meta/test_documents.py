"""What the documents say is run, resolved or counted."""

import ast
import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import scannable as sc
from scannable.affine import ROWS
from scannable.cli._commands import COMMANDS
from scannable.scans import merges
from scannable.training import pretrained
from scannable.viewer import family_figure

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "scannable"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
S5 = [json.loads((ROOT / f"docs/results/s5-seed{seed}.json").read_text()) for seed in range(4)]
FAMILY = json.loads((ROOT / "docs/results/family.json").read_text())


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


def assert_places_exist(cell, folder):
    """A cell names at least one place, ``file::name``, and each is there."""
    places = re.findall(r"`([^`]+)`", cell)
    assert places, cell
    for place in places:
        file, _, name = place.partition("::")
        assert (folder / file).is_file(), place
        assert name in names(folder / file), place


def test_every_definition_of_the_theory_has_its_file_and_its_test():
    for _, files, tests in table(ROOT / "docs" / "theory.md", "definition", "file", "test"):
        assert_places_exist(files, SOURCE)
        assert_places_exist(tests, ROOT / "tests")


def test_every_difference_from_the_authors_code_has_its_test():
    for theirs, _, tests in table(ROOT / "docs" / "design.md", "in their code", "here", "test"):
        if not theirs.startswith("Sizes differ"):
            assert_places_exist(tests, ROOT / "tests")


def test_folding_again_costs_what_the_theory_says():
    """The counter without folds: a carry for each trailing one, then all roots folded again."""
    for k in range(1, 11):
        carries = sum(((t + 1) & -(t + 1)).bit_length() - 1 for t in range(2**k))
        folds = sum((t + 1).bit_count() - 1 for t in range(2**k))
        assert carries + folds == 2**k * k // 2
        assert merges(2**k) == 2 * (2**k - 1) - k
    assert "For 1,024 leaves: 2,036 merges instead of 5,120." in theory()
    assert (merges(1024), carries + folds) == (2036, 5120)


def theory():
    """Return the page with its line breaks taken for spaces."""
    return " ".join((ROOT / "docs" / "theory.md").read_text().split())


def s5_row(record, variant):
    """Write a variant's measurements as a row of the table."""
    products, stream = variant["products"], variant.get("stream")
    lengths = {e["length"]: e["final_error"] for e in variant["evaluations"] if e["form"] == "streaming"}
    assert list(lengths) == [18, 180, 1800]
    return [
        variant["variant"],
        str(record["config"]["seed"]),
        str(max(map(int, variant["solved_at_step"]))),
        f"{products['wrong_merges']:,}",
        f"{products['wrong_answers']:,}",
        f"{products['margin']:.2f}",
        *(f"{100 * error:.1f} %" for error in lengths.values()),
        "-" if stream is None else f"{round(stream['error'] * stream['length']):,}",
    ]


def test_the_table_of_s5_runs_is_what_the_records_say():
    columns = ["variant", "seed", "solved up to", "wrong products", "wrong answers", "margin"]
    columns += ["at 18", "at 180", "at 1,800", "in 1,000,000"]
    of_variants = zip(*(record["variants"] for record in S5), strict=True)
    expected = [s5_row(r, v) for same in of_variants for r, v in zip(S5, same, strict=True)]
    assert table(ROOT / "docs" / "theory.md", *columns) == expected


def test_what_is_said_about_the_s5_runs_is_what_the_records_say():
    text, run = theory(), pretrained("s5")[1]
    for record in S5:
        settings, machine = record["config"], record["machine"]
        assert settings | {"seed": 0} == S5[0]["config"]
        assert f"torch {machine['torch']}" in text
        assert f"{settings['steps']:,} steps of {run.tokens:,} tokens" in text
        assert f"words of {settings['sequences']} " in text
        assert f"pieces of {settings['piece']:,} and {settings['singles']} single steps" in text
        assert f"{run.curriculum.words:,} fresh words" in text
        packaged, soft, free, unshared = record["variants"]
        for variant in record["variants"]:
            assert variant["products"]["pairs"] == 14_400
            assert variant["products"]["wrong_singles"] == 0
            errors = {}
            for found in variant["evaluations"]:
                errors.setdefault(found["length"], set()).add((found["error"], found["final_error"]))
            assert all(len(forms) == 1 for forms in errors.values())
            # Each of the first steps reads words of two; a hundred times each pair, in the mean.
            assert variant["solved_at_step"]["2"] * run.tokens // 2 > 95 * 14_400
        assert soft["parameters"] == packaged["parameters"]
        assert f"{unshared['parameters']:,} parameters instead of {packaged['parameters']:,}" in text
        assert set(unshared["solved_at_step"]) == {"2"}
        if "18" in free["solved_at_step"]:
            error = next(e["final_error"] for e in free["evaluations"] if e["length"] == 180)
            assert f"wrong on {100 * error:.1f} % of the words of 180" in text
    assert (run.seed, run.curriculum.stages, run.task.longest) == (0, (2, 4, 8, 16), 18)
    solved = sorted(max(map(int, r["variants"][2]["solved_at_step"])) for r in S5)
    assert solved == [
        4,
        4,
        4,
        18,
    ]  # "One seed learned length 18 [...] The other three did not get past length 4"
    seconds = [[round(r["variants"][i]["seconds"]) for r in S5] for i in (1, 0)]
    low, high = ((min(x), max(x)) for x in seconds)
    assert f"({low[0]} to {low[1]} seconds a run instead of {high[0]} to {high[1]})" in text


def family_rows():
    """Write the counts of the family as rows of the table."""
    for entry in FAMILY["models"]:
        last = entry["points"][-1]
        yield [
            entry["name"],
            entry["action"] or "-",
            f"{entry['work']:.2f}",
            f"{last['operations']:,}",
            "-" if last["calls"] is None else f"{last['calls']}",
            f"{entry['memory']:.2f}",
            f"{last['bytes']:,}",
        ]


def test_the_table_of_the_family_is_what_was_counted():
    columns = ["row", "action", "work", "operations at 1,024", "depth", "memory", "bytes at 1,024"]
    assert table(ROOT / "docs" / "theory.md", *columns) == list(family_rows())
    assert FAMILY["passed"]
    assert [entry["name"] for entry in FAMILY["models"] if entry["action"]] == list(ROWS)
    config = FAMILY["config"]
    assert (config["lengths"][0], config["lengths"][-1], config["width"], config["chunk"]) == (
        64,
        1024,
        32,
        8,
    )


def test_the_figure_of_the_family_is_drawn_from_its_record():
    drawn = (ROOT / "docs" / "results" / "family.svg").read_text(encoding="utf-8")
    assert drawn == family_figure(FAMILY)


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


def test_the_public_names_are_those_that_the_design_lists():
    for package, listed in table(ROOT / "docs" / "design.md", "package", "public names"):
        exported = importlib.import_module(package.strip("`")).__all__
        assert re.findall(r"`(\w+)`", listed) == exported, package


def test_every_command_is_in_the_design():
    cells = " ".join(row[0] for row in table(ROOT / "docs" / "design.md", "command", "what it does"))
    for name in COMMANDS:
        assert f"`scannable {name}`" in cells


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
    wanted += groups["lint"] + groups["peers"]
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
