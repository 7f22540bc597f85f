-- Pairs as the journal has them, one JSON object a line, read with the columns of gateway.core.pair.Pair.
-- Columns that a record lacks are NULL: a record of an older version has fewer.
SELECT * FROM read_json(
    $unrolled,
    format = 'newline_delimited',
    maximum_object_size = $longest,
    columns = {
        sequence: 'BIGINT',
        request_id: 'VARCHAR',
        at_us: 'BIGINT',
        model: 'VARCHAR',
        champion: 'VARCHAR',
        challenger: 'VARCHAR',
        config_id: 'VARCHAR',
        tenant: 'VARCHAR',
        client: 'VARCHAR',
        path: 'VARCHAR',
        -- As JSON text, because whole combinations are grouped by far faster than maps are taken apart.
        slices: 'JSON',
        probability: 'DOUBLE',
        outcome: 'VARCHAR',
        detail: 'VARCHAR',
        agree: 'BOOLEAN',
        difference: 'DOUBLE',
        paths: 'JSON',
        champion_status: 'BIGINT',
        champion_us: 'BIGINT',
        challenger_status: 'BIGINT',
        challenger_us: 'BIGINT',
        request: 'VARCHAR',
        request_form: 'VARCHAR',
        champion_answer: 'VARCHAR',
        champion_form: 'VARCHAR',
        challenger_answer: 'VARCHAR',
        challenger_form: 'VARCHAR'
    }
)
