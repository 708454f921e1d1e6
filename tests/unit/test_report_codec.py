"""Reports as JSON: what is written is what is read, what is damaged is refused, and the published schema agrees."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
from documents import HOSTILE, dump, hostile, left, many, phases, ran, rich, run
from fakes import altered, record
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_execprobe import ExecRecord
from pytest_execprobe.report import json as form
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import (
    KINDS,
    OUTCOMES,
    Collection,
    Document,
    LeftRunning,
    ReportedBreach,
    Run,
    Unit,
    merged,
)
from pytest_execprobe.report.read import DocumentError
from pytest_execprobe.source.command import Command
from pytest_execprobe.timeline.record import Lineage
from pytest_execprobe.timeline.site import CallSite, Frame

SCHEMA = json.loads(Path(form.__file__).with_name("schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
SITE = CallSite("/a.py", 2, "f", (Frame("<string>", 1, "g"), Frame("/a.py", 2, "f")))


def again(document: Document) -> Document:
    return reading.load(dump(document))


def data_of(document: Document) -> Any:
    return json.loads(dump(document))


def one(*records: ExecRecord, **more: Any) -> Document:
    return Document((run(),), (Unit("test", "test_a", records=records, **more),))


# ---- there and back ----


@pytest.mark.parametrize("document", [rich(), hostile(), left(more_running=7), many(3, 20, deep=True), Document()])
def test_what_is_written_is_read(document: Document) -> None:
    assert data_of(again(document)) == data_of(document)


@pytest.mark.parametrize("document", [rich(), hostile(), left(more_running=7), many(3, 250, deep=True), Document()])
def test_the_pieces_make_what_json_makes_of_the_whole(document: Document) -> None:
    text = dump(document)
    assert text == json.dumps(json.loads(text), separators=(",", ":")) + "\n"


def test_a_record_is_written_as_json_writes_its_fields() -> None:
    previous = ran("sh", at=2)
    odd = altered(
        ran("git", at=1),
        begun_by='a "test"[\\\udcff\n]',
        signal=Signals.SIGKILL,  # an enum, as of a program that was stopped
        ppid=None,
        depth=None,
        duration_ns=0,
        stopped=True,
        call_site=SITE,
        previous=previous,
        direct=True,
        shared=True,
        begun_in="setup",
        lost=True,
        fork="12.34",
    )
    text = form.record_text(odd, form.CommandTable())
    assert text == json.dumps(json.loads(text), separators=(",", ":"))
    expected = {
        "id": form.id_of(odd._identity), "command": 0, "pid": odd.pid, "ppid": None, "parent": None,
        "previous": form.id_of(previous._identity), "lineage_lost": True, "depth": None, "direct": True,
        "uid": odd.uid, "gid": odd.gid, "timestamp_ns": odd.timestamp_ns, "phase": odd.phase, "begun_by": odd.begun_by,
        "begun_in": "setup", "shared": True, "fork": "12.34", "exit_code": odd.exit_code, "signal": 9, "duration_ns": 0,
        "stopped": True, "call_site": 0,
    }  # fmt: skip
    assert json.loads(text) == expected


def test_there_is_never_all_of_it_at_once() -> None:
    document = many(3, 4000)
    sizes = [len(piece) for piece in form.pieces(document)]
    assert sum(sizes) == len(dump(document)) > 1_000_000
    assert max(sizes) < 100_000


def test_every_field_of_a_record_is_written() -> None:
    data = json.loads(form.record_text(record(), form.CommandTable()))
    written = {name.lstrip("_") for name in [*data, *form.command_data(record()._command)]} - {"command"}
    known = {field.name.lstrip("_") for kind in (ExecRecord, Command) for field in fields(kind)}
    known |= {{"lost": "lineage_lost"}.get(field.name, field.name) for field in fields(Lineage)}
    known -= {"error", "itself", "command", "lineage", "raw", "read"}  # only execs that succeeded are in reports
    known -= {"enforced"}  # a report has the breach
    known -= {"owned", "shown"}  # of this machine, and of texts
    assert written == known - {"identity"} | {"id"}
    assert list(data) == list(reading._FIELDS)


def test_every_field_of_units_and_runs_is_written() -> None:
    data = data_of(rich())
    assert {field.name for field in fields(Unit)} == set(data["units"][0])
    assert {field.name for field in fields(Run)} | {"above", "commands", "call_sites"} == set(data["runs"][0])
    assert {field.name for field in fields(ReportedBreach)} == set(data["units"][1]["breaches"][0])
    assert {field.name for field in fields(LeftRunning)} == set(data_of(left())["runs"][0]["running"][0])


def test_processes_that_had_not_ended() -> None:
    document = again(left(more_running=7))
    assert document.runs == left(more_running=7).runs
    assert (document.still_running, document.complete) == (9, False)
    assert again(left(running=())).complete


def test_bytes_that_are_no_text() -> None:
    text = dump(one(ran("sh", "\udcff\udc80", "é", at=1)))
    assert text.isascii()
    assert reading.load(text).units[0].records[0].argv == ("sh", "\udcff\udc80", "é")


def test_every_hostile_argument() -> None:
    (read,) = again(one(ran("sh", *HOSTILE, at=1))).units[0].records
    assert read.argv == ("sh", *HOSTILE)


def test_privilege_that_was_lost_because_it_was_traced() -> None:
    sudo = ran("sudo", at=1)
    sudo._command.lost_privilege = True
    records = again(one(sudo, ran("git", at=2))).units[0].records
    assert [record._command.lost_privilege for record in records] == [True, False]


def test_a_command_is_written_once() -> None:
    """However often it was read from the kernel."""
    first, second = ran("git", "fetch", at=1), ran("git", "fetch", at=2)
    assert first._command is not second._command
    data = data_of(one(first, second, ran("git", "push", at=3), replace(first, _identity=(1, 9))))
    assert [command["argv"] for command in data["runs"][0]["commands"]] == [["git", "fetch"], ["git", "push"]]
    assert [record["command"] for record in data["units"][0]["records"]] == [0, 0, 1, 0]
    read = reading.from_data(data).units[0].records
    assert read[0]._command is read[3]._command


def test_very_many_records() -> None:
    """They are written some at a time."""
    records = tuple(ran("git", str(at % 7), at=at) for at in range(2 * form._AT_ONCE + 1))
    document = Document((run(),), (Unit("test", "test_a", records=records), Unit("test", "test_b", strays=records[:0])))
    assert [record.argv for record in again(document).units[0].records] == [record.argv for record in records]


def test_a_parent_in_another_unit() -> None:
    server = ran("server", at=1)
    client = ran("client", at=2, parent=server)
    units = (Unit("test", "test_it", records=(client,)), Unit("fixture", "f", records=(server,)))
    read = again(Document((run(),), units))
    assert read.units[0].records[0].parent is read.units[1].records[0]
    assert not read.units[0].records[0]._lineage.lost


def test_ancestors_that_no_unit_has() -> None:
    top = ran("coverage", at=1)
    middle = ran("run", at=2, parent=top)
    before = ran("env", at=3, parent=middle)
    last = ran("git", at=4, parent=middle, previous=before)
    data = data_of(one(last))
    commands = data["runs"][0]["commands"]
    assert {commands[above["command"]]["program"] for above in data["runs"][0]["above"]} == {"coverage", "run", "env"}
    (read,) = reading.from_data(data).units[0].records
    assert (read._lineage.previous or read).program == "env"
    assert read.parent is not None
    assert read.parent.parent is not None
    assert read.parent.parent.program == "coverage"


def test_a_record_that_refers_to_none_that_is_there() -> None:
    data = data_of(one(ran("git", at=2, parent=ran("sh", at=1))))
    data["runs"][0]["above"] = []
    (read,) = reading.from_data(data).units[0].records
    assert read.parent is None
    assert read._lineage.lost


def test_a_very_long_line_of_ancestors() -> None:
    records: list[ExecRecord] = [ran("sh", at=0)]
    for at in range(1, 5000):
        records.append(ran("sh", at=at, parent=records[-1]))
    read = again(one(*reversed(records))).units[0].records[0]
    depth = 0
    while read.parent is not None:
        read, depth = read.parent, depth + 1
    assert depth == 4999


def test_the_same_id_in_two_runs_is_two_records() -> None:
    git = ran("git", at=1)
    sh = replace(ran("sh", at=1), _identity=git._identity)
    first = one(git)
    other = Document((run(id="cafe"),), (Unit("test", "test_b", records=(sh,)),))
    read = again(merged([first, other]))
    assert [unit.records[0].program for unit in read.units] == ["git", "sh"]


def test_merged_runs_keep_their_units_and_are_taken_once() -> None:
    first, second = one(ran("git", at=1)), Document((run(id="cafe"),), (Unit("test", "test_b"), Unit("test", "test_c")))
    both = merged([first, second])
    assert [both.runs[unit.run].id for unit in both.units] == ["f00d", "cafe", "cafe"]
    assert data_of(again(both)) == data_of(both)
    assert data_of(merged([both, again(both), second])) == data_of(both)


texts = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("\udc80\udcff\0\n\u202e<|"), max_size=8)
whole = st.integers(0, 2**63 - 1)
frames = st.builds(Frame, texts, whole, texts)
sites = st.builds(CallSite, texts, whole, texts, st.lists(frames, max_size=2).map(tuple))
span = st.tuples(whole, whole).map(lambda times: (min(times), max(times)))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Records refer to any that were made before them, whichever unit these are in, or to ones in no unit."""
    run_of = st.builds(_run, texts, texts, st.lists(texts, max_size=2))
    runs = draw(st.lists(run_of, max_size=2, unique_by=lambda run: run.id))
    units = []
    for index in range(len(runs)):
        made: list[ExecRecord] = []
        for _ in range(draw(st.integers(0, 6))):
            above = draw(st.none() | st.sampled_from(made)) if made else None
            before = draw(st.none() | st.sampled_from(made)) if made else None
            base = record(draw(st.none() | texts), *draw(st.lists(texts, max_size=2)), parent=None, previous=before)
            made.append(
                altered(
                    base,
                    parent=above,
                    argv=draw(st.none() | st.just(base.argv)),
                    cwd=draw(st.none() | texts),
                    depth=draw(st.none() | st.integers(1, 9)),
                    exit_code=draw(st.none() | st.integers(0, 255)),
                    signal=draw(st.none() | st.integers(1, 64)),
                    duration_ns=draw(st.none() | whole),
                    phase=draw(st.sampled_from([None, "setup", "call", "teardown"])),
                    call_site=draw(st.none() | sites),
                    shared=draw(st.booleans()),
                    fork=draw(st.none() | st.just("7.1234")),
                )
            )
        shares = draw(st.lists(st.integers(0, 3), min_size=len(made), max_size=len(made)))
        parts = [tuple(item for item, share in zip(made, shares, strict=True) if share == n) for n in range(3)]
        units += [
            Unit(
                draw(st.sampled_from(KINDS)),
                draw(texts),
                index,
                draw(st.none() | texts),
                draw(st.sampled_from([None, *OUTCOMES])),
                draw(st.none() | texts),
                draw(st.none() | whole),
                draw(st.dictionaries(st.sampled_from(["setup", "call", "teardown"]), span)),
                records=parts[0],
                strays=parts[1],
                uncounted=parts[0][: draw(st.integers(0, 2))],
                lost=draw(whole),
                unknown=tuple(draw(st.lists(texts, max_size=2))),
                not_checked=draw(st.none() | texts),
                breaches=tuple(
                    draw(st.lists(st.builds(ReportedBreach, texts, texts, st.booleans(), st.booleans()), max_size=2))
                ),
                gaps=draw(st.dictionaries(texts, whole, max_size=2)),
            ),
            Unit("test", draw(texts), index, records=parts[2]),
        ]
    return Document(tuple(runs), tuple(units))


