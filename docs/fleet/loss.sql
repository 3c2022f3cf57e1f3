-- What each policy would have cost, from `cells`: for every policy, direction and verdict what would be lost, of how
-- much, and the interval of 95 %. The figures of `smtp-smol audit --exact --json`, to the last digit but rounding.
-- docs/question.md explains the interval.
--
-- Everything rests on two numbers a sender, the messages lost and all of them: `by_sender` is the only large step, and
-- adds up on any number of machines.
--
-- Engines: in ClickHouse an alias must not repeat the name of a column inside an aggregate, and a joined column keeps its
-- table's name unless it has one of its own, hence t_, a_ and the like. Spark refuses to divide by 0, hence NULLIF. Sums
-- of integers become decimals or 128 bits wide in some, hence the casts to DOUBLE; exact up to 2^53 messages.
WITH told AS (
    SELECT direction, verdict, sender, version, certificate, messages, recipients, bytes,
           CASE WHEN hop = 'used' THEN 'used'
                -- A client that is not offered STARTTLS might have used it.
                WHEN hop = 'unknown' OR (hop = 'not-offered' AND direction = 'inbound') THEN 'untold'
                ELSE 'plaintext' END AS means
    FROM cells
),
judged AS (
    SELECT 'tls' AS policy, direction, verdict, sender, messages, recipients, bytes,
           CASE means WHEN 'used' THEN 0 WHEN 'plaintext' THEN 1 END AS lost
    FROM told
    UNION ALL
    SELECT 'tls1.2' AS policy, direction, verdict, sender, messages, recipients, bytes,
           CASE WHEN means = 'plaintext' THEN 1 WHEN means = 'untold' OR version IS NULL THEN NULL
                WHEN version >= 'TLS1.2' THEN 0 ELSE 1 END AS lost
    FROM told
    UNION ALL
    SELECT 'tls1.3' AS policy, direction, verdict, sender, messages, recipients, bytes,
           CASE WHEN means = 'plaintext' THEN 1 WHEN means = 'untold' OR version IS NULL THEN NULL
                WHEN version >= 'TLS1.3' THEN 0 ELSE 1 END AS lost
    FROM told
    UNION ALL
    SELECT 'certificate' AS policy, direction, verdict, sender, messages, recipients, bytes,
           CASE WHEN means = 'plaintext' THEN 1
                WHEN means = 'untold' OR certificate IS NULL OR certificate = 'unknown' THEN NULL
                WHEN certificate = 'none' THEN 1 ELSE 0 END AS lost
    FROM told WHERE direction = 'inbound'
    UNION ALL
    SELECT 'verified-certificate' AS policy, direction, verdict, sender, messages, recipients, bytes,
           CASE WHEN means = 'plaintext' THEN 1
                WHEN means = 'untold' OR certificate IS NULL OR certificate = 'unknown' THEN NULL
                WHEN certificate = 'verified' THEN 0 ELSE 1 END AS lost
    FROM told WHERE direction = 'inbound'
),
by_sender AS (
    SELECT policy, direction, verdict, sender,
           CAST(SUM(CASE WHEN lost = 1 THEN messages ELSE 0 END) AS DOUBLE) AS l,
           CAST(SUM(CASE WHEN lost IS NULL THEN 0 ELSE messages END) AS DOUBLE) AS n,
           CAST(SUM(CASE WHEN lost IS NULL THEN messages ELSE 0 END) AS DOUBLE) AS u,
           CAST(SUM(CASE WHEN lost = 1 THEN recipients ELSE 0 END) AS DOUBLE) AS lr,
           CAST(SUM(CASE WHEN lost IS NULL THEN 0 ELSE recipients END) AS DOUBLE) AS nr,
           CAST(SUM(CASE WHEN lost = 1 THEN bytes ELSE 0 END) AS DOUBLE) AS lb,
           CAST(SUM(CASE WHEN lost IS NULL THEN 0 ELSE bytes END) AS DOUBLE) AS nb
    FROM judged
    GROUP BY policy, direction, verdict, sender
),
totals AS (
    SELECT policy AS t_policy, direction AS t_direction, verdict AS t_verdict,
           SUM(l) AS t_lost, SUM(n) AS t_all, SUM(u) AS t_untold,
           SUM(lr) AS t_lost_recipients, SUM(nr) AS t_recipients, SUM(lb) AS t_lost_bytes, SUM(nb) AS t_bytes
    FROM by_sender
    GROUP BY policy, direction, verdict
),
spread AS (
    SELECT policy, direction, verdict,
           MAX(t_lost) AS a_lost, MAX(t_all) AS a_all, MAX(t_untold) AS a_untold,
           MAX(t_lost_recipients) AS a_lost_recipients, MAX(t_recipients) AS a_recipients,
           MAX(t_lost_bytes) AS a_lost_bytes, MAX(t_bytes) AS a_bytes,
           SUM(n * n) AS squares, CAST(COUNT(*) AS DOUBLE) AS senders,
           -- Each sender left out in turn: what that changes, to the second and fourth powers.
           SUM(CASE WHEN n < t_all THEN POWER((l - t_lost / t_all * n) / NULLIF(t_all - n, 0), 2) ELSE 0 END) AS second,
           SUM(CASE WHEN n < t_all THEN POWER((l - t_lost / t_all * n) / NULLIF(t_all - n, 0), 4) ELSE 0 END) AS fourth,
           -- How far the messages of one sender go the same way.
           CAST(SUM(CASE WHEN n >= 2 THEN 1 ELSE 0 END) AS DOUBLE) AS several,
           SUM(CASE WHEN n >= 2 THEN l / n ELSE 0 END) AS shares,
           SUM(CASE WHEN n >= 2 THEN l * (n - l) / NULLIF(n * (n - 1), 0) ELSE 0 END) AS inner_variance,
           SUM(CASE WHEN l > 0 THEN 1 ELSE 0 END) AS losing,
           SUM(CASE WHEN l = n THEN 1 ELSE 0 END) AS silenced,
           SUM(CASE WHEN n = 1 THEN 1 ELSE 0 END) AS seen_once
    FROM by_sender JOIN totals ON policy = t_policy AND direction = t_direction AND verdict = t_verdict
    WHERE n > 0
    GROUP BY policy, direction, verdict
),
shared AS (
    SELECT policy, direction, verdict, a_lost, a_all, a_untold, a_lost_recipients, a_recipients, a_lost_bytes, a_bytes,
           squares, senders, second, losing, silenced, seen_once,
           a_lost / a_all AS p,
           a_all * a_all / GREATEST(squares, a_all) AS effective,
           CASE WHEN several > 1 AND shares > 0 AND shares < several
                THEN LEAST(GREATEST(1 - inner_variance / several
                     / NULLIF(shares / several * (1 - shares / several), 0), 0.0), 1.0)
                ELSE 1.0 END AS correlation,
           CASE WHEN fourth > 0 THEN second * second / NULLIF(fourth, 0) ELSE 0.0 END AS freedom
    FROM spread
),
variance AS (
    SELECT policy, direction, verdict, a_lost, a_all, a_untold, a_lost_recipients, a_recipients, a_lost_bytes, a_bytes,
           senders, losing, silenced, seen_once, p, effective,
           p * (1 - p) AS binomial,
           freedom / (freedom + 15.0) AS belief,
           p * (1 - p) * (a_all + GREATEST(squares - a_all, 0.0) * correlation) / (a_all * a_all) AS supposed,
           second * GREATEST(senders - 1, 0.0) / GREATEST(senders, 1.0) AS seen,
           1.0 / GREATEST(6.0 * freedom, 4.0) AS r
    FROM shared
),
worth AS (
    SELECT policy, direction, verdict, a_lost, a_all, a_untold, a_lost_recipients, a_recipients, a_lost_bytes, a_bytes,
           senders, losing, silenced, seen_once, p, effective, binomial,
           binomial / NULLIF(belief * seen + (1 - belief) * supposed, 0) AS independent,
           -- Student's t: Fisher's expansion about the normal distribution.
           belief * (1.959963984540054e0 + r * (2.372271e0 + r * (2.822499e0 + r * (2.555850e0 + r * 1.589534e0))))
               + (1 - belief) * 1.959963984540054e0 AS z
    FROM variance
),
wilson AS (
    SELECT policy, direction, verdict, a_lost, a_all, a_untold, a_lost_recipients, a_recipients, a_lost_bytes, a_bytes,
           senders, losing, silenced, seen_once, p, effective, binomial, independent, z,
           z * z / NULLIF(independent, 0) AS q
    FROM worth
)
SELECT policy, direction, verdict,
       CAST(a_lost AS BIGINT) AS lost_messages, CAST(a_all AS BIGINT) AS all_messages,
       CAST(a_untold AS BIGINT) AS untold_messages,
       CAST(a_lost_recipients AS BIGINT) AS lost_recipients, CAST(a_recipients AS BIGINT) AS all_recipients,
       CAST(a_lost_bytes AS BIGINT) AS lost_bytes, CAST(a_bytes AS BIGINT) AS all_bytes,
       p AS share,
       CASE WHEN a_lost = 0 THEN 0.0
            WHEN a_lost >= a_all THEN GREATEST(1 - 3 / effective, 0.0)
            ELSE GREATEST((p + q / 2) / (1 + q)
                 - z / (1 + q) * SQRT(binomial / NULLIF(independent, 0) + q / NULLIF(4 * independent, 0)), 0.0)
            END AS low,
       CASE WHEN a_lost = 0 THEN LEAST(3 / effective, 1.0)
            WHEN a_lost >= a_all THEN 1.0
            ELSE LEAST((p + q / 2) / (1 + q)
                 + z / (1 + q) * SQRT(binomial / NULLIF(independent, 0) + q / NULLIF(4 * independent, 0)), 1.0)
            END AS high,
       CAST(losing AS BIGINT) AS lost_senders, CAST(senders AS BIGINT) AS all_senders,
       CAST(silenced AS BIGINT) AS silenced_senders, CAST(seen_once AS BIGINT) AS seen_once_senders
FROM wilson
ORDER BY direction, verdict, policy
