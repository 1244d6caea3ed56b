-- Where the journal in the raw store tells of a load, and the clock by which its entries are ordered.
ALTER TABLE ops.load ADD COLUMN IF NOT EXISTS journal text;
COMMENT ON COLUMN ops.load.journal IS 'Entry of the raw store''s journal that tells of it, below the raw store; null: published before there was a journal.';

CREATE TABLE IF NOT EXISTS ops.publication (
    dataset text PRIMARY KEY,
    moment timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE ops.publication IS 'When each table was published into last. Moments of a table only grow, even if the server''s clock is set back.';
COMMENT ON COLUMN ops.publication.dataset IS 'Table, schema.table.';
COMMENT ON COLUMN ops.publication.moment IS 'Moment of its last publication, UTC; it names the journal entry.';
