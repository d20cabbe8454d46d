"""Lifecycle configurations that S3 refuses and MiniStack stores."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

ACTIONS = (
    "Expiration",
    "Transition",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "AbortIncompleteMultipartUpload",
)
MALFORMED = (
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
)
MAX_RULES = 1000

# An error code of S3 and its message.
Refusal = tuple[str, str]


def refusal(body: bytes) -> Refusal | None:
    """Why S3 would not take this configuration."""
    try:
        rules = ElementTree.fromstring(body).findall("{*}Rule")
    except ElementTree.ParseError:
        return MALFORMED
    if not 1 <= len(rules) <= MAX_RULES:
        return MALFORMED
    ids: set[str] = set()
    old = new = False
    for rule in rules:
        prefix, filter_ = rule.find("{*}Prefix") is not None, rule.find("{*}Filter")
        if prefix and new:
            return invalid(
                "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter."
            )
        old = old or prefix
        if filter_ is not None and old:
            return invalid("Filter element can only be used in Lifecycle V2.")
        new = new or filter_ is not None
        refused = rule_refusal(rule, filter_, old) or id_refusal(rule.findtext("{*}ID"), ids)
        if refused:
            return refused
    return overlap(rules) if old else None


def rule_refusal(rule: Element, filter_: Element | None, old: bool) -> Refusal | None:
    names = {local(it) for it in rule}
    if not names & {"Prefix", "Filter"} or rule.findtext("{*}Status") not in ("Enabled", "Disabled"):
        return MALFORMED
    if old and rule.find(".//{*}NewerNoncurrentVersions") is not None:
        return invalid("NewerNoncurrentVersions element can only be used in Lifecycle V2.")
    if not names & set(ACTIONS):
        return invalid("At least one action needs to be specified in a rule")
    if filter_ is None:
        return None
    both = filter_.find("{*}And")
    if len(filter_) > 1 or both is not None and len(both) < 2:
        return MALFORMED
    for name, what in (
        ("Tag", "Tags"),
        ("ObjectSizeGreaterThan", "Object Size"),
        ("ObjectSizeLessThan", "Object Size"),
    ):
        if "AbortIncompleteMultipartUpload" in names and filter_.find(f".//{{*}}{name}") is not None:
            return invalid(f"AbortIncompleteMultipartUpload cannot be specified with {what}.")
    return None


def id_refusal(id_: str | None, ids: set[str]) -> Refusal | None:
    if id_ is None:
        return None
    if len(id_) > 255:
        return "InvalidArgument", "ID length should not exceed allowed limit of 255"
    if id_ in ids:
        return "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule"
    ids.add(id_)
    return None


def overlap(rules: list[Element]) -> Refusal | None:
    """Of two rules of the old form that do the same, neither may hold within the other's prefix."""
    for n, one in enumerate(rules):
        for other in rules[n + 1 :]:
            a, b = (it.findtext("{*}Prefix") or "" for it in (one, other))
            shared = [
                it for it in ACTIONS if one.find(f"{{*}}{it}") is not None and other.find(f"{{*}}{it}") is not None
            ]
            if shared and (a.startswith(b) or b.startswith(a)):
                return invalid(f"Found overlapping prefixes '{a}' and '{b}' for same action type '{shared[0]}'")
    return None


def invalid(message: str) -> Refusal:
    return "InvalidRequest", message


def local(element: Element) -> str:
    return element.tag.rpartition("}")[2]
