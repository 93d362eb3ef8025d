"""How the comparison of a job with running at once came out: a figure, or why there is none."""

from enum import StrEnum


class BaselineCode(StrEnum):
    """What stands in a baseline row beside its grams; the last five go with NULL grams."""

    SETTLED = "settled"
    ESTIMATED = "estimated"
    NO_ENERGY = "no_energy"
    NO_ZONE = "no_zone"
    NO_INTENSITY = "no_intensity"
    SIGNAL_CHANGED = "signal_changed"
    GAP = "gap"


SENTENCES = {
    BaselineCode.SETTLED: (
        "Avoided: the same energy, had the job run without a pause from the moment it could first have started,"
        " at the intensity recorded then, less what it emitted. An estimate, and it may be negative."
    ),
    BaselineCode.ESTIMATED: (
        "Avoided: the same energy, had the job run without a pause from the moment it could first have started,"
        " at the intensity recorded then (holes of up to an hour are filled by the mean of their neighbours),"
        " less what it emitted. An estimate, and it may be negative."
    ),
    BaselineCode.NO_ENERGY: "Nothing is compared with running at once: no energy is on record for it.",
    BaselineCode.NO_ZONE: (
        "Nothing is compared with running at once: it ran, at least in part, at a site without a grid zone,"
        " so its emissions are not known."
    ),
    BaselineCode.NO_INTENSITY: (
        "Nothing is compared with running at once: no intensity was ever published for part of the time it ran,"
        " or its site is no longer configured."
    ),
    BaselineCode.SIGNAL_CHANGED: (
        "Nothing is compared with running at once: its energy was priced by more than one source, zone or signal,"
        " and figures of different kinds must not be subtracted."
    ),
    BaselineCode.GAP: (
        "Nothing is compared with running at once: the source that priced its energy has no figures for the time"
        " when it could first have run."
    ),
}
OPEN_SENTENCE = "The comparison with running at once is not settled yet."
