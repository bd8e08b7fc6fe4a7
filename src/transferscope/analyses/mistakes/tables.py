"""The tables of the analysis of mistakes."""

from __future__ import annotations

from transferscope.analyses.shared.image_groups import WITHOUT_GROUP
from transferscope.core.instances import PAIR_COLUMNS
from transferscope.core.tables import Column

_COUNTS = (
    Column("both_wrong", "int", "Common mistakes"),
    Column("only_a", "int", "Uncommon mistakes of a: a wrong, b right"),
    Column("only_b", "int", "Uncommon mistakes of b: b wrong, a right"),
    Column("expected_both_wrong", "float", "Common mistakes if the two erred independently"),
    Column("expected_uncommon", "float", "Uncommon mistakes of both if the two erred independently"),
)

TABLES = {
    "mistakes": (
        *PAIR_COLUMNS,
        Column("scope", "str", "all, or the name of a class or finding"),
        Column(
            "n", "int", "Decisions: images, or images times findings in the scope all of multi-label data"
        ),
        *_COUNTS,
        Column("uncommon_share", "float", "Uncommon mistakes of both over n"),
        Column("kappa", "float", "Cohen's kappa of the errors", "-1 to 1"),
        Column("kappa_low", "float", "Lower end of its 95 % bootstrap interval over images"),
        Column("kappa_high", "float", "Upper end"),
        Column("kappa_min", "float", "Lowest kappa that the two accuracies allow"),
        Column("kappa_max", "float", "Highest kappa that the two accuracies allow"),
        Column(
            "kappa_stratified",
            "float",
            "Kappa among decisions on which equally many of the other instances err: agreement beyond what is "
            "hard for everybody",
            "at most 1",
        ),
        Column(
            "same_wrong_label",
            "float",
            "Share of the common mistakes with the same label; null if multi-label",
        ),
        Column("churn", "float", "Share of decisions that differ, right or wrong"),
    ),
    "mistakes_by_difficulty": (
        *PAIR_COLUMNS,
        Column("others_wrong", "int", "How many of the other instances err on these decisions"),
        Column("num_others", "int", "How many other instances there are"),
        Column("n", "int", "Decisions where so many err"),
        *_COUNTS,
        Column("kappa", "float", "Cohen's kappa of the errors among them; NaN without any", "-1 to 1"),
    ),
    "mistakes_difficulty": (
        *PAIR_COLUMNS,
        Column("wrong", "str", "Who is wrong: only a, only b, or both"),
        Column("n", "int", "Decisions where that is so"),
        Column("judge", "str", "Another instance: kind and seed"),
        Column("judge_kind", "str", "P-T or RI-T"),
        Column("seed_judge", "int", "Seed of the judge"),
        Column("judged_wrong", "float", "Share of these decisions that it gets wrong; NaN without any"),
    ),
    "mistakes_images": (
        *PAIR_COLUMNS,
        Column("scope", "str", "all"),
        WITHOUT_GROUP,
        Column("uncommon_share", "float", "Uncommon mistakes of both over the decisions"),
    ),
    "mistakes_difficulty_images": (
        *PAIR_COLUMNS,
        Column("wrong", "str", "Who is wrong: only a or only b; only of pairs of a P-T and an RI-T"),
        Column("judge", "str", "Another instance: kind and seed"),
        Column("judge_kind", "str", "P-T or RI-T"),
        Column("seed_judge", "int", "Seed of the judge"),
        WITHOUT_GROUP,
        Column("n", "int", "Decisions where that is so"),
        Column(
            "judged_wrong", "float", "Share of these decisions that the judge gets wrong; NaN without any"
        ),
    ),
    "mistakes_tests": (
        Column("pair", "str", "Kind of pair that is claimed to overlap more"),
        Column("other", "str", "Kind of pair that it is compared with"),
        Column("measure", "str", "uncommon_share, kappa or kappa_stratified, mean over the pairs of a kind"),
        Column("value", "float", "The measure of pair"),
        Column("value_other", "float", "The measure of other"),
        Column("effect", "float", "How much more the mistakes of pair overlap; negative: less"),
        Column("low", "float", "Lower end of its 95 % bootstrap interval over images"),
        Column("high", "float", "Upper end"),
        Column("p", "float", "One-sided, against: pair does not overlap more; over images, not over seeds"),
        Column(
            "test",
            "str",
            "sign flips: paired permutation over images; bootstrap: resamples without an effect",
        ),
        Column("n", "int", "Images"),
        Column(
            "p_instances",
            "float",
            "One-sided, against the same, over instances: share of the ways to call as many instances P-T in which "
            "they overlap as much more; right where P-T and RI-T are drawn alike, accuracy included, so that a small "
            "one says that the kinds differ",
        ),
        Column("relabellings", "int", "Ways gone through: p_instances can't be below one over this"),
    ),
    "mistakes_matrix": (
        Column("a", "str", "First instance"),
        Column("b", "str", "Second instance; each two stand there once, of equal seeds too"),
        Column("kappa", "float", "Cohen's kappa of the errors", "-1 to 1"),
        Column("uncommon_share", "float", "Uncommon mistakes of both over the decisions"),
        Column("churn", "float", "Share of decisions that differ"),
    ),
    "mistakes_gallery": (
        Column("set", "str", "Who gets it wrong: only P-T, only RI-T or both"),
        Column("rank", "int", "1 for the most confident mistake"),
        Column("image_id", "str", "Name of the test image in its data set"),
        Column("index", "int", "Its place among the test images, from 0"),
        Column("label", "str", "The true class, or the finding and whether it is there"),
        Column("p_t_label", "str", "What P-T says"),
        Column("p_t_confidence", "float", "Mean probability that its instances give to that", "0 to 1"),
        Column("ri_t_label", "str", "What RI-T says"),
        Column("ri_t_confidence", "float", "Mean probability that its instances give to that", "0 to 1"),
        Column("picture", "png", "The image as shown, before normalisation, at most 96 px"),
    ),
}
