-- A retry finds what an earlier try has finished; only after the run was cleared is it read again.
ALTER TABLE ops.read ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.read.clears IS 'How often the run had been cleared when the read was published whole [count].';
ALTER TABLE ops.look_back ADD COLUMN IF NOT EXISTS clears integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN ops.look_back.clears IS 'How often the run had been cleared when all of it was read [count].';
