"""Generated mail to a returns desk with a hidden policy of interacting rules: rationales of a program, in English."""

from dhrd.data.policy_desk.policy import LABELS, REASONS, WORDS
from dhrd.data.policy_desk.rows import PolicyDesk
from dhrd.data.policy_desk.wording import SPLITS

__all__ = ["LABELS", "REASONS", "SPLITS", "WORDS", "PolicyDesk"]
