#!/usr/bin/env python3
"""How complex an event pattern is, as EventBridge counts it.

    python3 infra/local/events_patterns.py < PATTERNS    one pattern a line; prints the complexity of each

Of all values that a field may have, take the one that the most beginnings of the field's wildcard expressions match at
once: their number is the field's complexity, and a pattern's is that of its worst field. `a*bc` begins with `"a`,
`"a*`, `"a*b`, ...: values are compared in their quotes. All other kinds of expression cost nothing. A field that stands
beside an `$or` is added once for every choice, and costs more each time: so EventBridge builds its machine, which is
built here as well, of wildcards alone. https://github.com/aws/event-ruler (ByteMachine, MachineComplexityEvaluator)
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

MOST_CHARACTERS = 2048
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html names no number. 11 was refused, 9 was not.
MOST_COMPLEX = 9
ANY = -1
QUOTE = ord('"')

Fields = dict[str, list]


def problem(pattern: str) -> str | None:
    """Why EventBridge would refuse a pattern that is well formed."""
    if len(pattern) > MOST_CHARACTERS:
        return f"Event pattern is longer than {MOST_CHARACTERS} characters"
    if complexity(json.loads(pattern), MOST_COMPLEX + 1) > MOST_COMPLEX:
        return (
            "Rule is too complex - try using fewer wildcard characters "
            "or fewer repeating character sequences after a wildcard character"
        )
    return None


def complexity(pattern: dict, most: int = 1000) -> int:
    """The complexity of a pattern; counting ends at `most`."""
    start = Matching()
    for fields in alternatives(pattern, "", [{}]):
        start.add(sorted(fields.items()))
    return start.complexity(most)


def alternatives(pattern: dict, path: str, found: list[Fields]) -> list[Fields]:
    """The pattern without `$or`: one set of fields for every choice."""
    for name, value in pattern.items():
        if name == "$or" and isinstance(value, list):
            found = [it for choice in value for it in alternatives(choice, path, [dict(it) for it in found])]
        elif isinstance(value, dict):
            found = alternatives(value, f"{path}{name}.", found)
        else:
            for fields in found:
                fields[path + name] = value
    return found


class Matching:
    """Where matching is after some fields: what the next fields may be."""

    def __init__(self) -> None:
        self.fields: dict[str, Field] = {}

    def add(self, fields: list[tuple[str, list]]) -> None:
        if not fields:
            return
        (name, elements), *rest = fields
        field = self.fields.setdefault(name, Field())
        reached: list[Matching] = []
        for element in elements:
            reached.append(field.add(element, reached[-1] if reached else None))
        for following in distinct(reached):
            following.add(rest)

    def complexity(self, most: int) -> int:
        return max((it.complexity(most) for it in self.fields.values()), default=0)


class Place:
    """A place in a field's machine, and where each byte leads from it."""

    def __init__(self, after_asterisk: bool = False):
        self.bytes: dict[int, list[Place | Match]] = {}
        self.any: list[Place | Match] = []
        # More than one beginning of a value leads here.
        self.after_asterisk = after_asterisk

    def on(self, byte: int) -> "list[Place | Match]":
        return self.any if byte == ANY else [*self.bytes.get(byte, []), *self.any]

    def lead(self, byte: int, to: "Place | Match") -> None:
        self.bytes.setdefault(byte, []).append(to)


class Match:
    """The end of an expression of one element of the pattern."""

    def __init__(self, element: str, following: Matching):
        self.element = element
        self.following = following


