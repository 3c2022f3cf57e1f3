-- ClickHouse (and chdb): `arrived`, each line of rows in the order in which it came, and `rows`, those that are good.
--
-- The lines are read as text, so that one that is broken costs itself and is told; of several files, each in its order.
-- One thread, or the order would be lost: into a table of your own read once. Rows in Parquet need none of this:
--   CREATE VIEW rows AS SELECT * FROM file('/var/lib/fleet/*/rows*.parquet', Parquet);
CREATE VIEW arrived AS
SELECT rowNumberInAllBlocks() + 1 AS arrival, substring(line, 1, 120) AS start_of_line,
       JSONExtract(if(isValidJSON(line), line, '{}'), 'Tuple(
           rows Nullable(Int64), number Nullable(Int64), node Nullable(String), run Nullable(String),
           seq Nullable(Int64), id Nullable(String), day Nullable(String), unix_time Nullable(Int64),
           millisecond Nullable(Int64), direction Nullable(String), verdict Nullable(String),
           sender Nullable(String), sender_domain Nullable(String), host Nullable(String), host_key Nullable(String),
           recipient_domains Nullable(String), hop Nullable(String), offered_version Nullable(String),
           version Nullable(String), tls_group Nullable(String), certificate Nullable(String),
           recipients Nullable(Int64), bytes Nullable(Int64), ending Nullable(String), is_final Nullable(Bool),
           end_to_end Nullable(String), rehearsed Nullable(String), retry Nullable(String), network Nullable(String),
           meets_tls Nullable(Bool), meets_tls12 Nullable(Bool), meets_tls13 Nullable(Bool),
           meets_certificate Nullable(Bool), meets_verified_certificate Nullable(Bool))') AS row,
       row.rows AS rows, row.number AS number, row.node AS node, row.run AS run, row.seq AS seq, row.id AS id,
       row.day AS day, row.unix_time AS unix_time, row.millisecond AS millisecond, row.direction AS direction,
       row.verdict AS verdict, row.sender AS sender, row.sender_domain AS sender_domain, row.host AS host,
       row.host_key AS host_key, row.recipient_domains AS recipient_domains, row.hop AS hop,
       row.offered_version AS offered_version, row.version AS version, row.tls_group AS tls_group,
       row.certificate AS certificate, row.recipients AS recipients, row.bytes AS bytes, row.ending AS ending,
       row.is_final AS is_final, row.end_to_end AS end_to_end, row.rehearsed AS rehearsed, row.retry AS retry,
       row.network AS network, row.meets_tls AS meets_tls, row.meets_tls12 AS meets_tls12,
       row.meets_tls13 AS meets_tls13, row.meets_certificate AS meets_certificate,
       row.meets_verified_certificate AS meets_verified_certificate
FROM file('/var/lib/fleet/*/rows*.jsonl', LineAsString, 'line String')
SETTINGS max_threads = 1;
CREATE VIEW rows AS SELECT * EXCEPT (row) FROM arrived WHERE rows = 1;
