"""Every claim that a study can test, with the number and the threshold that decide it.

Source of the claims: Neyshabur, Sedghi, Zhang, "What is being transferred in transfer learning?",
NeurIPS 2020. The paper mostly names no threshold; those chosen here stand here, with their reason.
Claims whose origin is transferscope go beyond the paper.
"""

from __future__ import annotations

from transferscope.analyses.findings import Claim

SMALL_METRIC = 0.02
"""Two points of accuracy or AUC: below it, a difference is called small. Frankle et al. (2020) call a path
stable whose error rises by less."""

_ZERO = "zero: any difference in the claimed direction, with its interval"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gain_shrinks_with_blocks",
        analysis="feature_reuse",
        statement="The gain of P-T over RI-T shrinks as the blocks shrink.",
        statistic="relative gain on unshuffled images minus that at the smallest blocks, mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="gain_shrinks_most_near_source",
        analysis="feature_reuse",
        statement="The gain shrinks most where the target looks like the source.",
        statistic="that difference on the target most like the source minus that on the one least like it",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="gain_survives_shuffling",
        analysis="feature_reuse",
        statement="The gain does not vanish at the smallest blocks: low-level statistics transfer too.",
        statistic="relative gain at the smallest blocks, mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="statistics_help_speed_most",
        analysis="feature_reuse",
        statement="What survives the shuffling shows most in optimization speed.",
        statistic="relative gain in optimization speed minus that in the final metric, at the smallest blocks, "
        "mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="p_t_share_mistakes",
        analysis="mistakes",
        statement="Two P-T have far fewer uncommon mistakes than two RI-T or a P-T and an RI-T.",
        statistic="uncommon mistakes of P-T & P-T over the fewer of RI-T & RI-T and P-T & RI-T, each a mean over "
        "targets",
        threshold=1.0,
        side="below",
        reason="one: fewer at all; the ratio itself says how far",
        unit="x",
    ),
    Claim(
        id="p_t_mistakes_are_ambiguous",
        analysis="mistakes",
        statement="Examples that only P-T gets wrong are ambiguous; those that only RI-T gets wrong include "
        "clear ones.",
        statistic="share of other instances that are wrong on what only P-T gets wrong, minus that on what only "
        "RI-T gets wrong (P-T and RI-T judges weigh the same), mean over targets",
        threshold=0.0,
        reason="zero; that others err stands in for the paper's judgement by eye",
    ),
    Claim(
        id="p_t_features_are_similar",
        analysis="feature_similarity",
        statement="The features of two P-T are more similar than those of any pair with an RI-T.",
        statistic="linear CKA of P-T & P-T minus the larger of P-T & RI-T and RI-T & RI-T, each a mean over layers "
        "and targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="p_t_similarity_falls_with_depth",
        analysis="feature_similarity",
        statement="The similarity of two P-T falls with depth.",
        statistic="linear CKA of P-T & P-T at the first layer minus that at the last one before the head, mean "
        "over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="ri_t_features_are_dissimilar",
        analysis="feature_similarity",
        statement="Every pair with an RI-T has a low similarity.",
        statistic="linear CKA of the more similar of P-T & RI-T and RI-T & RI-T, minus the middle between RI & RI "
        "(untrained networks) and P-T & P-T, each a mean over layers and targets",
        threshold=0.0,
        side="below",
        reason="zero: nearer to what the architecture and the images alone give than to two P-T; the paper names no "
        "number, and an absolute one would judge the images, on some of which untrained networks are near 1",
    ),
    Claim(
        id="p_t_are_close",
        analysis="parameter_distance",
        statement="Two P-T lie far closer to each other than two RI-T.",
        statistic="L2 distance of P-T & P-T over that of RI-T & RI-T, without the head, each a mean over targets",
        threshold=1.0,
        side="below",
        reason="one: closer at all; the ratio itself says how far",
        unit="x",
    ),
    Claim(
        id="distance_grows_toward_head",
        analysis="parameter_distance",
        statement="The distance per module grows toward the head.",
        statistic="rank correlation of a module's place and the L2 distance of P-T & P-T there, without the head, "
        "mean over pairs and targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="no_barrier_between_p_t",
        analysis="barriers",
        statement="There is no performance barrier between two P-T.",
        statistic="largest drop of the metric below the line between the ends, P-T & P-T, mean over targets",
        threshold=SMALL_METRIC,
        side="below",
        reason="two points, as in Frankle et al. (2020)",
    ),
    Claim(
        id="barrier_p_t_ri_t",
        analysis="barriers",
        statement="There is a barrier between a P-T and an RI-T.",
        statistic="largest drop of the metric below the line between the ends, P-T & RI-T, mean over targets",
        threshold=SMALL_METRIC,
        reason="two points, as in Frankle et al. (2020)",
    ),
    Claim(
        id="barrier_ri_t_ri_t",
        analysis="barriers",
        statement="There is a barrier between two RI-T.",
        statistic="largest drop of the metric below the line between the ends, RI-T & RI-T, mean over targets",
        threshold=SMALL_METRIC,
        reason="two points, as in Frankle et al. (2020)",
    ),
    Claim(
        id="barrier_ri_t_same_init",
        analysis="barriers",
        statement="There is a barrier even between two RI-T from the same random initialization.",
        statistic="largest drop of the metric below the line between the ends, RI-T & RI-T, same init, mean over "
        "targets",
        threshold=SMALL_METRIC,
        reason="two points, as in Frankle et al. (2020)",
    ),
    Claim(
        id="p_t_share_a_basin",
        analysis="barriers",
        statement="Two P-T lie in one basin of the loss.",
        statistic="largest epsilon with walls around the segment between the two minus the smallest with a flat floor "
        "on it, mean over targets",
        threshold=0.0,
        reason="zero: above it there is an epsilon with which the segment is an (epsilon, delta)-basin",
        unit="nats",
    ),
    Claim(
        id="p_t_can_be_averaged",
        analysis="barriers",
        origin="transferscope",
        statement="The weights of two P-T can be averaged: that is as good as one of them.",
        statistic="test metric of the averaged weights of two P-T minus the mean of the two, mean over targets",
        threshold=-SMALL_METRIC,
        reason="two points below the mean of the two, the same as for barriers",
    ),
    Claim(
        id="p_t_low_modules_not_critical",
        analysis="criticality",
        statement="The lower modules of P-T can be put back to their pre-trained values at little loss.",
        statistic="drop of the test metric when one module of the lower half is put back, mean over these and targets",
        threshold=SMALL_METRIC,
        side="below",
        reason="two points, the same as for barriers",
    ),
    Claim(
        id="p_t_criticality_grows_toward_head",
        analysis="criticality",
        statement="The criticality of P-T's modules grows toward the head.",
        statistic="rank correlation of a module's place and the rise of the training loss when it is put back, "
        "without the head, mean over seeds and targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="ri_t_low_modules_critical",
        analysis="criticality",
        statement="RI-T is critical in its lower modules too.",
        statistic="drop of the test metric when one module of the lower half is put back, mean over these and targets",
        threshold=SMALL_METRIC,
        reason="two points, the same as for barriers",
    ),
    Claim(
        id="ri_t_becomes_critical_suddenly",
        analysis="criticality",
        statement="RI-T becomes critical suddenly in the course of training.",
        statistic="largest share of the rise of its modules' mean rewinding drop, without the head, that falls in at "
        "most a tenth of the training, mean over targets",
        threshold=0.5,
        reason="half of the rise in a tenth of the time",
    ),
    Claim(
        id="later_checkpoints_are_better",
        analysis="checkpoints",
        statement="Later pre-training checkpoints transfer better.",
        statistic="target metric from the last checkpoint minus that from the first trained one, mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="late_checkpoints_differ_little",
        analysis="checkpoints",
        statement="After a while, later checkpoints are only slightly better.",
        statistic="target metric from the last checkpoint minus that from the one in the middle of the "
        "pre-training, mean over targets",
        threshold=SMALL_METRIC,
        side="below",
        reason="two points, the same as for barriers",
    ),
    Claim(
        id="source_jumps_do_not_carry_over",
        analysis="checkpoints",
        statement="Sudden jumps of the source accuracy, where the rate drops, do not carry over to the target.",
        statistic="change of the target metric over the change of the source metric, each a mean over targets, "
        "summed over the drops of the pre-training rate",
        threshold=0.5,
        side="below",
        reason="half of the jump; the paper says that they do not correlate",
    ),
    Claim(
        id="ri_t_spectra_are_smaller",
        analysis="spectra",
        statement="The singular values of RI-T's convolutions are concentrated toward smaller values than P-T's.",
        statistic="mean singular value over the largest one, P-T minus RI-T, mean over convolutions and targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="weight_statistics_speed_up",
        analysis="low_level_statistics",
        origin="transferscope",
        statement="The statistics of the pre-trained weights speed up the training without any feature.",
        statistic="optimization speed from weights drawn with mean and variance of each pre-trained tensor minus that "
        "of RI-T, mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
    Claim(
        id="features_give_more_than_statistics",
        analysis="low_level_statistics",
        origin="transferscope",
        statement="More of the gain in the final metric comes from the pre-trained features than from the statistics "
        "of their weights.",
        statistic="final metric of P-T minus that from weights drawn with P's statistics, minus what the latter are "
        "above RI-T, mean over targets",
        threshold=0.0,
        reason="zero: more than half of the gain; asked only where there is a gain",
    ),
    Claim(
        id="features_survive_shuffling",
        analysis="low_level_statistics",
        origin="transferscope",
        statement="On shuffled blocks the pre-trained features give more than the statistics of their weights.",
        statistic="final metric of P-T minus that from weights drawn with P's statistics, both trained on shuffled "
        "blocks, mean over targets",
        threshold=0.0,
        reason=_ZERO,
    ),
)
BY_ID = {claim.id: claim for claim in CLAIMS}
