-- Question: Who drives how much, with which vehicles, and how fast?
-- Read it:  One row per driver, most kilometres first; the row without a name holds the trips whose driver nobody told, so the
--           column share_pct adds up to 100. night_trips began between 22 and 5 o'clock UTC. top_speed_kmh is the highest
--           speed of any trip; where_fastest is the vehicle it was reached with.
-- Limits:   Only vendors that identify drivers name them, and only when the driver said so: a colleague with the same key is the
--           same driver here. Private trips are left out. Two vendors know the same person as two drivers.
SELECT
    coalesce(d.name, t.driver_key, '(driver unknown)') AS driver,
    t.driver_key,
    count(*) AS trips,
    count(DISTINCT t.vehicle_key) AS vehicles,
    round((sum(t.distance_m) / 1000)::numeric, 1) AS distance_km,
    round((100 * sum(t.distance_m) / sum(sum(t.distance_m)) OVER ())::numeric, 1) AS share_pct,
    round((sum(t.duration_s) / 3600)::numeric, 1) AS driving_h,
    count(*) FILTER (WHERE extract(hour FROM t.start_time AT TIME ZONE 'UTC') NOT BETWEEN 5 AND 21) AS night_trips,
    round(max(t.max_speed_kmh)::numeric, 1) AS top_speed_kmh,
    (array_agg(v.name ORDER BY t.max_speed_kmh DESC NULLS LAST, t.start_time))[1] AS where_fastest,
    max(t.start_time) AS last_trip
FROM fleet.trip t
JOIN fleet.vehicle v USING (vehicle_key)
LEFT JOIN fleet.driver d USING (driver_key)
WHERE NOT t.is_private
GROUP BY t.driver_key, d.name
ORDER BY distance_km DESC NULLS LAST, driver
