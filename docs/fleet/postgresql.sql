-- PostgreSQL, before schema.sql and loss.sql: it has DOUBLE PRECISION only, where all others say DOUBLE. There is no reader of
-- rows here: fill `cells` by \copy, from CSV of whatever made them.
CREATE DOMAIN double AS double precision;
