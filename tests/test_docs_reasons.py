"""Every reason code and flag that the code makes is explained in docs/flow.md, and none that it does not make."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

from faceloop.clustering.partition import DropReason
from faceloop.clustering.proposals import ProposalReason
from faceloop.questions.drafts import QuestionReason

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "flow.md"
CODE = sorted(path for root in ("platform", "storage") for path in (ROOT / root).rglob("*.py"))


class _Codes(ast.NodeVisitor):
    """Reason codes and flags as the code spells them: where an error, a count, a reason or a flag is made."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()
        self.flags: set[str] = set()
        self._function = ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._function = self._function, node.name
        self.generic_visit(node)
        self._function = outer

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Name) and called.id == "MediaError" and node.args:
            self.reasons |= _strings(node.args[0])
        if isinstance(called, ast.Attribute) and called.attr == "append" and _name(called.value) == "flags":
            self.flags |= _strings(node.args[0])
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "reason":
            self.reasons |= _strings(node.value)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Attribute) and node.value.attr in {"rejected", "pending"}:
            self.reasons |= _strings(node.slice)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for one, value in pairs:
                if _name(one) in {"reason", "DropReason", *_CONSTANTS}:
                    self.reasons |= _strings(value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if self._function in {"drop_reason", "_why_unknown"} and node.value is not None:
            self.reasons |= _strings(node.value)
        if self._function == "_resolution_flags" and node.value is not None:
            self.flags |= _strings(node.value)
        self.generic_visit(node)


_CONSTANTS = ("_UNREADABLE", "STILL_ARRIVING", "CHANGED", "VANISHED")  # that hold a reason


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _strings(node: ast.expr) -> set[str]:
    """Strings that an expression may give; those that it only compares with are left out."""
    match node:
        case ast.IfExp():
            return _strings(node.body) | _strings(node.orelse)
        case ast.Subscript():
            return _strings(node.slice)
        case ast.List() | ast.Tuple():
            return {text for part in node.elts for text in _strings(part)}
        case ast.Constant(value=str(text)):
            return {text}
        case _:
            return set()


@cache
def _codes() -> _Codes:
    found = _Codes()
    for path in CODE:
        if not {"sample", "reports"} & set(path.parts):
            found.visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _codes_of_page() -> dict[str, list[str]]:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Reason codes\n")[2]
    tables = re.split(r"\n\n(?=\| )", "\n" + section)
    found = {}
    for table in tables[1:]:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        found[lines[0].split("|")[1].strip()] = [re.findall(r"`(\w+)`", line)[0] for line in lines[2:]]
    return found


def test_every_reason_code_of_the_code_is_on_the_page_and_no_other() -> None:
    page = _codes_of_page()
    questions = set(get_args(QuestionReason))
    proposals = {*get_args(ProposalReason), "shared_key", "models_differ"}
    assert len(page["code"]) == len(set(page["code"]))
    assert set(page["code"]) == _codes().reasons - questions - (proposals - set(get_args(DropReason)))
    assert set(page["flag"]) == _codes().flags
    assert set(page["reason of a question"]) == questions
    assert set(page["reason of a proposal"]) == proposals


def test_the_scan_for_reason_codes_sees_each_way_to_write_one() -> None:
    code = """
DropReason = Literal["a"]
def drop_reason(x):
    return "b" if x == "never" else None
def run(x):
    report.rejected["c"] += 1
    status, reason = "never", "d" if x else "e"
    flags.append("tall")
    return Rejection(reason="f") or MediaError("g", "never")
"""
    found = _Codes()
    found.visit(ast.parse(code))
    assert found.reasons == set("abcdefg")
    assert found.flags == {"tall"}
