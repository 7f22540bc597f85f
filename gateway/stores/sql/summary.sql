SELECT
    count(*) AS pairs,
    count(*) FILTER (NOT is_current) AS other_champions,
    min(at_us) FILTER (is_current) AS first_at_us,
    max(at_us) FILTER (is_current) AS last_at_us,
    count(*) FILTER (is_current AND agree IS NOT NULL) AS compared,
    count(*) FILTER (is_current AND agree) AS agree,
    count(*) FILTER (is_current AND outcome = 'ok' AND agree IS NULL) AS incomparable
FROM (
    SELECT at_us, agree, outcome, champion = $champion AS is_current
    FROM pairs
    WHERE model = $model AND challenger = $challenger
)
