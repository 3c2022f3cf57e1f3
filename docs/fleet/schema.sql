-- The two tables, for whoever keeps them in a database. BIGINT, DOUBLE, BOOLEAN and VARCHAR mean the same in DuckDB,
-- DataFusion, Spark (VARCHAR there is STRING), PostgreSQL and, as aliases, in ClickHouse, where a column that may be
-- null has to be NULL in the declaration as it is here.

-- A row a transaction: `smtp-smol audit SOURCE --rows FILE`. What is not known is null.
CREATE TABLE rows (
    rows BIGINT NOT NULL,               -- version of the format: 1
    number BIGINT NOT NULL,             -- of the row in its file
    node VARCHAR NULL,                  -- the host; of a log or mailbox what --node says
    run VARCHAR NULL,                   -- of a ledger's line: with its number, no two lines of a host have the same
    seq BIGINT NULL,
    id VARCHAR NULL,                    -- of the transaction, as in the message's Received field
    day VARCHAR NOT NULL,               -- 2026-11-24, UTC; as text it means the same everywhere, and sorts
    unix_time BIGINT NOT NULL,          -- when the transaction ended: seconds since 1970,
    millisecond BIGINT NOT NULL,        -- and this
    direction VARCHAR NOT NULL,         -- inbound, outbound
    verdict VARCHAR NOT NULL,           -- wanted, unwanted, unknown
    sender VARCHAR NOT NULL,            -- whose mail stands or falls together: of inbound mail the sender's registrable
                                        -- domain, of a bounce its host's; of outbound mail the first recipient's
    sender_domain VARCHAR NULL,         -- of the envelope, registrable
    host VARCHAR NULL,                  -- as the other side named itself, registrable
    host_key VARCHAR NULL,              -- the other side's address, hashed with the key
    recipient_domains VARCHAR NOT NULL, -- with commas between them
    hop VARCHAR NOT NULL,               -- used, not-tried, failed, failed-then-plaintext, not-offered, unknown
    offered_version VARCHAR NULL,       -- the highest version of TLS that the client offered
    version VARCHAR NULL,               -- that which was used: SSL, TLS1.0, TLS1.1, TLS1.2, TLS1.3
    tls_group VARCHAR NULL,             -- of the key exchange
    certificate VARCHAR NULL,           -- the client's: none, self-signed, untrusted, verified, unknown
    recipients BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    ending VARCHAR NOT NULL,            -- accepted, refused, deferred, abandoned, handshake-failed, tls-required
    is_final BOOLEAN NOT NULL,          -- else the message may come again
    end_to_end VARCHAR NOT NULL,        -- none, pgp-mime, s-mime, pgp-inline, unknown
    rehearsed VARCHAR NULL,             -- asked, came-with-tls, came-in-plaintext
    retry VARCHAR NULL,                 -- network and envelope, hashed with the key: attempts at one message share it
    network VARCHAR NULL,               -- the network alone: null where each row is a message of its own
    meets_tls BOOLEAN NULL,             -- null where it cannot be told
    meets_tls12 BOOLEAN NULL,
    meets_tls13 BOOLEAN NULL,
    meets_certificate BOOLEAN NULL,
    meets_verified_certificate BOOLEAN NULL
);

-- Rows whose retries are folded, summed: `smtp-smol audit SOURCE --cells FILE`, or cells.sql. Cells of any hosts may be
-- put into one table, in any order; cells with the same key need not be added up before they are read.
CREATE TABLE cells (
    day VARCHAR NOT NULL,
    direction VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    sender VARCHAR NOT NULL,
    hop VARCHAR NOT NULL,
    version VARCHAR NULL,
    certificate VARCHAR NULL,
    end_to_end VARCHAR NOT NULL,
    rehearsed VARCHAR NULL,
    messages BIGINT NOT NULL,
    recipients BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
