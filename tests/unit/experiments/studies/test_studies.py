"""Every study can be run as it is written."""

from __future__ import annotations

from dhrd.config import load_config
from dhrd.experiments import STUDIES
from dhrd.experiments.asked import read_grid


def test_every_study_is_sound() -> None:
    assert len(STUDIES) == 9
    for study in STUDIES.values():
        names = [arm.name for arm in study.arms]
        assert len(set(names)) == len(names)
        assert set(study.primary) <= set(names)
        for arm in study.arms:
            assert not arm.baselines or set(arm.baselines) & set(names)
            settings = {name.replace(".", "__"): value for name, value in arm.settings.items()}
            load_config(**settings)  # every setting exists, and they do not contradict each other
            for name, values in arm.grid.items():
                assert len(read_grid([f"{name}={','.join(map(str, values))}"])[name]) == len(values)
