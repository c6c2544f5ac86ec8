"""Lines of TOML keys, against tomllib itself."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.graph.positions import key_lines, line_of

TRICKY = '''\
default = false
# [not] = "a table"
[each]
ds = "2..3" # a = 1
config = """
inside = 3
"""
raw = \'\'\'
[inside]\'\'\'
[config]
path = "x = [1"
[config.edit]
"a.b[0]" = 4096
'c' = [ 1,
  2, { x = 1, y.z = [
 {q=3} ] },
]
d.e . f = 1
[ step . "cle\\u0061n" ]
inputs = { raw = "../*.csv", script = [ "a", "b" ] }
1979-05-27 = 1979-05-27T07:32:00Z
e = ""
f = \'\'
g = """a"""""
h = \'\'\'a\'\'\'\'\'
i = "\\""
[[list]]
k = 1
[[list]]
l = 1'''


def test_tricky_texts():
    assert key_lines(TRICKY) == {
        ("default",): 1,
        ("each",): 3,
        ("each", "ds"): 4,
        ("each", "config"): 5,
        ("each", "raw"): 8,
        ("config",): 10,
        ("config", "path"): 11,
        ("config", "edit"): 12,
        ("config", "edit", "a.b[0]"): 13,
        ("config", "edit", "c"): 14,
        ("config", "edit", "c", "x"): 15,
        ("config", "edit", "c", "y"): 15,
        ("config", "edit", "c", "y", "z"): 15,
        ("config", "edit", "c", "y", "z", "q"): 16,
        ("config", "edit", "d"): 18,
        ("config", "edit", "d", "e"): 18,
        ("config", "edit", "d", "e", "f"): 18,
        ("step",): 19,
        ("step", "clean"): 19,
        ("step", "clean", "inputs"): 20,
        ("step", "clean", "inputs", "raw"): 20,
        ("step", "clean", "inputs", "script"): 20,
        ("step", "clean", "1979-05-27"): 21,
        ("step", "clean", "e"): 22,
        ("step", "clean", "f"): 23,
        ("step", "clean", "g"): 24,
        ("step", "clean", "h"): 25,
        ("step", "clean", "i"): 26,
        ("list",): 27,
        ("list", "k"): 28,
        ("list", "l"): 30,
    }


def test_a_key_that_is_not_written_has_the_line_of_its_table():
    lines = key_lines("a = 1\n[t]\nb = 2")
    assert line_of(lines, ("t", "zzz")) == 2
    assert line_of(lines, ("zzz", "b")) == 1
    assert line_of(lines, ()) == 1


KEYS = st.one_of(
    st.text("abcXYZ019_-", min_size=1, max_size=4),
    st.text("a.\"'#=[]{} \\", max_size=3).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.text('a."#=[]{} \\', max_size=3).map(lambda text: f"'{text}'"),
)
VALUES = st.recursive(
    st.sampled_from(["1", "true", '"a = 1"', "'[x]'", '"""\nb = 1\n"""', "'''\n[b]\n'''", "1.5", '"#"', '"\\""']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", # c\n".join([*items, ""]) + "]"),
        st.lists(st.tuples(KEYS, inner), max_size=2).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=4,
)


def paths_of(data, prefix=()):
    items = data.items() if isinstance(data, dict) else [((), item) for item in data] if isinstance(data, list) else ()
    for key, value in items:
        path = (*prefix, key) if isinstance(data, dict) else prefix
        if path:
            yield path
        yield from paths_of(value, path)


@given(st.lists(st.one_of(st.tuples(KEYS, VALUES), st.lists(KEYS, min_size=1, max_size=2)), max_size=6))
def test_the_keys_found_are_those_that_tomllib_finds(rows):
    text = "\n".join(f"{row[0]} = {row[1]}" if isinstance(row, tuple) else f"[{'.'.join(row)}] # c" for row in rows)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert set(lines) == set(paths_of(data))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
