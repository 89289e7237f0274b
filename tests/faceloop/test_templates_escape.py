"""Bar B11, pages: whatever a name holds, our templates write it as text."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "platform" / "faceloop").rglob("*.j2"))
SOURCES = sorted((ROOT / "platform" / "faceloop").rglob("*.py"))
_UNESCAPING = {"safe"}


def _problems(source: str) -> list[str]:
    """What lets text become markup: `safe`, autoescaping switched off, a value in a script or in an unquoted place."""
    tree = Environment(autoescape=True).parse(source)
    found = [node.name for node in tree.find_all(nodes.Filter) if node.name in _UNESCAPING]
    found += ["autoescape" for _ in tree.find_all(nodes.ScopedEvalContextModifier)]
    scripts = re.findall(r"<script\b.*?</script>", source, re.DOTALL | re.IGNORECASE)
    found += ["value in a script" for script in scripts if "{{" in script]
    found += ["unquoted" for _ in re.finditer(r"<[^>{}]*\s[\w-]+=\{\{", source)]
    found += ["handler" for _ in re.finditer(r"""\son\w+=("[^"]*|'[^']*)\{\{""", source)]
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_template_takes_a_name_for_markup(path: Path) -> None:
    assert _problems(path.read_text(encoding="utf-8")) == []


def test_every_page_is_made_with_escaping_on() -> None:
    made = [text for path in SOURCES if "Environment(\n" in (text := path.read_text(encoding="utf-8"))]
    assert len(made) >= 7
    assert all(text.count("autoescape=True") == text.count(" Environment(\n") for text in made)
    assert len(TEMPLATES) >= 9


@pytest.mark.parametrize(
    "mutant",
    [
        "{{ name | safe }}",
        "{% autoescape false %}{{ name }}{% endautoescape %}",
        "<script>let a = '{{ name }}'</script>",
        "<img alt={{ name }}>",
        "<p onclick=\"say('{{ name }}')\">",
    ],
)
def test_a_template_that_forgets_is_caught(mutant: str) -> None:
    assert _problems(mutant)


@pytest.mark.parametrize(
    "payload", ["<script>document.title=1</script>", '"><img src=x onerror=alert(1)>', "'--><svg/onload=1>"]
)
def test_escaping_leaves_no_tag_of_a_name(payload: str) -> None:
    template = '<p title="{{ name }}">{{ name }}</p>'
    escaped = Environment(autoescape=True).from_string(template).render(name=payload)
    assert escaped.count("<") == 2
    plain = Environment(autoescape=False).from_string(template).render(name=payload)  # noqa: S701  # the mutant
    assert plain.count("<") > 2
