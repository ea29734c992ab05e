"""Studies: numbers of published models that take minutes, measured once and read by pages from ``book/results``.

``python -m hebm_lib study`` measures whatever is missing. A new study is a file beside this one with a `Study` in it,
named in the line below.
"""

from hebm_lib.reproduction.studies import (
    ablations,
    anomaly,
    anomaly_settings,
    anomaly_systems,
    disentanglement,
    fixed_codes,
    image_codes,
    latent_attack,
    levels,
    long_run,
    long_run_faces,
    natural_images,
    out_of_distribution,
)
from hebm_lib.reproduction.studies.study import Study, load_study, open_parts, run_study

__all__ = ["STUDIES", "Study", "load_study", "open_parts", "run_studies", "run_study"]

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        long_run.STUDY,
        latent_attack.STUDY,
        out_of_distribution.STUDY,
        anomaly.STUDY,
        anomaly_settings.STUDY,
        anomaly_systems.STUDY,
        ablations.STUDY,
        fixed_codes.STUDY,
        image_codes.STUDY,
        disentanglement.STUDY,
        levels.STUDY,
        natural_images.STUDY,
        long_run_faces.STUDY,
    )
}
"""Every study by its name."""


def run_studies(names: list[str], *, again: bool = False, precision: str = "32-true") -> None:
    """Bring the named studies up to date, or all of them where none is named.

    Raises:
        ValueError: for a name that is no study's.
    """
    if unknown := [name for name in names if name not in STUDIES]:
        raise ValueError(f"there is no study {unknown[0]!r}; there are {', '.join(STUDIES)}")
    for name in names or STUDIES:
        run_study(STUDIES[name], again=again, precision=precision)
