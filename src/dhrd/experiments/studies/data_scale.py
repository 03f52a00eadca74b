"""Beyond the paper: how much data, and how many rationales, the gain needs."""

from dhrd.experiments.study import LABELS_ALONE, Arm, Study


def _rows(share: float) -> tuple[Arm, Arm]:
    percent = f"{share:.0%}"
    name = percent.removesuffix("%")
    settings = {"data.train_share": share}
    return (
        Arm(
            name=f"pooled_{name}",
            title=f"pooled, {percent} of the rows",
            settings={**settings, **LABELS_ALONE},
        ),
        Arm(
            name=f"dhrd_{name}", title=f"DHRD, {percent} of the rows", settings=settings, baselines=(f"pooled_{name}",)
        ),
    )


def _rationales(share: float) -> Arm:
    return Arm(
        name=f"dhrd_rationales_{share * 100:g}",
        title=f"DHRD, {share:.0%} of the rationales",
        settings={"data.rationale_share": share},
        baselines=("pooled_100",),
    )


STUDY = Study(
    name="data_scale",
    title="Rows and rationales",
    question="How does the gain change with the number of rows, and with the share of them that have a rationale?",
    # No rationales at all is the pooled baseline, all of them DHRD: both stand among the arms by rows
    arms=(*_rows(0.25), *_rows(0.5), *_rows(1.0), _rationales(0.25), _rationales(0.5)),
    primary=("pooled_100", "dhrd_100"),
)
