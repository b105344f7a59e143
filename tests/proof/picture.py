"""Which keys a server must have, by the model, and which ones it has."""

from __future__ import annotations

import json
from typing import Any

import redis

from cgjobs import keys
from tests.proof.dependents import DEFERRED
from tests.proof.job import (
    ACTIVE,
    AHEAD,
    CANCELLED,
    COMPLETED,
    DELAYED,
    EFFECTS,
    FAILED,
    HELD,
    PAST,
    WAITING,
    Known,
)
from tests.proof.model import Model

_REGISTRIES = {
    DELAYED: keys.delayed,
    COMPLETED: keys.completed,
    FAILED: keys.failed,
    CANCELLED: keys.cancelled,
    DEFERRED: keys.deferred,
}


def picture(model: Model) -> dict[str, Any]:
    """Key -> content, as `seen` reads them: every key that is about jobs, and no other."""
    wanted: dict[str, Any] = {
        keys.waiting(queue, level): line for (queue, level), line in model.lines.items() if line
    }
    wanted |= model.picture_of_dependents()
    for worker, members in model.cancels.items():
        if members:
            wanted[keys.cancels(worker)] = sorted(members)
    for (queue, group), ids in model.held.items():
        if ids:
            wanted[keys.held(f"{queue}:{group}")] = list(ids)
            wanted.setdefault(keys.groups(queue), {})[group] = PAST
            wanted.setdefault(keys.deferred(queue), {}).update(dict.fromkeys(ids, AHEAD))
    for place, queue, job_id in model.ghosts:
        wanted.setdefault(_REGISTRIES[place](queue), {})[job_id] = PAST
    for job_id, job in model.jobs.items():
        queue = job.new.queue
        if job.place == ACTIVE:
            wanted.setdefault(keys.active(queue), {})[f"{job_id}:{job.token}"] = AHEAD
            wanted.setdefault(keys.LEASES, {})[job.lease] = PAST if job.lease_over else AHEAD
        elif job.place in _REGISTRIES:
            past = job.due or job.place == DEFERRED
            wanted.setdefault(_REGISTRIES[job.place](queue), {})[job_id] = PAST if past else AHEAD
        wanted[keys.job(job_id)] = [
            "deferred" if job.place == HELD else job.place,
            job.token,
            queue,
            str(job.made),
            str(job.left),
            str(job.recoveries),
            job.new.data.decode(),
            lasts(model, job_id),
            job.group,
            job.cancel,
            job.waited_for,
            "expires_at" in job.new.extra,
            [str(n) for n in (job.outstanding, job.failed_dependencies, job.dependency_bytes)],
            [job.checkpoint or False, job.meta, job.begun, "unknown" if job.unknown else "", logged_by(job)],
            [job.marks.get(effect, "") for effect in EFFECTS],
        ]
        if job.lines:
            wanted[keys.log(job_id)] = [job.lines, lasts(model, job_id)]
    for (queue, key), (holder, timed) in model.keyed.items():
        wanted[keys.unique(f"{queue}:{key}")] = [holder, not timed]
    for (place, queue), most in model.too_many.items():
        fields = wanted.setdefault(keys.queue(queue), ["", ""])
        fields[place == FAILED] = str(most)
    for job_id, count in model.entries.items():
        if count:
            wanted[keys.results(job_id)] = [count, lasts(model, job_id)]
    if counted := {name: str(number) for name, number in model.counters.items() if number}:
        wanted[keys.METRICS] = counted
    return wanted


def lasts(model: Model, job_id: str) -> bool:
    """What a job is and left behind has an end of its time only once the job has ended."""
    return job_id in model.jobs and model.jobs[job_id].place in (WAITING, ACTIVE, DELAYED, HELD, DEFERRED)


def logged_by(job: Known) -> str:
    attempt, lines = job.logged
    return f"{attempt}:{lines}" if attempt else ""


_SEEN = """
local t = redis.call('TIME')
local now, found = t[1] + t[2] / 1e6, {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  if string.find(key, '^cgjobs:log:') then
    found[key] = {redis.call('LRANGE', key, 0, -1), redis.call('PTTL', key) == -1}
  elseif kind == 'list' and not string.find(key, '^cgjobs:wake:') then
    found[key] = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then
    local least = string.find(key, '^rq:wip:') and 9999999998 or now
    local members, all = {}, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do members[all[i]] = tonumber(all[i + 1]) > least end
    found[key] = members
  elseif kind == 'set' and (string.find(key, ':dependents$') or string.find(key, '^cgjobs:cancels:')) then
    found[key] = redis.call('SORT', key, 'ALPHA')
  elseif string.find(key, '^rq:job::') then
    found[key] = {redis.call('SORT', key, 'ALPHA'), redis.call('PTTL', key) == -1}
  elseif string.find(key, '^cgjobs:dependencies:') then
    local ends, all = {}, redis.call('HGETALL', key)
    for i = 1, #all, 2 do ends[all[i]] = all[i + 1] end
    found[key] = {ends, redis.call('PTTL', key) == -1}
  elseif string.find(key, '^rq:job:') then
    local f = redis.call('HMGET', key, 'status', 'token', 'origin', 'number_of_retries', 'retries_left',
                         'recoveries', 'data', 'held', 'cancel', 'dependents', 'outstanding',
                         'dependencies_failed', 'dependency_bytes', 'expires_at', 'checkpoint', 'meta',
                         'begun', 'outcome', 'logged', 'once:mail', 'once:pay')
    found[key] = {f[1] or '', f[2] or '', f[3] or '', f[4] or '0', f[5] or '0', f[6] or '0', f[7] or '',
                  redis.call('PTTL', key) == -1, f[8] or '', f[9] == '1', f[10] == '1', f[14] ~= false,
                  {f[11] or '0', f[12] or '0', f[13] or '0'},
                  {f[15], f[16] or '', f[17] or '', f[18] or '', f[19] or ''},
                  {f[20] or '', f[21] or ''}}
  elseif string.find(key, '^cgjobs:unique:') then
    found[key] = {redis.call('GET', key), redis.call('PTTL', key) == -1}
  elseif string.find(key, '^rq:results:') then
    found[key] = {redis.call('XLEN', key), redis.call('PTTL', key) == -1}
  elseif string.find(key, '^cgjobs:queue:') then
    local f = redis.call('HMGET', key, 'keep_completed', 'keep_failed')
    if f[1] or f[2] then found[key] = {f[1] or '', f[2] or ''} end
  elseif key == 'cgjobs:metrics' then
    local fields, all = {}, redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if not string.find(all[i], '^seconds_') then fields[all[i]] = all[i + 1] end
    end
    found[key] = fields
  end
end
return cjson.encode(found)
"""


def seen(server: redis.Redis) -> dict[str, Any]:
    """Key -> content of every key that is about jobs, all at one moment."""
    return dict(json.loads(bytes(server.eval(_SEEN, 0))))