class Field:
    """All that the values of a field are compared with."""

    def __init__(self) -> None:
        self.start = Place()
        # In the order in which they were made: a place leads to itself and to later ones.
        self.places = [self.start]
        self.matches: dict[tuple[str, int], Match] = {}
        self.plain: dict[str, Matching] = {}
        self.absent: Matching | None = None

    def add(self, element: Any, following: Matching | None) -> Matching:
        """Adds one element; what follows when it matches. `following`: what may be used for that, if it is new."""
        if element == {"exists": False}:
            self.absent = self.absent or following or Matching()
            return self.absent
        identity, following = json.dumps(element, sort_keys=True), following or Matching()
        expressions = wildcards(element)
        if not expressions:
            return self.plain.setdefault(identity, following)
        for expression in expressions:
            following = self.add_wildcard(identity, parsed(expression), following)
        return following

    def add_wildcard(self, element: str, expression: list[int], following: Matching) -> Matching:
        place, previous, length = self.start, None, 0
        while length < len(expression) - 1:
            known = reusable(place, expression, length)
            if known is None:
                break
            place, previous, length = known, place, length + 1
        for length in range(length, len(expression) - 1):  # noqa: B020 (the range is made before)
            place, previous = self.next_place(place, previous, expression, length), place
        for it in place.on(QUOTE):
            if isinstance(it, Match) and it.element == element:
                return it.following
        match = self.matches.setdefault((element, id(following)), Match(element, following))
        place.lead(QUOTE, match)
        if expression[-2] == ANY and previous is not None:
            previous.lead(QUOTE, match)
        return following

    def next_place(self, place: Place, previous: Place | None, expression: list[int], length: int) -> Place:
        byte = expression[length]
        made = Place(place.after_asterisk)
        self.places.append(made)
        if byte == ANY:
            made.after_asterisk = True
            made.any.append(made)
            place.any.append(made)
        else:
            place.lead(byte, made)
            # The asterisk before it may stand for nothing.
            if previous is not None and expression[length - 1] == ANY:
                previous.lead(byte, made)
        return made

    def complexity(self, most: int) -> int:
        leads: dict[int, set[str]] = {}
        followings = [*self.plain.values()]
        for place in reversed(self.places):
            leads[id(place)] = set()
            for it in [*place.any, *(it for led in place.bytes.values() for it in led)]:
                if isinstance(it, Match):
                    leads[id(it)] = {it.element}
                    followings.append(it.following)
                leads[id(place)] |= leads[id(it)]
        worst = self.matched_at_once({it: len(elements) for it, elements in leads.items()}, most)
        return min(most, max([worst, *(it.complexity(most) for it in distinct(followings))]))

    def matched_at_once(self, weights: dict[int, int], most: int) -> int:
        """The most that some value matches: all sets of places that values can lead to, from the start on."""
        waiting: list[list[Place | Match]] = [[self.start]]
        seen: set[frozenset[int]] = set()
        worst = 0
        while waiting and worst < most:
            places = [it for it in waiting.pop() if isinstance(it, Place)]
            # One byte that leads nowhere else stands for all of those.
            for byte in {it for place in places for it in place.bytes} | {ANY}:
                reached = list(distinct(it for place in places for it in place.on(byte)))
                identity = frozenset(id(it) for it in reached)
                if identity in seen:
                    continue
                seen.add(identity)
                waiting.append(reached)
                skipped = [it for place in reached if isinstance(place, Place) for it in place.any]
                counted = [*reached, *(it for it in skipped if id(it) not in identity)]
                worst = max(worst, sum(weights[id(it)] for it in counted))
        return worst


def reusable(place: Place, expression: list[int], length: int) -> Place | None:
    """A place that the expression can share with those that begin alike."""
    byte = expression[length]
    has_case = chr(max(byte, 0)).lower() != chr(max(byte, 0)).upper()
    ambiguous = byte != ANY and (has_case or place.any not in ([], [place]))
    for it in place.on(byte):
        if isinstance(it, Place) and it is not place and not (it.after_asterisk and ambiguous):
            return it
    return None


def wildcards(element: Any) -> list[str]:
    """The wildcard expressions of an element of a pattern."""
    inner = element.get("anything-but") if isinstance(element, dict) else None
    found = inner.get("wildcard", []) if isinstance(inner, dict) else []
    if isinstance(element, dict) and "wildcard" in element:
        found = element["wildcard"]
    return found if isinstance(found, list) else [found]


def parsed(expression: str) -> list[int]:
    """The expression in the quotes of the value that it is compared with."""
    found, escaped = [QUOTE], False
    for byte in expression.encode():
        if byte == ord("\\") and not escaped:
            escaped = True
            continue
        found.append(ANY if byte == ord("*") and not escaped else byte)
        escaped = False
    return [*found, QUOTE]


def distinct(things: Iterable) -> Iterable:
    return {id(it): it for it in things}.values()


if __name__ == "__main__":
    for line in sys.stdin:
        print(complexity(json.loads(line)))
