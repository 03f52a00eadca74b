"""WiC (Pilehvar and Camacho-Collados, 2019): has the word the same sense in both sentences?"""

from dhrd.data.superglue.task import Task, single_row

TASK = Task(
    name="wic",
    folder="WiC",
    template=(
        "Sentence 1: {{ sentence1 }}\nSentence 2: {{ sentence2 }}\n"
        'Does "{{ word }}" have the same meaning in both sentences?'
    ),
    labels=("false", "true"),
    words=("no", "yes"),
    leaks=(r"(?:same|different|identical|distinct|separate|shared|unrelated) (?:meaning|sense|use|usage)s?",),
    rows=single_row("wic"),
)
