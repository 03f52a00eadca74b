"""A model's thinking, in the spellings that served models use, and an answer without it.

Thinking comes before the answer, so everything up to its last end goes, whether its beginning is there or not: many
chat templates write the opening tag into the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SURE = r"(?:deep_?)?think(?:ing)?|(?:inner_)?thoughts?(?:_process)?|scratch_?pad|(?:inner_)?monologue"
# Some write the explanation in such tags; a front end folds thoughts into <details>.
_AMBIGUOUS = r"reasoning(?:_process|_content)?|reason|reflection|analysis|details"
_ATTRIBUTES = r"(?:\s[^<>\n]{0,200})?"
_OPEN_BRACKET, _CLOSE_BRACKET = r"(?:[<\[◁]|&lt;)\s?[|｜]?", r"[|｜]?\s?(?:[>\]▷]|&gt;)"


def _tag(begin: str, names: str) -> str:
    """`<think>`, `<seed:think a="b">`, `[THINK]`, `◁think▷`, `<|START_THINKING|>`, `<|begin_of_thought|>`."""
    return f"{_OPEN_BRACKET}{begin}(?:[a-z]{{1,20}}[:_])?(?:{names}){_ATTRIBUTES}{_CLOSE_BRACKET}"


_START, _END = r"(?:start_(?:of_)?|begin_(?:of_)?)?", r"(?:/\s?|end_(?:of_)?)"
# Not written as such tags: gpt-oss's channels; Gemma; MedGemma; Apertus; Solar; Ollama's terminal.
_OTHER_ENDS = (
    r"<\|channel\|>\s{0,9}final\b[^<]{0,100}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>",
    r"<think(?:ing)?\s?/>",
    r"<channel\|>|<unused95>|<\|inner_suffix\|>|<\|content\|>|\.\.\.\s?done thinking\.",
)
_OTHER_STARTS = (r"<\|channel\|?>\s{0,9}(?:analysis|commentary|thought)\b", r"<unused94>|<\|inner_prefix\|>")
# The whole beginning of an answer: gpt-oss without its special tokens; Granite.
_BEGINNING = re.compile(
    r"\W{0,9}(?-i:analysis(?=[^\W_]).*assistantfinal)|\s*here is my thought process:.*here is my response:",
    re.IGNORECASE | re.DOTALL,
)
_PLACE = re.compile(r"[<\[◁&]|\.\.\.")  # where a mark can begin: looked for at each character it takes 20 times as long
_SURE_ENDS = re.compile("|".join((_tag(_END, _SURE), *_OTHER_ENDS)), re.IGNORECASE)
_AMBIGUOUS_ENDS = re.compile(_tag(_END, _AMBIGUOUS), re.IGNORECASE)
_AMBIGUOUS_START = re.compile(r"\s*" + _tag(_START, _AMBIGUOUS), re.IGNORECASE)
_STARTS = re.compile("|".join((_tag(_START, _SURE), *_OTHER_STARTS)), re.IGNORECASE)

LEFT_OVER = re.compile(
    "|".join(
        (
            _tag(f"(?:{_START}|{_END})", f"{_SURE}|{_AMBIGUOUS}"),
            r"<\|?(?:channel|start|message|constrain|return|inner_prefix|inner_suffix|content)\|?>",
            r"<unused9[45]>|assistantfinal|\.\.\.\s?done thinking\.",
        )
    ),
    re.IGNORECASE,
)
"""A mark of thinking that stayed in a text."""


def without_thinking(text: str, *, sure: bool = False) -> str:
    """What follows the last end of thinking, up to thinking that never ends.

    Args:
        text: As the model wrote it.
        sure: Leave tags alone that an explanation may stand in as well, such as `<reasoning>`.
    """
    begun = _BEGINNING.match(text)
    said = text[begun.end() :] if begun else text
    ends = [match.end() for match in _marks(_SURE_ENDS, said)]
    if not sure:
        ends += [match.end() for match in _marks(_AMBIGUOUS_ENDS, said) if _parts_lines(match)]
    said = said[max(ends, default=0) :]
    cut_off = next(_marks(_STARTS, said), None)
    return said[: cut_off.start()] if cut_off else said


def _parts_lines(match: re.Match[str]) -> bool:
    """Whether an ambiguous tag is the text's structure, and not quoted from a row that has such tags itself: the
    element begins the text, or its end stands at a line's edge."""
    text = match.string
    if _AMBIGUOUS_START.match(text):
        return True
    before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
    return not before.strip() or not text[match.end() :].partition("\n")[0].strip()


def _marks(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    places = (pattern.match(text, place.start()) for place in _PLACE.finditer(text))
    return (match for match in places if match)
