-- How many hosts would lose mail under each policy, of how many, from `messages`. Hosts cannot be told from cells: a host
-- that sends on two days is in two of them.
WITH judged AS (
    SELECT direction, verdict, host_key,
           CASE WHEN hop IN ('used', 'unknown') OR (hop = 'not-offered' AND direction = 'inbound') THEN 0 ELSE 1 END AS plain,
           CASE WHEN hop = 'used' AND version < 'TLS1.2' THEN 1 ELSE 0 END AS below_12,
           CASE WHEN hop = 'used' AND version < 'TLS1.3' THEN 1 ELSE 0 END AS below_13,
           CASE WHEN hop = 'used' AND certificate = 'none' THEN 1 ELSE 0 END AS bare,
           CASE WHEN hop = 'used' AND certificate IN ('none', 'self-signed', 'untrusted') THEN 1 ELSE 0 END AS unverified
    FROM messages
    WHERE host_key IS NOT NULL
)
SELECT direction, verdict, COUNT(DISTINCT host_key) AS all_hosts,
       COUNT(DISTINCT CASE WHEN plain = 1 THEN host_key END) AS lost_tls,
       COUNT(DISTINCT CASE WHEN plain = 1 OR below_12 = 1 THEN host_key END) AS lost_tls12,
       COUNT(DISTINCT CASE WHEN plain = 1 OR below_13 = 1 THEN host_key END) AS lost_tls13,
       COUNT(DISTINCT CASE WHEN plain = 1 OR bare = 1 THEN host_key END) AS lost_certificate,
       COUNT(DISTINCT CASE WHEN plain = 1 OR unverified = 1 THEN host_key END) AS lost_verified_certificate
FROM judged
GROUP BY direction, verdict
ORDER BY direction, verdict
