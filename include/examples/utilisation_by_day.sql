-- Question: How much was each vehicle used on each of the last 28 days?
-- Read it:  One row per vehicle and UTC day that is known. used = it made a trip. driving_h and idle_h are hours under way, and with
--           the engine on while standing; use_pct is driving as a share of the whole day. trust is 100 when nothing speaks
--           against the figures; note says what does.
-- Limits:   Days are UTC days. A day in the yard has a row of zeros once its vendor is proven to have told all; a day without a row
--           is a day without data. Empty figures are unknown, not 0: idle_h where no device knows of the engine; the "last 28 days" end with the newest day that is loaded.
SELECT
    v.name AS vehicle,
    d.day,
    d.trips > 0 AS used,
    d.trips,
    round((d.distance_m / 1000)::numeric, 1) AS distance_km,
    round((d.moving_time_s / 3600)::numeric, 2) AS driving_h,
    round((d.idle_time_s / 3600)::numeric, 2) AS idle_h,
    round((d.moving_time_s / 864)::numeric, 1) AS use_pct,
    d.trust_score AS trust,
    d.trust_notes AS note
FROM fleet.vehicle_day d
JOIN fleet.vehicle v USING (vehicle_key)
WHERE d.day > (SELECT max(day) - 28 FROM fleet.vehicle_day)
ORDER BY v.name, v.vehicle_key, d.day
