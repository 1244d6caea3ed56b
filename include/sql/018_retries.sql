-- A retry finds what an earlier try has finished; only after the run was cleared is it read again. An older answer that is
-- published after a newer one takes nothing away.
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.read.clears IS 'How often the run had been cleared when the read was published whole [count].';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS fetched_at timestamptz;
COMMENT ON COLUMN ops.read.fetched_at IS 'When its first page was fetched, UTC: an answer older than this marks no row of the same window deleted.';
CREATE INDEX IF NOT EXISTS read_of_scope ON ops.read (account, feed, scope, window_start);
ALTER TABLE ops.look_back ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.look_back.clears IS 'How often the run had been cleared when all of it was read [count].';
