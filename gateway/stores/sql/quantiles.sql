-- QUANTILE stands for quantile_disc, or for approx_quantile where there are too many pairs to hold their numbers.
SELECT
    count(difference), QUANTILE(difference, [0.5, 0.9, 0.99]), max(difference),
    count(champion_us), QUANTILE(champion_us, [0.5, 0.9, 0.99]), max(champion_us),
    count(challenger_us), QUANTILE(challenger_us, [0.5, 0.9, 0.99]), max(challenger_us)
FROM (
    SELECT
        CASE WHEN agree IS NOT NULL THEN difference END AS difference,
        CASE WHEN outcome = 'ok' THEN champion_us END AS champion_us,
        CASE WHEN outcome = 'ok' THEN challenger_us END AS challenger_us
    FROM pairs
    WHERE model = $model AND challenger = $challenger AND champion = $champion
)
