-- Question: Which vehicles have a fault that is still there, and which one first?
-- Read it:  One row per open trouble code, worst first: the driver sees a lamp, then confirmed faults, then the oldest.
--           open_days counts from the first report with the code to the newest report that we have of the vehicle;
--           seen_in_reports is how many reports had it in that time.
-- Limits:   "Open" is what the newest health report says: known_until says when that was. A code may have been cleared since, or
--           come and gone between two reports. Not every control unit sets the confirmed and lamp bits.
WITH report AS (
    SELECT account, vehicle_id AS vendor_vehicle_id, max(created_time) AS known_until
    FROM rcs.health_report
    WHERE result = 'DONE' AND deleted_at IS NULL
    GROUP BY account, vehicle_id
)
SELECT
    v.name AS vehicle,
    concat_ws(' ', v.brand, v.model) AS type,
    t.dtc,
    coalesce(t.ecu, t.ecu_key) AS ecu,
    t.description,
    t.is_warning_indicator_requested AS lamp,
    t.is_confirmed AS confirmed,
    t.opened_at,
    t.last_seen_at,
    t.reports AS seen_in_reports,
    round((extract(epoch FROM greatest(r.known_until, t.last_seen_at) - t.opened_at) / 86400)::numeric, 1) AS open_days,
    greatest(r.known_until, t.last_seen_at) AS known_until
FROM fleet.trouble t
JOIN fleet.vehicle v USING (vehicle_key)
LEFT JOIN report r USING (account, vendor_vehicle_id)
WHERE t.is_open
ORDER BY lamp DESC, confirmed DESC, t.opened_at, vehicle, t.dtc
