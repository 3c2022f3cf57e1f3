-- The rows that do not count, and those that came late, each by its place: from `arrived`, which the file of your engine
-- makes (duckdb.sql and so on). `broken` are lines that are no rows, `version` those of another version of the format,
-- `doubled` those that were shipped twice, `late` those that stand behind a later line of the same run; late rows count.
WITH placed AS (
    SELECT arrival, rows, node, run, seq, start_of_line,
           ROW_NUMBER() OVER (PARTITION BY rows, node, run, seq ORDER BY arrival) AS copy,
           MAX(seq) OVER (PARTITION BY rows, node, run ORDER BY arrival ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
               AS latest
    FROM arrived
)
SELECT CASE WHEN rows IS NULL THEN 'broken'
            WHEN rows <> 1 THEN 'version'
            WHEN copy > 1 THEN 'doubled'
            ELSE 'late' END AS what,
       arrival, node, run, seq, start_of_line
FROM placed
WHERE rows IS NULL OR rows <> 1 OR (seq IS NOT NULL AND (copy > 1 OR seq < latest))
ORDER BY arrival
