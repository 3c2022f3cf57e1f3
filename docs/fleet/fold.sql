-- From `rows` to `messages`: each line once, and several attempts at one message made one, whichever host each of them
-- came to. As smtp-smol's `Retries`, with the same six hours.
--
--   CREATE VIEW messages AS <this>
--
-- Two things are folded. An attempt that may come again is dropped when the same envelope comes again from the same
-- network in time: the last attempt says how it went. A session without an envelope, such as a handshake that failed, is
-- dropped when anything comes from its network in time; and if that came in plaintext after a handshake that failed, it
-- says so.
--
-- Engines: windows of one row take the place of LAG and LEAD, which ClickHouse had late and by other rules. Node, run and
-- seq are made not null before they are sorted by, for engines differ in where nulls go. A row without `seq` (of a log) is
-- never a copy. `rehearsed` looks back by one attempt.
WITH copies AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network, seq,
        unix_time * 1000 + millisecond AS moment,
        COALESCE(node, '') AS at_node, COALESCE(run, '') AS in_run, COALESCE(seq, 0) AS line, number,
        ROW_NUMBER() OVER (PARTITION BY node, run, seq ORDER BY number) AS copy
    FROM rows
),
attempts AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network,
        MIN(unix_time) OVER (PARTITION BY retry ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS again,
        MAX(unix_time) OVER (PARTITION BY retry ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS before,
        MAX(CASE WHEN NOT is_final THEN rehearsed END) OVER (PARTITION BY retry
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS before_rehearsed,
        MIN(unix_time) OVER (PARTITION BY network ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS network_again,
        MAX(unix_time) OVER (PARTITION BY network ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS network_before,
        MAX(CASE WHEN retry IS NULL AND NOT is_final THEN hop END) OVER (PARTITION BY network
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS network_before_hop
    FROM copies
    WHERE seq IS NULL OR copy = 1
)
SELECT
    day, unix_time, direction, verdict, sender, host_key, version, certificate, end_to_end, recipients, bytes,
    CASE WHEN hop = 'not-tried' AND network IS NOT NULL AND network_before_hop = 'failed'
              AND unix_time - network_before <= 21600
         THEN 'failed-then-plaintext' ELSE hop END AS hop,
    CASE WHEN rehearsed IS NULL AND retry IS NOT NULL AND before_rehearsed = 'asked' AND unix_time - before <= 21600
         THEN CASE WHEN hop = 'used' THEN 'came-with-tls'
                   WHEN hop IN ('not-tried', 'failed-then-plaintext', 'not-offered') THEN 'came-in-plaintext'
                   ELSE 'asked' END
         ELSE rehearsed END AS rehearsed
FROM attempts
WHERE is_final
   OR (retry IS NOT NULL AND (again IS NULL OR again - unix_time > 21600))
   OR (retry IS NULL AND (network IS NULL OR network_again IS NULL OR network_again - unix_time > 21600))
