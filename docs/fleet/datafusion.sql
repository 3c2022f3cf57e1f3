-- DataFusion: `arrived`, each line of rows in the order in which it came, and `rows`, those that are good.
--
-- DataFusion has no functions for JSON, and its reader of JSON lines ends at the first that is broken. So the lines are
-- read as a CSV of one column, and matched whole by an expression: rows are written with their columns in a fixed order.
-- Of groups that do not match regexp_match leaves nothing behind, so each matches at least the empty text: the column's
-- name stands in it, and is cut off. A name with a quotation mark in it keeps its backslash. `matched` and `arrived` are
-- tables, for what a view matches is matched anew for each column. target_partitions must be 1, or the order is lost:
--   SET datafusion.execution.target_partitions = 1;
-- Rows in Parquet need none of this:
--   CREATE EXTERNAL TABLE rows STORED AS PARQUET LOCATION '/var/lib/fleet/rows/';
CREATE EXTERNAL TABLE lines (line VARCHAR) STORED AS CSV LOCATION '/var/lib/fleet/rows.jsonl'
OPTIONS ('format.has_header' 'false', 'format.delimiter' '', 'format.quote' '');
CREATE TABLE matched AS
SELECT row_number() OVER () AS arrival, substr(line, 1, 120) AS start_of_line, regexp_match(line,
    '^\{("rows":-?[0-9]+)'
    || '(,"number":-?[0-9]+)'
    || '((?:,"node":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"run":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"seq":-?[0-9]+)?)'
    || '((?:,"id":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"day":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"unix_time":-?[0-9]+)?)'
    || '((?:,"millisecond":-?[0-9]+)?)'
    || '((?:,"direction":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"verdict":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"sender":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"sender_domain":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"host":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"host_key":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"recipient_domains":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"hop":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"offered_version":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"version":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"tls_group":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"certificate":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"recipients":-?[0-9]+)?)'
    || '((?:,"bytes":-?[0-9]+)?)'
    || '((?:,"ending":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"is_final":(?:true|false))?)'
    || '((?:,"end_to_end":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"rehearsed":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"retry":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"network":"(?:[^"\\]|\\.)*")?)'
    || '((?:,"meets_tls":(?:true|false))?)'
    || '((?:,"meets_tls12":(?:true|false))?)'
    || '((?:,"meets_tls13":(?:true|false))?)'
    || '((?:,"meets_certificate":(?:true|false))?)'
    || '((?:,"meets_verified_certificate":(?:true|false))?)'
    || '\}$'
    ) AS m
FROM lines;
CREATE TABLE arrived AS
SELECT arrival, start_of_line,
       CAST(NULLIF(substr(m[1], 8), '') AS BIGINT) AS rows,
       CAST(NULLIF(substr(m[2], 11), '') AS BIGINT) AS number,
       CASE WHEN m[3] <> '' THEN substr(m[3], 10, character_length(m[3]) - 10) END AS node,
       CASE WHEN m[4] <> '' THEN substr(m[4], 9, character_length(m[4]) - 9) END AS run,
       CAST(NULLIF(substr(m[5], 8), '') AS BIGINT) AS seq,
       CASE WHEN m[6] <> '' THEN substr(m[6], 8, character_length(m[6]) - 8) END AS id,
       CASE WHEN m[7] <> '' THEN substr(m[7], 9, character_length(m[7]) - 9) END AS day,
       CAST(NULLIF(substr(m[8], 14), '') AS BIGINT) AS unix_time,
       CAST(NULLIF(substr(m[9], 16), '') AS BIGINT) AS millisecond,
       CASE WHEN m[10] <> '' THEN substr(m[10], 15, character_length(m[10]) - 15) END AS direction,
       CASE WHEN m[11] <> '' THEN substr(m[11], 13, character_length(m[11]) - 13) END AS verdict,
       CASE WHEN m[12] <> '' THEN substr(m[12], 12, character_length(m[12]) - 12) END AS sender,
       CASE WHEN m[13] <> '' THEN substr(m[13], 19, character_length(m[13]) - 19) END AS sender_domain,
       CASE WHEN m[14] <> '' THEN substr(m[14], 10, character_length(m[14]) - 10) END AS host,
       CASE WHEN m[15] <> '' THEN substr(m[15], 14, character_length(m[15]) - 14) END AS host_key,
       CASE WHEN m[16] <> '' THEN substr(m[16], 23, character_length(m[16]) - 23) END AS recipient_domains,
       CASE WHEN m[17] <> '' THEN substr(m[17], 9, character_length(m[17]) - 9) END AS hop,
       CASE WHEN m[18] <> '' THEN substr(m[18], 21, character_length(m[18]) - 21) END AS offered_version,
       CASE WHEN m[19] <> '' THEN substr(m[19], 13, character_length(m[19]) - 13) END AS version,
       CASE WHEN m[20] <> '' THEN substr(m[20], 15, character_length(m[20]) - 15) END AS tls_group,
       CASE WHEN m[21] <> '' THEN substr(m[21], 17, character_length(m[21]) - 17) END AS certificate,
       CAST(NULLIF(substr(m[22], 15), '') AS BIGINT) AS recipients,
       CAST(NULLIF(substr(m[23], 10), '') AS BIGINT) AS bytes,
       CASE WHEN m[24] <> '' THEN substr(m[24], 12, character_length(m[24]) - 12) END AS ending,
       NULLIF(substr(m[25], 13), '') = 'true' AS is_final,
       CASE WHEN m[26] <> '' THEN substr(m[26], 16, character_length(m[26]) - 16) END AS end_to_end,
       CASE WHEN m[27] <> '' THEN substr(m[27], 15, character_length(m[27]) - 15) END AS rehearsed,
       CASE WHEN m[28] <> '' THEN substr(m[28], 11, character_length(m[28]) - 11) END AS retry,
       CASE WHEN m[29] <> '' THEN substr(m[29], 13, character_length(m[29]) - 13) END AS network,
       NULLIF(substr(m[30], 14), '') = 'true' AS meets_tls,
       NULLIF(substr(m[31], 16), '') = 'true' AS meets_tls12,
       NULLIF(substr(m[32], 16), '') = 'true' AS meets_tls13,
       NULLIF(substr(m[33], 22), '') = 'true' AS meets_certificate,
       NULLIF(substr(m[34], 31), '') = 'true' AS meets_verified_certificate
FROM matched;
CREATE VIEW rows AS SELECT * FROM arrived WHERE rows = 1;
