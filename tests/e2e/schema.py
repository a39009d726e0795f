"""What the command's JSON looks like, and whether a value is that: as vmtrail(1) describes it.

A schema is a type's name, [a schema] for a list, or {field: schema}; a field whose name ends with
"?" may be missing, a type whose name ends with "?" may be null. No other fields are allowed.

SPDX-License-Identifier: MIT
"""
import re

HEX = re.compile(r"0x[0-9a-f]+$")

FRAME = {"pc": "hex", "module": "text", "file_offset?": "hex", "function?": "text",
         "offset?": "int", "source?": "text", "line?": "int", "inlined?": "bool", "stale?": "bool"}
SITE = {**FRAME, "inlined_into?": FRAME, "via?": "text"}
ROLE = {"role?": "text", "role_name?": "text", "role_tid?": "int", "role_ended?": "bool"}
EVENT = {"seq": "int", "time": "number", "duration": "number", "tid": "int", "thread": "text",
         "call": "text", "args": {"*": "any"}, "text?": {"*": "text"}, "ret": "any",
         "errno?": "text", "file?": "text?", "name?": "text", "unseen?": "text", "own": "bool",
         "inner": "bool", "raw": "bool", "late": "bool", "undone": "bool", "shared_vm": "bool"}
DUMP = {**EVENT, **ROLE, "stack?": [FRAME]}
MAPPING = {"birth": "int", "start": "hex", "end": "hex", "bytes": "int", "perms": "text",
           "path": "text?", **ROLE}
VICTIM = {"birth": "int", "start": "hex", "end": "hex", "bytes": "int", "owner": "text",
          "role": "text", "use": "text", "tid": "int", "path": "text?"}
MAKER = {"seq": "int", "areas": "int", "splits": "bool"}
REUSE = {"kind": "text", "severity": "text", "seq": "int", "addr": "hex", "length": "int",
         "tid": "int", "owner": "text", "stack": [FRAME], "victims": [VICTIM],
         "history": [{**EVENT, "site": (SITE, None)}], "proof": "text?", "proof_seq": "int",
         "overlap": "bool", "opened": "int", "placement": "text?", "path": "text?", "count": "int",
         "limit": "int", "makers": [MAKER], "alike": "int", "sentence": "text", "advice": "text"}
GAP = {"gap_start": "hex", "gap_end": "hex", "opened_by": "int", "by_hint": "bool",
       "expected": "hex"}
WHY = {"addr": "hex", "page": "hex", "end": "hex", "after_seq": "int", "at_start": (MAPPING, None),
       "history": [{**EVENT, "what": ["text"], "victim": (MAPPING, None), "site": (SITE, None),
                    "stack": [FRAME], "placement?": GAP}],
       "state": (MAPPING, None), "verdict": ["text"], "findings": [REUSE]}
SPACE = {"layout": "text", "mmap_base": "hex", "thp_align": "bool", "kernel": "text"}
LAYOUT = {"recorded": SPACE, "there": SPACE, "chosen": "int", "elsewhere": "int", "forced": "int",
          "hints": "int", "hints_lost": "int", "n_conflicts": "int",
          "conflicts": [{**EVENT, "what": "text", "there": "hex", "bytes": "int", "victim": "int",
                         "victim_site": (SITE, None), "site": (SITE, None)}],
          "places": [{"recorded": "hex", "there": "hex", "bytes": "int", "birth": "int",
                      "site": (SITE, None)}]}
WHATIF = {"trace": "text", "limits": {"*": "any"}, "calls": "int", "would_fail": "int",
          "failed_too": "int", "by_rule": {"*": "int"},
          "first": ({**EVENT, "would_fail_with": "text", "rule": "text", "limited_by": "text?",
                     "held": "int", "asked": "int", "allowed": "int", "site": (SITE, None),
                     "stack": [FRAME]}, None),
          "state": {"*": "int"}, "own": {"*": "int"},
          "holders": [{"site": (SITE, None), "name?": "text", "bytes?": "int", "vmas?": "int"}],
          "assumptions": ["text"], "layout?": LAYOUT}
COUNTS = {"cases": ["int"], "merges": "int", "splits": "int"}
MERGES = {"trace": "text", **COUNTS, "splits_by": {"*": "int"}, "why_apart": {"*": "int"},
          "sites": [{"site": (SITE, None), "call": "text?", **COUNTS, "apart": "int",
                     "why": {"*": "int"}}],
          "most_vmas": "int", "most_vmas_seq": "int",
          "chains": [{"start": "hex", "end": "hex", "vmas": "int", "flags": ["text"],
                      "site": (SITE, None)}]}
SCHEMAS = {"dump": DUMP, "reuse": REUSE, "why": WHY, "whatif": WHATIF,
           "merges": MERGES}

TYPES = {
    "any": lambda v: True,
    "bool": lambda v: isinstance(v, bool),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "text": lambda v: isinstance(v, str),
    "hex": lambda v: isinstance(v, str) and HEX.match(v),
}


def complaints(value, schema, where="", partial=False):
    """What is wrong with value, as a list of lines. partial: fields may be missing anywhere."""
    if isinstance(schema, tuple):
        return [] if value is None else complaints(value, schema[0], where, partial)
    if isinstance(schema, str):
        if schema.endswith("?") and value is None:
            return []
        return [] if TYPES[schema.rstrip("?")](value) else [f"{where}: {value!r} is no {schema}"]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [line for i, item in enumerate(value)
                for line in complaints(item, schema[0], f"{where}[{i}]", partial)]
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    known = {name.rstrip("?"): part for name, part in schema.items()}
    wrong = [f"{where}.{name}: not in the schema" for name in value
             if name not in known and "*" not in known]
    wrong += [f"{where}.{name}: missing" for name in schema
              if not name.endswith("?") and name != "*" and name not in value and not partial]
    for name, item in value.items():
        part = known.get(name, known.get("*"))
        if part is not None:
            wrong += complaints(item, part, f"{where}.{name}", partial)
    return wrong


def fields(schema):
    """Every field's name in a schema."""
    if isinstance(schema, (list, tuple)):
        return fields(schema[0])
    if not isinstance(schema, dict):
        return set()
    names = {name.rstrip("?") for name in schema if name != "*"}
    return names.union(*(fields(part) for part in schema.values()))
