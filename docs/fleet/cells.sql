-- From `messages` to `cells`: what `smtp-smol audit --cells` writes.
--
--   CREATE TABLE cells AS <this>
SELECT day, direction, verdict, sender, hop, version, certificate, end_to_end, rehearsed,
       COUNT(*) AS messages, SUM(recipients) AS recipients, SUM(bytes) AS bytes
FROM messages
GROUP BY day, direction, verdict, sender, hop, version, certificate, end_to_end, rehearsed
