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
-- What a rehearsal has shown stays: of a chain of attempts, each in time for the one before, the last says whether any came
-- with TLS once the sender had been asked (`shows` 3), or else in plaintext (2), or that it was only asked (1).
--
-- Engines: windows of one row take the place of LAG and LEAD, which ClickHouse had late and by other rules. Node, run and
-- seq are made not null before they are sorted by, for engines differ in where nulls go. A row without `seq` (of a log) is
-- never a copy. Rows without the key of a window get one of their own there, or one machine would have to sort them all.
WITH copies AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network, seq,
        COALESCE(retry, CONCAT('row ', number)) AS message_key, COALESCE(network, CONCAT('row ', number)) AS network_key,
        unix_time * 1000 + millisecond AS moment,
        COALESCE(node, '') AS at_node, COALESCE(run, '') AS in_run, COALESCE(seq, 0) AS line, number,
        ROW_NUMBER() OVER (PARTITION BY node, run, seq, CASE WHEN seq IS NULL THEN number END ORDER BY number) AS copy
    FROM rows
),
attempts AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network, message_key, moment, at_node, in_run, line, number,
        MIN(unix_time) OVER (PARTITION BY message_key ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS again,
        MAX(CASE WHEN NOT is_final AND retry IS NOT NULL THEN unix_time END) OVER (PARTITION BY message_key
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS before,
        MIN(unix_time) OVER (PARTITION BY network_key ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS network_again,
        MAX(unix_time) OVER (PARTITION BY network_key ORDER BY moment, at_node, in_run, line, number
            ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS network_before,
        MAX(CASE WHEN retry IS NULL AND NOT is_final THEN hop END) OVER (PARTITION BY network_key
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS network_before_hop
    FROM copies
    WHERE seq IS NULL OR copy = 1
),
chains AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network, message_key, moment, at_node, in_run, line, number,
        again, network_again, network_before, network_before_hop,
        SUM(CASE WHEN before IS NULL OR unix_time - before > 21600 THEN 1 ELSE 0 END) OVER (PARTITION BY message_key
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS chain
    FROM attempts
),
rehearsals AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, rehearsed, retry, network, message_key, moment, at_node, in_run, line, number,
        again, network_again, network_before, network_before_hop, chain,
        MAX(CASE WHEN rehearsed IS NULL THEN 0 ELSE 1 END) OVER (PARTITION BY message_key, chain
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS asked
    FROM chains
),
folded AS (
    SELECT
        day, unix_time, direction, verdict, sender, host_key, hop, version, certificate, recipients, bytes, is_final,
        end_to_end, retry, network, again, network_again, network_before, network_before_hop,
        MAX(CASE WHEN asked = 0 THEN 0
                 WHEN rehearsed = 'came-with-tls' OR (rehearsed IS NULL AND hop = 'used') THEN 3
                 WHEN rehearsed = 'came-in-plaintext'
                      OR (rehearsed IS NULL AND hop IN ('not-tried', 'failed-then-plaintext', 'not-offered')) THEN 2
                 ELSE 1 END) OVER (PARTITION BY message_key, chain
            ORDER BY moment, at_node, in_run, line, number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS shows
    FROM rehearsals
)
SELECT
    day, unix_time, direction, verdict, sender, host_key, version, certificate, end_to_end, recipients, bytes,
    CASE WHEN hop = 'not-tried' AND network IS NOT NULL AND network_before_hop = 'failed'
              AND unix_time - network_before <= 21600
         THEN 'failed-then-plaintext' ELSE hop END AS hop,
    CASE shows WHEN 3 THEN 'came-with-tls' WHEN 2 THEN 'came-in-plaintext' WHEN 1 THEN 'asked' END AS rehearsed
FROM folded
WHERE is_final
   OR (retry IS NOT NULL AND (again IS NULL OR again - unix_time > 21600))
   OR (retry IS NULL AND (network IS NULL OR network_again IS NULL OR network_again - unix_time > 21600))
