-- The two ends of where the records of a file belong, and how many say where they do.
SELECT
    least(count(model), count(at_us), count(request_id)) AS placed,
    min(model) AS first_model,
    max(model) AS last_model,
    min(at_us) AS first_at_us,
    max(at_us) AS last_at_us
FROM pairs