def _run(id: str, probe: str, command: list[str]) -> Run:
    return run(
        id=id,
        probe=probe,
        command=tuple(command),
        ignored={probe: 1},
        filtered=bool(command),
        unknown=tuple(command),
        gaps=dict.fromkeys(command, 2),
        left_out=tuple(command),
        collection=Collection(places=tuple(command), skipped=(probe,)) if command else None,
        platform=probe,
    )


@settings(max_examples=60, deadline=None)
@given(documents())
def test_any_document(document: Document) -> None:
    data = data_of(document)
    assert data_of(again(document)) == data
    VALIDATOR.validate(data)


# ---- damage ----


def refused(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        reading.load(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "no", "[" * 100_000, dump(rich())[:-20], '{"format": 1e'])
def test_what_is_no_json(text: str) -> None:
    assert "expected JSON" in refused(text)


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}", '{"format": "other", "version": 2}'])
def test_what_is_no_report(text: str) -> None:
    assert "expected a report" in refused(text)


def test_a_newer_version_says_so_whatever_else_it_has() -> None:
    assert "is a report of version 3, and this pytest-execprobe reads up to 2" in refused(
        json.dumps({"format": form.FORMAT, "version": 3, "runs": "of another kind"})
    )


@pytest.mark.parametrize("version", [0, 1, -1, True, "2", None, 1.5])
def test_a_version_that_never_was(version: object) -> None:
    assert "has no version that is known" in refused(json.dumps({"format": form.FORMAT, "version": version}))


