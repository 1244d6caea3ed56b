-- How schema fleet came to be what it is: what waits to be built, what was built, and which published figures changed.
CREATE TABLE IF NOT EXISTS ops.model_unit (
    unit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vehicle_key text NOT NULL,
    account text NOT NULL DEFAULT '',
    day date,
    cause text NOT NULL,
    load_id text NOT NULL DEFAULT '',
    queued_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS change_vehicle_day ON ops.change (account, scope, day);
CREATE INDEX IF NOT EXISTS model_unit_order ON ops.model_unit (day, vehicle_key, account);
COMMENT ON TABLE ops.model_unit IS 'What of schema fleet waits to be built anew, and why. Building it removes it.';
COMMENT ON COLUMN ops.model_unit.unit_id IS 'Number, in the order of writing.';
COMMENT ON COLUMN ops.model_unit.vehicle_key IS 'Vehicle; empty: what belongs to no vehicle.';
COMMENT ON COLUMN ops.model_unit.account IS 'Account, for tables that know no vehicles; else empty.';
COMMENT ON COLUMN ops.model_unit.day IS 'UTC day; null: the whole history of the vehicle.';
COMMENT ON COLUMN ops.model_unit.cause IS 'Vendor table that changed; identity: another vehicle has the device now; full: all is built anew.';
COMMENT ON COLUMN ops.model_unit.load_id IS 'Batch that changed it; empty for other causes.';
COMMENT ON COLUMN ops.model_unit.queued_at IS 'Since when, UTC.';

CREATE TABLE IF NOT EXISTS ops.model_build (
    build_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    is_full boolean NOT NULL,
    units bigint NOT NULL DEFAULT 0,
    rows_inserted bigint NOT NULL DEFAULT 0,
    rows_updated bigint NOT NULL DEFAULT 0,
    rows_deleted bigint NOT NULL DEFAULT 0,
    restatements bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE ops.model_build IS 'Builds of schema fleet.';
COMMENT ON COLUMN ops.model_build.build_id IS 'Number.';
COMMENT ON COLUMN ops.model_build.started_at IS 'When it began, UTC.';
COMMENT ON COLUMN ops.model_build.ended_at IS 'When it ended, UTC; null: it is under way, or it broke off and the next one goes on.';
COMMENT ON COLUMN ops.model_build.is_full IS 'All was built anew.';
COMMENT ON COLUMN ops.model_build.units IS 'Vehicle-days built [count].';
COMMENT ON COLUMN ops.model_build.rows_inserted IS 'Rows that are new [count].';
COMMENT ON COLUMN ops.model_build.rows_updated IS 'Rows that changed [count].';
COMMENT ON COLUMN ops.model_build.rows_deleted IS 'Rows that are gone [count].';
COMMENT ON COLUMN ops.model_build.restatements IS 'Rows written into ops.restatement [count].';

CREATE TABLE IF NOT EXISTS ops.restatement (
    restatement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    row_key jsonb NOT NULL,
    kind text NOT NULL CHECK (kind IN ('added', 'removed', 'changed')),
    column_name text,
    before jsonb,
    after jsonb,
    cause text NOT NULL,
    load_ids text[] NOT NULL,
    vehicle_key text NOT NULL,
    day date NOT NULL,
    build_id bigint NOT NULL,
    restated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS restatement_vehicle_day ON ops.restatement (vehicle_key, day);
CREATE INDEX IF NOT EXISTS restatement_time ON ops.restatement (restated_at);
COMMENT ON TABLE ops.restatement IS 'Figures of schema fleet that changed after their vehicle-day had been published as proven complete.';
COMMENT ON COLUMN ops.restatement.restatement_id IS 'Number, in the order of writing.';
COMMENT ON COLUMN ops.restatement.table_name IS 'Table, schema.table.';
COMMENT ON COLUMN ops.restatement.row_key IS 'Key of the row: its columns and their values.';
COMMENT ON COLUMN ops.restatement.kind IS 'added or removed: the row; changed: one cell of it.';
COMMENT ON COLUMN ops.restatement.column_name IS 'Column that changed; null: the whole row.';
COMMENT ON COLUMN ops.restatement.before IS 'What was published: the cell, or the removed row.';
COMMENT ON COLUMN ops.restatement.after IS 'What is true now: the cell, or the added row.';
COMMENT ON COLUMN ops.restatement.cause IS 'Vendor tables that changed, separated by commas; identity: another vehicle has the device now; full: all was built anew.';
COMMENT ON COLUMN ops.restatement.load_ids IS 'Batches that brought the change; see ops.load.';
COMMENT ON COLUMN ops.restatement.vehicle_key IS 'Vehicle.';
COMMENT ON COLUMN ops.restatement.day IS 'UTC day.';
COMMENT ON COLUMN ops.restatement.build_id IS 'Build that found it; see ops.model_build.';
COMMENT ON COLUMN ops.restatement.restated_at IS 'When, UTC.';
