-- Whole combinations first: there are few of them, and only they are taken apart.
SELECT dimension, value, compared, agree, values_of_dimension
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY dimension ORDER BY compared DESC, value) AS place,
        count(*) OVER (PARTITION BY dimension) AS values_of_dimension
    FROM (
        SELECT
            part.key AS dimension,
            part.value AS value,
            sum(compared)::BIGINT AS compared,
            sum(agree)::BIGINT AS agree
        FROM (
            SELECT
                unnest(map_entries(from_json(slices, '"MAP(VARCHAR, VARCHAR)"'))) AS part,
                compared,
                agree
            FROM (
                SELECT slices, count(*) AS compared, count(*) FILTER (agree) AS agree
                FROM pairs
                WHERE
                    model = $model
                    AND challenger = $challenger
                    AND champion = $champion
                    AND agree IS NOT NULL
                GROUP BY slices
            )
        )
        GROUP BY ALL
    )
)
WHERE place <= $most_values
ORDER BY dimension, place