@pytest.mark.parametrize(("name", "other"), [("exit_status", "0"), ("ignored", "{}"), ("units", "[]"), ("git", "0")])
def test_a_name_that_is_there_twice_is_refused(name: str, other: str) -> None:
    """Of two values one would be taken, without a word of the other."""
    text = dump(Document((replace(run(), ignored={"git": 2}),), (Unit("test", "test_a"),)))
    assert text.count(f'"{name}":') == 1
    twice = text.replace(f'"{name}":', f'"{name}":{other},"{name}":')
    with pytest.raises(DocumentError, match=f"an object has '{name}' more than once"):
        reading.load(twice)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("reference", ["parent", "previous"])
def test_a_record_that_is_its_own_ancestor(length: int, reference: str) -> None:
    data = data_of(one(*(ran("sh", at=at) for at in range(length))))
    records = data["units"][0]["records"]
    for index, item in enumerate(records):
        item[reference] = records[(index + 1) % length]["id"]
    with pytest.raises(DocumentError, match="is its own ancestor"):
        reading.from_data(data)


def test_a_record_of_no_command() -> None:
    data = data_of(one(ran("git", at=1)))
    data["units"][0]["records"][0]["command"] = 1
    with pytest.raises(DocumentError, match=r"units\[0\].records\[0\].command: there is no command 1"):
        reading.from_data(data)


