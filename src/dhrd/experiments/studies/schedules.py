"""Beyond the paper: the course of the reasoning weight over training."""

from dhrd.experiments.study import POOLED, Arm, Study

COURSES = ("constant", "decay", "rise")

STUDY = Study(
    name="schedules",
    title="Course of the reasoning weight",
    question="Should the reasoning loss weigh the same throughout, lead early, or come in late?",
    arms=(
        POOLED,
        Arm(name="dhrd", title="DHRD, constant weight", baselines=("pooled",)),
        Arm(
            name="dhrd_course",
            title="DHRD, course chosen",
            grid={"loss.reasoning_schedule": COURSES},
            baselines=("pooled",),
        ),
    ),
    primary=("pooled", "dhrd_course"),
    limits=("The course was chosen by cross-validation on training rows, with one seed.",),
)
