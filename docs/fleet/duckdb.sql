-- DuckDB: `arrived`, each line of rows in the order in which it came, and `rows`, those that are good.
--
-- The lines are read as text, so that one that is broken costs itself and is told. Rows in Parquet need none of this:
--   CREATE VIEW rows AS SELECT * FROM read_parquet('/var/lib/fleet/*/rows*.parquet');
CREATE OR REPLACE VIEW arrived AS
SELECT arrival, left(line, 120) AS start_of_line, unnest(json_transform(
    CASE WHEN json_valid(line) THEN line ELSE '{}' END,
    '{"rows": "BIGINT", "number": "BIGINT", "node": "VARCHAR", "run": "VARCHAR", "seq": "BIGINT", "id": "VARCHAR",
      "day": "VARCHAR", "unix_time": "BIGINT", "millisecond": "BIGINT", "direction": "VARCHAR", "verdict": "VARCHAR",
      "sender": "VARCHAR", "sender_domain": "VARCHAR", "host": "VARCHAR", "host_key": "VARCHAR",
      "recipient_domains": "VARCHAR", "hop": "VARCHAR", "offered_version": "VARCHAR", "version": "VARCHAR",
      "tls_group": "VARCHAR", "certificate": "VARCHAR", "recipients": "BIGINT", "bytes": "BIGINT",
      "ending": "VARCHAR", "is_final": "BOOLEAN", "end_to_end": "VARCHAR", "rehearsed": "VARCHAR",
      "retry": "VARCHAR", "network": "VARCHAR", "meets_tls": "BOOLEAN", "meets_tls12": "BOOLEAN",
      "meets_tls13": "BOOLEAN", "meets_certificate": "BOOLEAN", "meets_verified_certificate": "BOOLEAN"}'))
FROM (
    SELECT row_number() OVER () AS arrival, line
    FROM read_csv('/var/lib/fleet/*/rows*.jsonl', columns = {'line': 'VARCHAR'}, header = false, auto_detect = false,
                  delim = E'\x01', quote = '', escape = '', max_line_size = 1048576)
);
CREATE OR REPLACE VIEW rows AS SELECT * FROM arrived WHERE rows = 1;