def test_a_wrong_record_among_right_ones() -> None:
    """Most are as one before them, and not looked at field by field."""
    for name, value in (
        ("pid", -1),
        ("timestamp_ns", 1 << 63),
        ("phase", "now"),
        ("id", "7"),
        ("shared", None),
        ("fork", "7"),
    ):
        data = data_of(one(*(ran("git", at=at) for at in range(20))))
        data["units"][0]["records"][15][name] = value
        with pytest.raises(DocumentError, match=rf"units\[0\].records\[15\].{name}: is "):
            reading.from_data(data)


def test_two_records_with_one_id() -> None:
    data = data_of(one(ran("git", at=1)))
    data["units"][0]["strays"] = data["units"][0]["records"]
    with pytest.raises(DocumentError, match=r"units\[0\].strays\[0\].id: another record of its run has it, too"):
        reading.from_data(data)


@pytest.mark.parametrize("times", [[2, 1], [0, 1 << 63], [-1, 1]])
def test_times_that_cannot_be(times: list[int]) -> None:
    data = data_of(one(ran("git", at=1)))
    data["units"][0]["phases"] = {"call": times}
    with pytest.raises(DocumentError, match=r"units\[0\].phases: expected a phase's beginning and end, not 'call'"):
        reading.from_data(data)


def test_a_unit_of_no_run() -> None:
    data = data_of(one())
    data["units"][0]["run"] = 1
    with pytest.raises(DocumentError, match=r"units\[0\]\.run: there is no run 1"):
        reading.from_data(data)


