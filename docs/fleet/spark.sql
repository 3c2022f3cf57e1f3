-- Spark: `arrived`, each line of rows in the order in which it came, and `rows`, those that are good.
--
-- The lines are read as text, so that one that is broken costs itself and is told: from_json makes it null. The order is
-- that of the partitions of each file. Rows in Parquet need none of this:
--   CREATE TEMPORARY VIEW rows USING parquet OPTIONS (path '/var/lib/fleet/*/rows*.parquet');
CREATE OR REPLACE TEMPORARY VIEW arrived AS
SELECT arrival, start_of_line, r.*
FROM (
    SELECT monotonically_increasing_id() AS arrival, substring(value, 1, 120) AS start_of_line, from_json(value, '
        rows BIGINT, number BIGINT, node STRING, run STRING, seq BIGINT, id STRING, day STRING, unix_time BIGINT,
        millisecond BIGINT, direction STRING, verdict STRING, sender STRING, sender_domain STRING, host STRING,
        host_key STRING, recipient_domains STRING, hop STRING, offered_version STRING, version STRING,
        tls_group STRING, certificate STRING, recipients BIGINT, bytes BIGINT, ending STRING, is_final BOOLEAN,
        end_to_end STRING, rehearsed STRING, retry STRING, network STRING, meets_tls BOOLEAN, meets_tls12 BOOLEAN,
        meets_tls13 BOOLEAN, meets_certificate BOOLEAN, meets_verified_certificate BOOLEAN') AS r
    FROM text.`/var/lib/fleet/*/rows*.jsonl`
);
CREATE OR REPLACE TEMPORARY VIEW rows AS SELECT * FROM arrived WHERE rows = 1;
