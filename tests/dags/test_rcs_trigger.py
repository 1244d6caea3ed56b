"""The report trigger: one event per outcome, JSON-only arguments, patience with a vendor that stumbles."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time

import pytest
from airflow.sdk.module_loading import import_string
from fleetlake.errors import CredentialsRejected, RateLimited, VendorUnavailable
from fleetlake.reading import JobState, JobStatus
from fleetlake.triggers import rcs
from fleetlake.triggers.rcs import RcsReportTrigger


class ScriptedSource:
    """Answers polls from a list; the last answer is repeated."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.polled: list[tuple[float, str, str, str]] = []
        self.closed = False

    def poll(self, feed, token):
        self.polled.append((time.monotonic(), feed, token, threading.current_thread().name))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


class Trigger(RcsReportTrigger):
    source: ScriptedSource

    async def _open(self):
        if isinstance(self.source, Exception):
            raise self.source
        return self.source


RUNNING = JobStatus(JobState.RUNNING)
DONE = JobStatus(JobState.SUCCEEDED)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rcs, "MIN_POLL_S", 0.02)


def trigger(source, *, kind=Trigger, deadline_s=20.0, first_poll_s=0.0):
    made = kind(
        account="main",
        conn_id="rcs_default",
        feed="health_overview",
        token="t-1",
        lane="scheduled",
        deadline=time.time() + deadline_s,
        first_poll_s=first_poll_s,
    )
    made.source = source
    return made


def events(made):
    async def collect():
        return [event.payload async for event in made.run()]

    return asyncio.run(collect())


def test_a_finished_report_fires_once_and_gives_back_the_connection():
    source = ScriptedSource(RUNNING, RUNNING, DONE)
    assert events(trigger(source)) == [{"status": "success", "token": "t-1", "message": ""}]
    assert len(source.polled) == 3
    assert {(feed, token) for _, feed, token, _ in source.polled} == {("health_overview", "t-1")}
    assert source.closed


@pytest.mark.parametrize(
    ("state", "message", "said"),
    [
        (JobState.FAILED, "no telematics data", "no telematics data"),
        (JobState.FAILED, "", "the report is failed"),
        (JobState.LOST, "", "the report is lost"),
    ],
)
def test_a_dead_report_is_an_error(state, message, said):
    [event] = events(trigger(ScriptedSource(JobStatus(state, message))))
    assert event == {"status": "error", "token": "t-1", "message": said}


def test_a_report_that_is_not_finished_at_the_deadline_times_out_with_its_token():
    source = ScriptedSource(RUNNING)
    began = time.monotonic()
    [event] = events(trigger(source, deadline_s=0.3))
    assert (event["status"], event["token"]) == ("timeout", "t-1")
    assert time.monotonic() - began < 5
    assert source.polled[-1][0] - began >= 0.25, "the last poll comes at the deadline"


def test_a_deadline_in_the_past_still_polls_once():
    # The triggerer was down for hours: the report may be ready all the same.
    assert events(trigger(ScriptedSource(DONE), deadline_s=-3600, first_poll_s=5))[0]["status"] == "success"


def test_a_vendor_that_stumbles_is_asked_again():
    source = ScriptedSource(VendorUnavailable("502"), RateLimited("429", retry_after=0.1), RUNNING, DONE)
    assert events(trigger(source))[0]["status"] == "success"
    assert len(source.polled) == 4
    assert source.polled[2][0] - source.polled[1][0] >= 0.1, "the vendor's waiting time is kept"


@pytest.mark.parametrize("when", ["polling", "opening"])
def test_a_refused_poll_is_handed_to_the_worker(when):
    error = CredentialsRejected("the certificate was refused", remedy="renew it")
    source = ScriptedSource(error) if when == "polling" else error
    [event] = events(trigger(source))
    assert event["status"] == "unreadable"
    assert "the certificate was refused → renew it" in event["message"]


def test_polls_wait_first_and_then_less_and_less_often(monkeypatch):
    monkeypatch.setattr(rcs, "MIN_POLL_S", 0.05)
    monkeypatch.setattr(rcs, "MAX_POLL_S", 0.2)
    source = ScriptedSource(*[RUNNING] * 6, DONE)
    began = time.monotonic()
    events(trigger(source, first_poll_s=0.3))
    moments = [moment for moment, *_ in source.polled]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert moments[0] - began >= 0.3
    for pause, least in zip(pauses, [0.05, 0.075, 0.1125, 0.16875, 0.2, 0.2], strict=True):
        assert least <= pause


def test_polls_run_in_a_thread_and_hold_up_no_other_trigger():
    release = threading.Event()

    class Slow(ScriptedSource):
        def poll(self, feed, token):
            release.wait(20)
            return super().poll(feed, token)

    slow, quick = Slow(DONE), ScriptedSource(DONE)

    async def both():
        async def fire(made):
            return [event.payload async for event in made.run()]

        waiting = asyncio.create_task(fire(trigger(slow)))
        first = await fire(trigger(quick))
        assert not waiting.done()
        release.set()
        return first, await waiting

    first, second = asyncio.run(both())
    assert first[0]["status"] == second[0]["status"] == "success"
    assert slow.polled[0][3] != threading.main_thread().name


def test_a_cancelled_trigger_gives_back_its_connection():
    source = ScriptedSource(RUNNING)

    async def cancel():
        made = trigger(source)
        task = asyncio.create_task(anext(made.run()))
        while not source.polled:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())
    assert source.closed


def test_a_trigger_is_rebuilt_from_what_it_serializes():
    made = trigger(ScriptedSource(DONE), kind=RcsReportTrigger, first_poll_s=4.0)
    path, arguments = made.serialize()
    arguments = json.loads(json.dumps(arguments))
    again = import_string(path)(**arguments)
    assert type(again) is RcsReportTrigger
    assert again.serialize() == made.serialize()


def test_the_deadline_is_a_moment_on_the_wall_clock():
    assert abs(trigger(ScriptedSource(DONE)).serialize()[1]["deadline"] - time.time()) < 60


def test_a_killed_trigger_says_that_the_report_cannot_be_cancelled(capfd):
    source = ScriptedSource(RUNNING)
    asyncio.run(trigger(source).on_kill())
    written = capfd.readouterr()
    assert "no way to cancel" in written.out + written.err
    assert source.polled == []