def test_a_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for make in (lambda: None, lambda: path.write_bytes(b"\xff\xfe"), lambda: path.write_text("{")):
        make()
        with pytest.raises(DocumentError, match=r"a\.json: "):
            reading.read(path)
    document = rich()
    path.write_text(dump(document))
    assert data_of(reading.read(path)) == data_of(document)


# ---- the schema ----


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"]["const"] == form.FORMAT
    assert SCHEMA["properties"]["version"]["const"] == form.VERSION


@pytest.mark.parametrize("document", [rich(), hostile(), many(2, 5), Document()])
def test_real_output_is_as_the_schema_says(document: Document) -> None:
    VALIDATOR.validate(json.loads(dump(document)))


def test_the_schema_describes_every_field() -> None:
    for name in ("run", "unit", "breach", "command", "call_site", "record"):
        described = SCHEMA["$defs"][name]
        assert set(described["required"]) == set(described["properties"])
        assert all(field.get("description") for field in described["properties"].values()), name


def _full() -> dict[str, Any]:
    """A small report in which every field has a value that is of its type, and nothing refers to what is not there."""
    git = ran("git", "x", at=2, lasted=1, parent=ran("ignored", at=1), exit_code=1, call_site=SITE)
    breach = ReportedBreach("headline", "text", call_site=SITE)
    unit = Unit(
        "test",
        "test_a",
        0,
        "gw0",
        "failed",
        "a.py",
        1,
        phases(1),
        (git,),
        (ran("sh", at=3),),
        (git,),
        1,
        ("why",),
        "no",
        (breach,),
        {"full": 2},
    )
    return data_of(Document((run(breaches=(breach,), ignored={"x": 1}, unknown=("why",), gaps={"full": 3}),), (unit,)))


_FULL = _full()


def full() -> dict[str, Any]:
    return copy.deepcopy(_FULL)


PLACES: list[tuple[Any, ...]] = [
    (),
    ("runs", 0),
    ("runs", 0, "breaches", 0),
    ("runs", 0, "collection"),
    ("runs", 0, "above", 0),
    ("runs", 0, "call_sites", 0),
    ("units", 0),
    ("units", 0, "breaches", 0),
    ("units", 0, "records", 0),
    ("units", 0, "strays", 0),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.5),
    *("", "x", "setup", "test", "1.1"),
    *([], [1], ["x"], ["x", 1, "y"], ["x", "y", 1], [None], [["x"]], [{}]),
    *({}, {"x": 1}, {"x": -1}, {"x": True}),
    *({"call": [1, 2]}, {"call": [1]}, {"call": [1, -2]}, {"call": "x"}, {"other": [1, 2]}),
]


def at(data: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        data = data[step]
    return data


def reads(data: dict[str, Any]) -> bool:
    try:
        reading.from_data(data)
    except DocumentError:
        return False
    return True


def mutations(place: tuple[Any, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A report with another value in one field, for each field that is there and each of many values."""
    for name in at(full(), place):
        for value in VALUES:
            data = full()
            at(data, place)[name] = value
            yield f"{name}={value!r}", data


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_missing_field_is_refused_by_the_schema_and_by_the_reader(place: tuple[Any, ...]) -> None:
    assert VALIDATOR.is_valid(full())
    assert reads(full())
    for name in at(full(), place):
        data = full()
        del at(data, place)[name]
        assert (name, VALIDATOR.is_valid(data), reads(data)) == (name, False, False)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_schema_and_the_reader_agree_on_every_value_of_every_field(place: tuple[Any, ...]) -> None:
    wrong = 0
    for what, data in mutations(place):
        if what in (
            "run=1",
            "runs=[]",
            "commands=[]",
            "call_sites=[]",
            "call_site=1",
        ):  # whether there is such a one no schema can say
            continue
        right = reads(data)
        assert (what, VALIDATOR.is_valid(data)) == (what, right)
        wrong += not right
    assert wrong > len(at(full(), place)) * len(VALUES) // 2


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_fields_that_are_not_known_are_ignored(place: tuple[Any, ...]) -> None:
    data = full()
    at(data, place)["later"] = {"any": "thing"}
    VALIDATOR.validate(data)
    assert data_of(reading.from_data(data)) == full()
