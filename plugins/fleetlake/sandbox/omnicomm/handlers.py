"""One method per address: what is asked, in the vendor's shapes and units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from fleetlake.sandbox.omnicomm import reports, zones
from fleetlake.sandbox.omnicomm.journal import tank_levels
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.park import Group, Truck
from fleetlake.sandbox.omnicomm.questions import BAD_FORMAT, BAD_INTERVAL, DENIED, NO_OBJECT, Question, Refused, answer
from fleetlake.sandbox.omnicomm.reports import plain
from fleetlake.sandbox.omnicomm.unverified import LISTS
from fleetlake.sandbox.world import DAY_S

_MAX_PAGE_SIZE = 1000
_RAW_NOISE_DL = 15


class Handlers:
    """Answers of one sandbox."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._assumptions = model.park.assumptions

    # Lists

    def tree(self, question: Question) -> Response:
        """Groups and vehicles; v1 and v2 are alike (OMN-09)."""
        root = self._model.park.tree(question.customer)
        wanted = question.path.get("group")
        group = next((item for item in root.walk() if wanted in (None, str(item.id))), None)
        if group is None:
            raise Refused(NO_OBJECT, "no such object")
        return answer(_group(group))

    def profile(self, question: Question) -> Response:
        """One vehicle."""
        return answer(self._model.profiles.profile(self._vehicle(question)))

    def terminal_types(self, _: Question) -> Response:
        """Kinds of terminals; a cheap probe."""
        return answer([{"terminalType": "FAS"}, {"terminalType": "FTC"}])

    def no_right(self, _: Question) -> Response:
        """Accounts of the sandbox may only read."""
        raise Refused(None, status=403)

    def state(self, question: Question) -> Response:
        """One vehicle, now."""
        return answer(self._model.profiles.state(self._vehicle(question), self._now()))

    def activity(self, question: Question) -> Response:
        """When each vehicle was heard of last, in milliseconds; filters are ignored."""
        rows = []
        for truck in self._model.park.trucks(question.customer):
            last = self._model.track.latest(truck, self._now())
            rows.append({"id": truck.terminal_id, "dateID": last.time * 1000 if last else None, "uuid": truck.uuid})
        return answer(rows)

    def positions(self, question: Question) -> Response:
        """Where these vehicles are."""
        rows = []
        for truck in self._batch(question.customer, question.numbers("ids")):
            last = self._model.track.latest(truck, self._now(), valid=True)
            if last:
                ignition = self._model.driving.is_engine_on(truck, last.time)
                row = {"latitude": last.latitude, "longitude": last.longitude, "direction": last.direction}
                rows.append(
                    row | {"ignition": ignition, "uuid": truck.uuid, "regNum": truck.plate, "terminal_id": truck.terminal_id}
                )
        return answer(rows)

    # Reports

    def catalogue(self, _: Question) -> Response:
        """Which reports there are."""
        return answer(
            [
                {"id": 32, "code": "consolidatedreport", "group": "reports", "objectTypes": ["FAS"]},
                {"id": 8, "code": "fueleventsreport", "group": "reports", "objectTypes": ["FAS", "FTC"]},
            ]
        )

    def statistics(self, question: Question) -> Response:
        """Totals of an interval; one vehicle out of reach spoils the batch."""
        start, end = question.interval()
        trucks = self._batch(question.customer, question.numbers("vehicles"))
        totals = [(truck, self._model.reckoning.totals(truck, start, end, self._now())) for truck in trucks]
        data = reports.statistics(totals, end - start, set(question.words("dataGroups", "mw,fuel")))
        return answer({"code": 0, "message": "OK", "data": data})

    def consolidated(self, question: Question) -> Response:
        """A row for every UTC day that the interval touches, always the whole day."""
        start, end, trucks = self._limited_batch(question)
        items = []
        for truck in trucks:
            for day in range(start // DAY_S, (end - 1) // DAY_S + 1):
                totals = self._model.reckoning.totals(truck, day * DAY_S, (day + 1) * DAY_S, self._now())
                if totals:
                    items.append(reports.consolidated(truck, day * DAY_S, totals))
        return answer({"code": 0, "items": items})

    def visits(self, question: Question) -> Response:
        """Visits to geofences that begin in the interval: a bare array."""
        start, end, trucks = self._limited_batch(question)
        wanted = question.given("geozonesIds") or []
        fences = [zone for zone in self._model.zones.of(question.customer) if not wanted or zone.id in wanted]
        least = question.number("minDurationTime", 0) * self._assumptions.visit_unit_s
        outside = question.given("outsideGeozones") is True
        found = [
            visit
            for truck in trucks
            for visit in self._model.visits.between(truck, fences, start, end, self._now(), outside=outside)
        ]
        return answer([zones.as_json(visit) for visit in found if visit.end - visit.start >= least])

    def track(self, question: Question) -> Response:
        """Points of one vehicle."""
        truck, (start, end) = self._vehicle(question), self._moments(question)
        rows = [
            {
                "date": point.time,
                "latitude": plain(point.latitude),
                "longitude": plain(point.longitude),
                "speed": plain(point.speed_kmh),
                "direction": point.direction,
                "satellitesCount": point.satellites,
            }
            for point in self._model.track.points(truck, start, end, self._now())
        ]
        return answer({"track": rows})

    def events(self, question: Question) -> Response:
        """Events of one vehicle; of an id that is not one of the customer's the list is empty (OMN-07)."""
        start, end = self._moments(question)
        truck = self._model.park.find(question.path["id"])
        found: Iterable[Any] = ()
        if truck and truck.customer == question.customer:
            if truck.terminal_id in self._model.park.poisoned:
                raise Refused(DENIED, "access denied")
            found = self._model.events.between(truck, start, end, self._now())
        return answer({"status": {"code": 0, "message": "OK"}, "events": [event.as_json() for event in found]})

    def fuel_level(self, question: Question) -> Response:
        """Raw and smoothed levels of each tank."""
        truck = self._readable(question.customer, str(question.required("vehicleID")))
        start, end = self._moments(question)
        tanks: list[list[dict[str, Any]]] = [[] for _ in range(truck.tanks)]
        for point in self._model.track.points(truck, start, end, self._now()):
            if not self._model.fuel.is_dead(truck, point.time // DAY_S):
                levels = tank_levels(truck, self._model.fuel.level_dl(truck, point.time))
                for number, (tank, level) in enumerate(zip(tanks, levels, strict=True)):
                    raw = raw_level_dl(truck, number, point.time, level)
                    tank.append({"eD": point.time, "rV": self._scaled(raw), "aV": self._scaled(level)})
        return answer({"tankData": [{"data": rows} for rows in tanks]})

    # Journal

    def journal(self, question: Question) -> Response:
        """Raw packets of one vehicle; the times may be texts."""
        truck = self._readable(question.customer, str(question.required("terminalId")))
        start, end = self._moments(question, "dateFrom", "dateTo")
        packets = self._model.journal.packets(truck, start, end, self._now())
        return answer({"columns": [packet.as_json() for packet in packets]})

    def journal_additional(self, question: Question) -> Response:
        """Parameters of packets; milliseconds, and another name for the vehicle."""
        truck = self._readable(question.customer, str(question.required("vehicleId")))
        start, end = question.milliseconds("dateFrom", "dateTo")
        found = self._model.journal.parameters(truck, start, end + self._assumptions.time_end_inclusive, self._now())
        return answer({"exCanData": [item.as_json() for item in found], "modbusData": [], "userParams": []})

    # Geofences

    def geofences(self, question: Question) -> Response:
        """A page of the list; pages are counted from 1 and overlap."""
        page, size = question.number("page", 1), question.number("pageSize", 200)
        if size > _MAX_PAGE_SIZE or size < 1 or page < 1:
            raise Refused(BAD_FORMAT, "invalid format of pageSize", 400)
        fences = self._model.zones.of(question.customer)
        rows = zones.pages(fences, page, size, self._assumptions.geofence_overlap)
        return answer({"total": len(fences), "page": page, "pageSize": size, "rows": [zone.as_json() for zone in rows]})

    def geofence(self, question: Question) -> Response:
        """One geofence by its uuid."""
        for zone in self._model.zones.of(question.customer):
            if zone.uuid == question.path["uuid"].lower():
                return answer(zone.as_json())
        raise Refused(NO_OBJECT, "no such object")

    def geofence_tree(self, question: Question) -> Response:
        """Geofences as a tree with one group."""
        objects = [{"name": zone.name, "autocheck_id": zone.id} for zone in self._model.zones.of(question.customer)]
        return answer({"autocheck_id": 1, "children": [{"name": "All", "autocheck_id": 2, "objects": objects}]})

    # Unverified

    def users(self, question: Question) -> Response:
        """Shapes here and below are invented (OMN-08)."""
        return answer(LISTS["account_user"](self._model.park.trucks(question.customer)))

    def drivers(self, question: Question) -> Response:
        """See ``users``."""
        return answer(LISTS["driver"](self._model.park.trucks(question.customer)))

    def video_profiles(self, question: Question) -> Response:
        """See ``users``."""
        return answer(LISTS["video_profile"](self._model.park.trucks(question.customer)))

    def video_tasks(self, question: Question) -> Response:
        """See ``users``."""
        return answer(LISTS["video_task"](self._model.park.trucks(question.customer)))

    # Parts

    def _now(self) -> int:
        return self._model.clock.now_ms()

    def _moments(self, question: Question, begin: str = "timeBegin", end: str = "timeEnd") -> tuple[int, int]:
        """An interval of moments, half open."""
        start, stop = question.interval(begin, end)
        return start, stop + self._assumptions.time_end_inclusive

    def _vehicle(self, question: Question) -> Truck:
        return self._readable(question.customer, question.path["id"])

    def _readable(self, customer: str, text: str) -> Truck:
        truck = self._model.park.find(text)
        if truck is None:
            raise Refused(NO_OBJECT, "no such object")
        if truck.customer != customer or truck.terminal_id in self._model.park.poisoned:
            raise Refused(None, status=403)
        return truck

    def _batch(self, customer: str, ids: list[int]) -> list[Truck]:
        trucks = []
        for terminal_id in ids:
            truck = self._model.park.find(str(terminal_id))
            if truck is None or truck.customer != customer or terminal_id in self._model.park.poisoned:
                raise Refused(DENIED, "access denied / no accessible vehicle")
            trucks.append(truck)
        return trucks

    def _limited_batch(self, question: Question) -> tuple[int, int, list[Truck]]:
        """OMN-04: what goes beyond the caps is a bad interval."""
        ids, (start, end) = question.numbers("vehicleIds"), question.interval()
        if len(ids) > self._assumptions.batch_vehicles or end - start > self._assumptions.batch_days * DAY_S:
            raise Refused(BAD_INTERVAL, "bad interval")
        return start, end, self._batch(question.customer, ids)

    def _scaled(self, level_dl: int) -> int | float:
        return plain(round(level_dl * self._assumptions.fuel_level_factor, 3))


def raw_level_dl(truck: Truck, tank: int, time: int, level_dl: int) -> int:
    """What the sensor says: the level, and the fuel sloshing about."""
    return max(level_dl + (time * 40_503 + truck.index * 7 + tank * 13 >> 4) % (2 * _RAW_NOISE_DL + 1) - _RAW_NOISE_DL, 0)


def _group(group: Group) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": group.id,
        "parentGroupId": group.parent_id,
        "name": group.name,
        "autocheck_id": group.id,
    }
    if group.objects is not None:
        found["objects"] = [_object(truck) for truck in group.objects]
    if group.children is not None:
        found["children"] = [_group(child) for child in group.children]
    return found


def _object(truck: Truck) -> dict[str, Any]:
    return {
        "uuid": truck.uuid,
        "name": truck.name,
        "terminal_type": truck.terminal_type,
        "terminal_id": truck.terminal_id,
        # Once it was seen as a boolean.
        "receive_data": truck.is_receiving if truck.index % 8 == 3 else int(truck.is_receiving),
    }
