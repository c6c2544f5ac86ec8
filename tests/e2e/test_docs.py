"""The documentation is true: its commands run, its links lead somewhere, its tables say what the code says."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.e2e.pages import (
    ANY_TEXT,
    DOCS,
    LINK,
    ROOT,
    Command,
    all_pages,
    anchors,
    blocks,
    codes,
    page_name,
    prose,
    rows,
    section,
)
from tests.e2e.project import Project
from tests.e2e.stand_in import Shell, write_project
from tzrec_build import cli
from tzrec_build.config.support import NO_EFFECT, READ
from tzrec_build.graph.keys import NAMED_TABLES, TABLES, WORKSPACE_TABLES, Table
from tzrec_build.graph.not_built import NOT_BUILT
from tzrec_build.protos.tzrec import (
    data_pb2,
    feature_pb2,
    loss_pb2,
    metric_pb2,
    model_pb2,
    optimizer_pb2,
    pipeline_pb2,
    seq_encoder_pb2,
)

PAGES = [page_name(path) for path in all_pages()]
BOOTSTRAP = "tests/test_bootstrap.py::"
NOT_RUN = {  # command that a test cannot run here -> the test that covers it
    "python3 dodo.py": f"{BOOTSTRAP}test_first_call_makes_everything_and_says_how_long",
    "python3 dodo.py test": f"{BOOTSTRAP}test_command_that_it_becomes",
    "python3 dodo.py list": f"{BOOTSTRAP}test_command_that_it_becomes",
    "source .venv/bin/activate": f"{BOOTSTRAP}test_command_runs_as_if_the_environment_were_activated",
}
NO_DEFAULT = "required"


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A stand-in for the demo, built once, and what runs commands in it."""
    folder = tmp_path_factory.mktemp("docs")
    project = Project(folder / "project", str(folder / "cache"))
    write_project(project)
    shell = Shell(project, folder / "bin")
    try:
        done = shell.run("doit", project.root)
        assert done.code == 0, done.out
        yield shell
    finally:
        shell.close()


def shown(command: Command, out: str) -> list[str]:
    """Lines of an example's output that the command did not print."""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    lost = []
    for wanted in command.output:
        parts = [re.escape(" ".join(part.split())) for part in wanted.split(ANY_TEXT)]
        if not any(re.search(".*".join(parts), line) for line in lines):
            lost.append(wanted)
    return lost


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "console" for b in blocks(ROOT / page))])
def test_the_commands_of_a_page_run_and_print_what_it_says(page, shell):
    for block in blocks(ROOT / page):
        cwd = shell.project.root
        for command in block.commands() if block.language == "console" else ():
            if command.text in NOT_RUN:
                continue
            if command.text.startswith("cd "):
                cwd = (cwd / command.text[3:]).resolve()
                continue
            done = shell.run(command.text, cwd)
            where = f"{page}:{command.line}: {command.text}\n{done.out}"
            assert (done.code != 0) == block.fails, f"{done.code} {where}"
            assert "Traceback" not in done.out, where
            if page != "README.md":  # a transcript of the real demo
                assert shown(command, done.out) == [], where


def test_a_command_that_is_not_run_is_covered_elsewhere():
    for covering in set(NOT_RUN.values()):
        file, _, test = covering.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    path = ROOT / page
    for match in LINK.finditer(prose(path)):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.is_file(), f"{page}: {target}"
        assert file.is_relative_to(ROOT), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {match['target']}"


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_toml_and_json_parse(page):
    parsers = {"toml": tomllib.loads, "json": json.loads}
    for block in blocks(ROOT / page):
        if block.language in parsers:
            assert parsers[block.language](block.body), f"{page}:{block.line}"


def test_every_page_is_in_the_index():
    listed = {
        (DOCS / match["target"].partition("#")[0]).resolve() for match in LINK.finditer(prose(DOCS / "README.md"))
    }
    listed |= {(DOCS / match["target"]).resolve() for match in LINK.finditer(prose(DOCS / "tools.md"))}
    assert {path for path in DOCS.rglob("*.md") if path != DOCS / "README.md"} <= listed


def test_every_tool_has_a_page_and_every_page_a_tool():
    assert {path.stem for path in (DOCS / "tools").glob("*.md")} == set(cli.TOOLS)


class Seen(Exception):  # noqa: N818 - carries a parser out of main()
    """The parser of a tool."""


def parser_of(tool: str, monkeypatch) -> argparse.ArgumentParser:
    def stop(parser, *_args):
        raise Seen(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Seen) as caught:
        importlib.import_module(f"tzrec_build.tools.{tool}").main([])
    return caught.value.args[0]


def default_cell(action: argparse.Action, option: str) -> str:
    if action.required:
        return NO_DEFAULT
    if isinstance(action, argparse.BooleanOptionalAction):
        return "" if option.startswith("--no-") else "on" if action.default else "off"
    if action.default in (None, ""):
        return "none"
    if isinstance(action.default, bool):
        return "on" if action.default else "off"
    if isinstance(action.default, Path):
        return str(action.default.relative_to(Path(cli.__file__).parents[1]))
    return str(action.default)


@pytest.mark.parametrize("tool", cli.TOOLS)
def test_the_table_of_flags_is_that_of_the_tool(tool, monkeypatch):
    parser = parser_of(tool, monkeypatch)
    table = {codes(cells[0])[0]: cells for cells in rows(section(DOCS / "tools" / f"{tool}.md", "## Flags"))}
    wanted = {
        option: default_cell(action, option)
        for action in parser._actions
        for option in action.option_strings
        if option not in {"-h", "--help"}
    }
    assert {option: cells[1].strip("`") for option, cells in table.items()} == wanted
    for action in parser._actions:
        for choice in filter(None, action.choices or ()):
            text = table[action.option_strings[0]][2]
            assert f"`{choice}`" in text or "as in" in text, action.option_strings[0]


