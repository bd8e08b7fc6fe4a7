"""Plain data with places; hostile YAML is refused in words, quickly."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from transferscope.core.errors import BadInput
from transferscope.study.yaml_positions import MAX_BYTES, Dumper, Position, dotted, read_yaml

BILLION_LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(content: bytes | str) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        read_yaml(content, "f.yaml")
    return caught.value.problems


def test_every_key_and_item_has_its_place() -> None:
    document = read_yaml("# first\na:\n  b: [x, {c: 1}]\n", "f.yaml")
    assert document.data == {"a": {"b": ["x", {"c": 1}]}}
    assert document.positions == {
        (): Position(2, 1),
        ("a",): Position(2, 1),
        ("a", "b"): Position(3, 3),
        ("a", "b", 0): Position(3, 7),
        ("a", "b", 1): Position(3, 10),
        ("a", "b", 1, "c"): Position(3, 11),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2.5E3", -2500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("+7", 7),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("=", "="),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = read_yaml(f"x: {text}", "f.yaml").data["x"]
    assert read == value
    assert type(read) is type(value)


def test_nan_is_read_as_one() -> None:
    assert math.isnan(read_yaml(".nan", "f.yaml").data)


def test_an_alias_stands_for_its_value() -> None:
    assert read_yaml("a: &x {k: 1}\nb: *x\n", "f.yaml").data == {"a": {"k": 1}, "b": {"k": 1}}


TAG = "a: the tag '{}' does not fit or is not allowed; leave tags out"
TOO_LARGE = "too large once its aliases are followed: more than 20000 values or 24 levels"
TOO_DEEP = "not YAML: nested more than 24 levels deep"
OUT_OF_RANGE = "not YAML: an escape or a version number out of range"
TOO_MANY_DIGITS = "a: a whole number beyond 9223372036854775807"


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", ":3:1", "a: the key stands here again; first at 1:1"),
        ("o:\n  a: 1\n  a: 3", ":3:3", "o.a: the key stands here again; first at 2:3"),
        ("1: x", ":1:1", "a key must be text; quote it: '1'"),
        ("o: {~: x}", ":1:5", "o: a key must be text; quote it: '~'"),
        ("? [a]\n: 1", ":1:3", "a key must be text, not a list or a mapping"),
        ("b: &b {}\no:\n  <<: *b", ":3:3", "o: merging with << is not supported; write the keys out"),
        ("a: !!python/object/apply:os.system [ls]", ":1:4", TAG.format("!!python/object/apply:os.system")),
        ("a: !thing 3", ":1:4", TAG.format("!thing")),
        ("a: !!int x", ":1:4", TAG.format("!!int")),
        ("a: !!set {b}", ":1:4", TAG.format("!!set")),
        ("a: " + "9" * 5000, ":1:4", TOO_MANY_DIGITS),
        ("a: 9223372036854775808", ":1:4", TOO_MANY_DIGITS),
        ('a: "\\ud800"', ":1:4", "a: the character U+D800 is not allowed"),
        ('a: ["\\0"]', ":1:5", "a[0]: the character U+0000 is not allowed"),
        ('a: "\\UFFFFFFFF"', "", OUT_OF_RANGE),
        ("%YAML 1." + "9" * 5000 + "\n--- a", "", OUT_OF_RANGE),
        (
            "a: [1",
            ":1:6",
            "not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("a: b: c", ":1:5", "not YAML: mapping values are not allowed here"),
        ("a: *b", ":1:4", "not YAML: found undefined alias 'b'"),
        (
            "a: 1\n---\nb",
            ":2:1",
            "not YAML: expected a single document in the stream, but found another document",
        ),
        ("a: 1\nb: x\0y", ":2:5", "not YAML: the character U+0000 is not allowed"),
        (b"a: 1\nb: \xff", ":2:4", "not UTF-8 text; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), ":1:1", "not UTF-8 text; save the file as UTF-8"),
        (b"x" * (MAX_BYTES + 1), "", "larger than 256 KiB, which no study file is"),
        (BILLION_LAUGHS, ":1:4", TOO_LARGE),
        ("a: &a [*a]", ":1:4", TOO_LARGE),
        ("[" * 100_000, ":1:25", TOO_DEEP),
        ("- " * 100_000, ":1:49", TOO_DEEP),
        ("{a: " * 60_000, ":1:94", TOO_DEEP),
    ],
)
def test_what_is_strange_is_refused_at_its_place(content: bytes | str, place: str, message: str) -> None:
    start = time.monotonic()
    assert refused(content) == (f"f.yaml{place}: {message}",)
    assert time.monotonic() - start < 10


def test_all_that_is_strange_is_reported_from_top_to_bottom() -> None:
    assert refused("a: !x 1\na: 2\n3: 4\n") == (
        "f.yaml:1:4: a: the tag '!x' does not fit or is not allowed; leave tags out",
        "f.yaml:2:1: a: the key stands here again; first at 1:1",
        "f.yaml:3:1: a key must be text; quote it: '3'",
    )


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1", "f.yaml").data == {"a": 1}


@pytest.mark.parametrize("content", ["", "# nothing\n", "---\n", "~"])
def test_an_empty_document_is_none(content: str) -> None:
    assert read_yaml(content, "f.yaml").data is None


def test_a_path_is_written_as_it_is_set() -> None:
    assert dotted(("targets", "a b", "seeds", 1)) == "targets.a b.seeds[1]"
    assert dotted(("a", "", "\x1b[2J")) == "a.''.'\\x1b[2J'"


YAML_LIKE = st.text(alphabet="ab:-[]{}&*!?|>'\"%#, \n\t\\xuU0d<.", max_size=60)


@given(st.text() | st.binary(max_size=300) | YAML_LIKE)
def test_any_input_is_read_or_refused(content: bytes | str) -> None:
    with contextlib.suppress(BadInput):
        read_yaml(content, "f.yaml")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    | st.from_regex(r"[-+0-9eEox_.:~a-f]{1,8}", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abn1e-<~ ", max_size=4).filter(lambda key: key != "<<"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(PLAIN)
@example("\x85")
@example("a\u2028b")
def test_what_is_written_is_read_back(data: object) -> None:
    written = yaml.dump(data, Dumper=Dumper, allow_unicode=True)
    assert read_yaml(written, "f.yaml").data == data
