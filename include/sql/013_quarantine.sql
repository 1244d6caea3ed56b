-- What became of rows set aside, and by which reading rows and batches were judged: another reading judges them again.
ALTER TABLE ops.quarantine ADD COLUMN IF NOT EXISTS reading text;
ALTER TABLE ops.quarantine ADD COLUMN IF NOT EXISTS resolution text;
ALTER TABLE ops.quarantine ADD COLUMN IF NOT EXISTS resolution_reason text;
ALTER TABLE ops.quarantine ADD COLUMN IF NOT EXISTS resolved_by text;
ALTER TABLE ops.quarantine DROP CONSTRAINT IF EXISTS quarantine_resolution_check;
ALTER TABLE ops.quarantine ADD CONSTRAINT quarantine_resolution_check CHECK (resolution IN ('taken', 'superseded', 'dropped'));
COMMENT ON COLUMN ops.quarantine.resolved_at IS 'When it was settled, UTC; null: still set aside.';
COMMENT ON COLUMN ops.quarantine.reading IS 'Digest of contract, code and mapping file that judged it last; another one today: it is judged again by itself.';
COMMENT ON COLUMN ops.quarantine.resolution IS 'taken: a batch took the row; superseded: a later reading of the window, or of the page, no longer finds it; dropped: a person gave it up.';
COMMENT ON COLUMN ops.quarantine.resolution_reason IS 'Why a person dropped it.';
COMMENT ON COLUMN ops.quarantine.resolved_by IS 'Who dropped it.';

ALTER TABLE ops.load ADD COLUMN IF NOT EXISTS reading text;
ALTER TABLE ops.load DROP CONSTRAINT IF EXISTS load_state_check;
ALTER TABLE ops.load ADD CONSTRAINT load_state_check CHECK (state IN ('published', 'held', 'superseded'));
COMMENT ON COLUMN ops.load.reading IS 'Digest of contract, code and mapping file it was judged by.';
COMMENT ON COLUMN ops.load.state IS 'published; held by a critical quality check; superseded: held once, and judged again as another load since.';
