-- A retry finds what an earlier try has finished; only after the run was cleared is it read again. An older answer that is
-- published after a newer one takes nothing away.
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.read.clears IS 'How often the run had been cleared when the read was published whole [count].';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS fetched_at timestamptz;
COMMENT ON COLUMN ops.read.fetched_at IS 'When its first page was fetched, UTC: an answer fetched before this and published later marks no row of the same time deleted.';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS vehicles text[];
COMMENT ON COLUMN ops.read.vehicles IS 'Vehicles it is about, of a read that asks about several at once; else null.';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS is_believed boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN ops.read.is_believed IS 'Nothing made it doubtful: what it lacks was not there. Of an older answer that is published later no row counts.';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS is_skipped boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ops.read.is_skipped IS 'The vendor refuses it, or no longer has it: for this run it is over, whether or not pages came.';
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS is_held boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ops.read.is_held IS 'Its batch is held: nothing is published from it; when the run is cleared, the vendor is asked anew.';
COMMENT ON TABLE ops.read IS 'Reads of the raw store that are published, what a retry need not do again; and those that are held.';
CREATE INDEX IF NOT EXISTS read_fetched ON ops.read (account, feed, fetched_at);
CREATE TABLE IF NOT EXISTS ops.publishing (
    dataset text PRIMARY KEY,
    load_id text NOT NULL,
    journal text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.publishing IS 'The publication begun last in each table. One that a crash has left unfinished is finished by the next publisher, before its own.';
COMMENT ON COLUMN ops.publishing.dataset IS 'Table.';
COMMENT ON COLUMN ops.publishing.load_id IS 'Load.';
COMMENT ON COLUMN ops.publishing.journal IS 'Place of its journal entry below the raw store; written just after this row.';
COMMENT ON COLUMN ops.publishing.noted_at IS 'When it was begun, UTC.';
ALTER TABLE ops.look_back ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.look_back.clears IS 'How often the run had been cleared when all of it was read [count].';
ALTER TABLE ops.look_back ADD COLUMN IF NOT EXISTS is_held boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ops.look_back.is_held IS 'A part of what was read is held: a retry judges it again.';
