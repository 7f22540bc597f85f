-- Pairs as the Parquet files have them. Files of an older version have fewer columns.
SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false)
