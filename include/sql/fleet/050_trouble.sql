-- fleet.trouble: the whole history of the vehicles in pg_temp.unit.
WITH report AS (
    SELECT i.vehicle_key, i.vendor, i.account, i.vendor_vehicle_id, i.valid_from, h.report_id, h.created_time,
        row_number() OVER history AS number,
        lead(h.created_time) OVER history AS next_time
    FROM pg_temp.unit u
    JOIN fleet.vehicle_identity i ON i.vehicle_key = u.vehicle_key AND i.vendor = 'rcs'
    JOIN rcs.health_report h
        ON h.account = i.account AND h.vehicle_id = i.vendor_vehicle_id
        AND h.created_time >= i.valid_from AND (i.valid_to IS NULL OR h.created_time < i.valid_to)
    WHERE h.deleted_at IS NULL AND (
        (h.result = 'DONE' AND h.severity = 'OK')
        OR EXISTS (
            SELECT FROM rcs.trouble t
            WHERE t.account = h.account AND t.report_id = h.report_id AND t.deleted_at IS NULL
        )
    )
    WINDOW history AS (
        PARTITION BY i.vehicle_key, i.account, i.vendor_vehicle_id, i.valid_from
        ORDER BY h.created_time, h.report_id COLLATE "C"
    )
), seen AS (
    SELECT r.*, t.ecu_key, t.dtc, t.ecu, t.dtc_code, t.description, t.is_confirmed, t.is_warning_indicator_requested,
        r.number - row_number() OVER (
            PARTITION BY r.vehicle_key, r.account, r.vendor_vehicle_id, r.valid_from, t.ecu_key, t.dtc ORDER BY r.number
        ) AS episode
    FROM report r
    JOIN rcs.trouble t ON t.account = r.account AND t.report_id = r.report_id
    WHERE t.deleted_at IS NULL
)
SELECT vehicle_key, vendor, account, vendor_vehicle_id, ecu_key, dtc, min(created_time) AS opened_at,
    (array_agg(next_time ORDER BY number DESC))[1] AS closed_at,
    (array_agg(ecu ORDER BY number DESC))[1] AS ecu,
    (array_agg(dtc_code ORDER BY number DESC))[1] AS dtc_code,
    (array_agg(description ORDER BY number DESC))[1] AS description,
    max(created_time) AS last_seen_at,
    count(*)::integer AS reports,
    coalesce(bool_or(is_confirmed), false) AS is_confirmed,
    coalesce(bool_or(is_warning_indicator_requested), false) AS is_warning_indicator_requested,
    (array_agg(next_time ORDER BY number DESC))[1] IS NULL AS is_open
FROM seen
GROUP BY vehicle_key, vendor, account, vendor_vehicle_id, valid_from, ecu_key, dtc, episode
