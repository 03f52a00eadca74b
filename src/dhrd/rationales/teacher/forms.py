"""The forms in which teachers write an explanation and an answer: around a sentinel, or as the fields of an object.

Models put headings, lead-ins, fences and tags around what they were asked for; none of that is the explanation.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from functools import partial

_NAME = r"(?:explanation|reasoning|rationale|(?:final_)?answer|response|output|solution)"
_TAG = rf"</?{_NAME}(?:\s[^<>\n]{{0,200}})?>"  # the prompt's form, copied
_TAGS = re.compile(f"({_TAG})", re.IGNORECASE)
_FORM_TAG = re.compile(r"</?(?:explanation|reasoning|rationale|(?:final_)?answer)\b", re.IGNORECASE)
_SOME_TAGS = rf"(?:{_TAG}\s{{0,20}}+){{1,8}}+"  # possessive, as below: no answer takes long
_EDGE_TAGS = re.compile(rf"\A\s{{0,20}}{_SOME_TAGS}|{_SOME_TAGS}\Z", re.IGNORECASE)
_FIELDS = re.compile(
    r"<(explanation|reasoning|rationale)\b[^<>\n]{0,200}>(.*)</\1>\s*<((?:final_)?answer|label)\b[^<>\n]{0,200}>(.*)</\3>",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = r"(?:<[|｜][^<>|｜\n]{1,40}[|｜]>|</?s>|<(?:eos|bos|pad|end_of_turn|end_of_text)>)"
_FIRST_TOKENS = re.compile(rf"\A(?:\s{{0,20}}{_TOKEN}){{1,20}}", re.IGNORECASE)  # "<|im_start|>"
_LAST_TOKENS = re.compile(rf"(?:{_TOKEN}\s{{0,20}}){{1,20}}\Z", re.IGNORECASE)  # "<|im_end|>", "<|return|>"

_END_OF_REASONING = r"END[ \t_\-\xa0]{1,4}OF[ \t_\-\xa0]{1,4}(?:REASONING|EXPLANATION|RATIONALE)"
_ALONE = re.compile(rf"^(?:[^\w\n]|_){{0,80}}?{_END_OF_REASONING}(?:[^\w\n]|_){{0,80}}?$", re.IGNORECASE | re.MULTILINE)
_WITHIN = re.compile(
    rf"(?:^|(?<=[.!?…:;。！？\"'”’)\]*_`>\s]))[*_`#\\]{{0,10}}[\[(<【]\s?/?{_END_OF_REASONING}\s?\\?[\])>】][*_`]{{0,10}}(?!\s*[,.;)])",
    re.IGNORECASE | re.MULTILINE,
)
_SENTINELS = re.compile(f"({_END_OF_REASONING})", re.IGNORECASE)
_LETTER = re.compile(r"[^\W_]")
_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’)\]*_`>]*\s*\Z")

_WORD = r"(?:explanation|reasoning|rationale|reasons?|justification|analysis|thought process)"
_BOLD = r"</?(?:b|strong|em|u|p|h\d)>"
_HEADING = re.compile(
    rf"\A(?:[\s*_#>]|{_BOLD})*(?:(?:step\s)?\d[.):][\s*_]*)?"
    rf"(?:(?:(?:brief|short|step[- ]by[- ]step|my|the|an?)\s+){{1,2}})?"
    rf"{_WORD}(?:\s(?:of|for|why|behind)\b[^\n:.]{{0,60}}(?=:[ *_]*\n)|\s\([^()\n]{{0,60}}\))?"
    rf"(?:[ \t*_]|{_BOLD})*(?:[:：](?:[ \t*_]|{_BOLD})*|[–—]\s|(?<=\s)-\s|\n)\s*",
    re.IGNORECASE,
)
_YES = r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|great|got it|understood|no problem)"
_LEAD_IN = re.compile(
    rf"\A\s*(?:{_YES}[!.]+\s+"
    rf"|(?:(?:{_YES}|as (?:you )?(?:requested|asked|instructed))[,!.:]?\s+)?(?:"
    r"(?:here(?:'s|’s| is| are| goes)|below is|the following is|i(?:'ll|’ll| will) (?:now )?(?:give|provide|write))"
    rf"\b[^\n:.]{{0,60}}\b(?:{_WORD}|why|answer|response|json|output)\b[^\n:.]{{0,80}}:"
    r"|i(?:'d|’d| would) be happy to (?:explain|help)[^\n:.!]{0,60}[:.!]"
    rf"|(?:the |my )?{_WORD} (?:is|are) as follows:|here you (?:go|are)[:.!]"
    r"|let(?:'s|’s| us| me) (?:think|explain|reason|work|break)\b[^\n:.]{0,60}[:.])"
    r"[ \t*_]*)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"\A\s*(?:[-*_=]{3,200}[ \t]{0,80}\n){1,5}|(?:\n[ \t]{0,80}[-*_=]{3,200}[ \t]{0,80}){1,5}\Z")
_ANSWER_LINE = re.compile(
    r"\n[\s*_#]{0,20}(?:(?:the\s+)?(?:final\s+)?answer(?:\s+is)?)[*_]*\s*:[^\n]*\Z", re.IGNORECASE
)

_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?|\Z)")

_MOST_LAYERS = 8  # heading in a fence behind a lead-in …; bounded, so that no answer takes long
_LONGEST_FIELDS = 20_000
_EXPLANATION_KEYS = ("explanation", "reasoning", "rationale", "justification", "analysis", "reason", "reasons")
_ANSWER_KEYS = ("answer", "finalanswer", "label", "classification", "prediction", "category", "class", "verdict")


def split(text: str, is_answer: Callable[[str], bool]) -> tuple[str, str] | None:
    """The explanation and what follows it.

    Args:
        text: An answer without its thinking.
        is_answer: Whether a line is an answer: what follows an earlier sentinel is one, or the next explanation.

    Returns:
        The explanation ("" where there is none) and the rest; None where nothing divides them.
    """
    text = _without_quoting(_FIRST_TOKENS.sub("", text.replace("\r\n", "\n").lstrip("\ufeff")))
    if (fields := _fields(_LAST_TOKENS.sub("", text))) is not None and not (_ALONE.search(text) and not fields[1]):
        inner = split(fields[0], is_answer)  # a sentinel within the field
        return (inner[0] if inner else _bare(fields[0])), fields[1]
    parts = _divide(_without_tags(text))
    if len(parts) < 2:
        return None
    rest = _RULE.sub("", _FENCE.sub("", _TAGS.sub("", parts[-1])).strip())
    return _last_explanation(parts[:-1], is_answer), _answer_of(_object(rest)) or rest


def _without_tags(text: str) -> str:
    """Without those of the prompt's form at the ends of a line, and any on lines of their own or beside a sentinel:
    amid a line's words they may be the explanation's own."""
    return "".join(
        "".join(map(_without_outer_tags, _SENTINELS.split(line))) if "<" in line else line
        for line in text.splitlines(keepends=True)
    )


def _without_outer_tags(text: str) -> str:
    parts = _TAGS.split(text)  # texts, with the tags between them
    worded = [place for place in range(0, len(parts), 2) if _LETTER.search(parts[place])]

    def stays(place: int) -> bool:
        return bool(worded) and (worded[0] < place < worded[-1] or not _FORM_TAG.match(parts[place]))

    return "".join(part for place, part in enumerate(parts) if place % 2 == 0 or stays(place))


def _divide(text: str) -> list[str]:
    """At each sentinel that stands alone on its line; else at the last bracketed one that is in no sentence."""
    parts = _ALONE.split(text)
    while len(parts) > 2 and not _FENCE.sub("", parts[-1]).strip():  # the sentinel again, after the answer
        parts.pop()
    if len(parts) > 1:
        return parts
    for match in reversed(list(_WITHIN.finditer(text))[-_MOST_LAYERS:]):
        before = text[: match.start()]
        line = before.rpartition("\n")[2]
        if not line.strip() or _SENTENCE_END.search(line) or not text[match.end() :].partition("\n")[0].strip():
            return [before, text[match.end() :]]
    return parts


def _last_explanation(parts: list[str], is_answer: Callable[[str], bool]) -> str:
    """The newest one: what precedes an earlier sentinel is a draft, and may have its own answer after it."""
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number].strip()
        first, _, more = part.partition("\n")
        if explanation := _bare(more if number and is_answer(_TAGS.sub("", first)) else part):
            return explanation
    return ""


def _bare(text: str) -> str:
    """An explanation without fences, lead-in, headings, tags around it, and an answer at its end."""
    for _ in range(_MOST_LAYERS):
        before = text
        text = _without_fences(_RULE.sub("", text).strip())
        text = _HEADING.sub("", _LEAD_IN.sub("", text))
        if (fields := _fields(text)) is not None:
            text = fields[0]
        text = _EDGE_TAGS.sub("", text)
        text = _ANSWER_LINE.sub("", "\n" + text.rstrip()).strip()
        if text == before:
            break
    return text


def _without_fences(text: str) -> str:
    """Without a fence around it all, or half of one: the other half is around the answer. Blocks within it stay."""
    fences = list(_FENCE.finditer(text)) if "```" in text or "~~~" in text else []
    if not fences:
        return text
    first, last = fences[0], fences[-1]
    begins, ends, odd = first.start() == 0, last.end() == len(text), len(fences) % 2 == 1
    is_pair = begins and ends and len(fences) == 2
    if is_pair or (ends and odd and not begins):
        text = text[: last.start()]
    if is_pair or (begins and odd):
        text = text[first.end() :]
    return text.strip()


def _without_quoting(text: str) -> str:
    """Without the marks of a quotation, where each line has one."""
    lines = text.strip().split("\n")
    return "\n".join(_QUOTE.sub("", line) for line in lines) if all(map(_QUOTE.match, lines)) else text


def _fields(text: str) -> tuple[str, str] | None:
    """Explanation and answer of `{"explanation": …, "answer": …}`, or of elements with these names."""
    text = _without_fences(_LEAD_IN.sub("", text.strip()).strip())
    if text.startswith("<") and (match := _FIELDS.fullmatch(text[:_LONGEST_FIELDS])):
        return match[2], match[4]
    by_name = _object(text)
    explanation = next((_words(by_name[key]) for key in _EXPLANATION_KEYS if _words(by_name.get(key))), None)
    return None if explanation is None else (explanation, _answer_of(by_name))


def _answer_of(by_name: dict[str, object]) -> str:
    return next((_words(by_name[key], ", ") for key in _ANSWER_KEYS if key in by_name), "")


def _object(text: str) -> dict[str, object]:
    """The fields of the JSON object that a text begins with, of those after it, and of objects in them; by plain names.

    Other spellings of it too: alone in a list, of Python, with a comma after its last field.
    """
    found: dict[str, object] = {}
    for _ in range(_MOST_LAYERS):
        text = text.lstrip("[ \t\r\n,")
        if not text.startswith("{"):
            break
        value, end = _read_object(text)
        left = [value]
        for node in left:  # it grows
            found = {re.sub(r"[\W_]", "", str(name)).lower(): one for name, one in node.items()} | found
            left += [one for one in node.values() if isinstance(one, dict)]
        if not end:
            break
        text = text[end:]
    return found


def _read_object(text: str) -> tuple[dict[str, object], int]:
    """The object and where it ends, 0 where it takes the whole text or is none."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text)
        return value, end
    except (ValueError, RecursionError):
        pass
    whole = text[: text.rfind("}") + 1][:_LONGEST_FIELDS]
    for read, spelled in (
        (partial(json.loads, strict=False), re.sub(r",\s*\}\Z", "}", whole)),
        (ast.literal_eval, whole),
    ):
        try:
            value = read(spelled)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(value, dict):
            return value, 0
    return {}, 0


def _words(value: object, joint: str = "\n") -> str:
    """A field's text; a list's elements joined."""
    if isinstance(value, list):
        return joint.join(_words(one, joint) for one in value)
    if value is None or isinstance(value, dict):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