TITLED = {
    **{f"### [{name}]": (name, table) for name, table in {**TABLES, **WORKSPACE_TABLES}.items()},
    **{f"### [{name}.NAME]": (name, table) for name, table in NAMED_TABLES.items()},
}


def documented_default(table: Table, key: str) -> str:
    """The cell that a key's default must have; "" where the page explains it in words."""
    if key in table.required:
        return NO_DEFAULT
    fields = {} if table.spec is None else table.spec._field_defaults
    value = fields.get(key, "")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | str | float) and value != "" else ""


@pytest.mark.parametrize("heading", TITLED)
def test_a_table_of_the_grammar_is_documented_key_by_key(heading):
    name, table = TITLED[heading]
    found = {codes(cells[0])[0]: cells for cells in rows(section(DOCS / "workspace.md", heading))}
    assert set(found) == set(table.keys)
    refused = {row.key for row in NOT_BUILT if row.table == name}
    for key, rule in table.keys.items():
        _, kind, default, meaning = found[key]
        wanted = documented_default(table, key)
        assert not wanted or default.strip("`") == wanted, key
        if rule.rule.startswith("one of "):
            assert codes(kind) == re.findall(r"'([^']*)'", rule.rule), key
        assert ("efused today" in meaning) == (key in refused), key


def test_what_is_refused_today_is_listed():
    table = {cells[0]: cells[1] for cells in rows(section(DOCS / "workspace.md", "## What is refused today"))}
    listed = {(name.strip("[]").partition(".")[0], key) for name, cell in table.items() for key in codes(cell)}
    assert {(row.table, row.key) for row in NOT_BUILT} == {
        (name, key.partition(" ")[0]) for name, key in listed if key not in {"etag", "odps", "reference"}
    }


COVERED = {  # row of the table in migrating.md -> the choice in the schema
    "models": model_pb2.ModelConfig.DESCRIPTOR.oneofs_by_name["model"],
    "features": feature_pb2.FeatureConfig.DESCRIPTOR.oneofs_by_name["feature"],
    "in a `sequence_feature`": feature_pb2.SeqFeatureConfig.DESCRIPTOR.oneofs_by_name["feature"],
    "sequence encoders": seq_encoder_pb2.SeqEncoderConfig.DESCRIPTOR.oneofs_by_name["seq_module"],
    "losses": loss_pb2.LossConfig.DESCRIPTOR.oneofs_by_name["loss"],
    "metrics": metric_pb2.MetricConfig.DESCRIPTOR.oneofs_by_name["metric"],
    "sparse optimizers": optimizer_pb2.SparseOptimizer.DESCRIPTOR.oneofs_by_name["optimizer"],
    "dense optimizers": optimizer_pb2.DenseOptimizer.DESCRIPTOR.oneofs_by_name["optimizer"],
    "learning rates": optimizer_pb2.SparseOptimizer.DESCRIPTOR.oneofs_by_name["learning_rate"],
    "samplers": data_pb2.DataConfig.DESCRIPTOR.oneofs_by_name["sampler"],
}


def cells_of(page: str, heading: str, first: str) -> list[str]:
    lines = [line for line in section(DOCS / page, heading).splitlines() if line.startswith(f"| {first} |")]
    assert len(lines) >= 1, f"{page}: no row {first!r}"
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


@pytest.mark.parametrize("first", COVERED)
def test_what_is_covered_and_what_is_refused_is_what_the_support_table_says(first):
    choice = COVERED[first]
    read = set(READ[choice.containing_type.name].split())
    names = {field.name for field in choice.fields}
    _, covered, refused = cells_of("migrating.md", "## What is covered", first)
    assert set(codes(covered)) == names & read
    assert set(codes(refused)) == names - read


def test_refused_and_idle_fields_are_those_of_the_support_table():
    text = section(DOCS / "migrating.md", "## What is covered")
    refused_text, idle_text = text.split("Of the covered parts")[1].split("These have no effect")
    messages = {message.DESCRIPTOR.name: message.DESCRIPTOR for message in schema_messages()}
    for part, wanted in ((refused_text, refused_fields), (idle_text, idle_fields)):
        for cells in rows(part):
            name = codes(cells[0])[0]
            assert set(codes(cells[1])) == wanted(messages[name]), name


def schema_messages():
    return [
        *(pipeline_pb2.EasyRecConfig, data_pb2.DataConfig, model_pb2.ModelConfig),
        *(feature_pb2.IdFeature, feature_pb2.RawFeature),
        *(type(getattr(pipeline_pb2.EasyRecConfig(), f"{part}_config")) for part in ("train", "eval", "export")),
    ]


def refused_fields(message) -> set[str]:
    """Fields without a row in either table; members of a choice that has a row of its own in the page are left out."""
    listed = {field.full_name for choice in COVERED.values() for field in choice.fields}
    return {
        field.name
        for field in message.fields
        if field.name not in READ[message.name].split()
        and f"{message.name}.{field.name}" not in NO_EFFECT
        and field.full_name not in listed
    }


def idle_fields(message) -> set[str]:
    return {field.name for field in message.fields if f"{message.name}.{field.name}" in NO_EFFECT}
