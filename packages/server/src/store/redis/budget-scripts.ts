// SPDX-License-Identifier: Apache-2.0
/**
 * The scripts that count budgets inside Redis or Valkey: each runs alone, so nothing comes between.
 *
 * All keys have one hash tag, so that a cluster keeps them together. Every number is a whole one that a Lua number holds
 * exactly, and is written with `%.0f`, because Lua's own way to write it has 14 digits. Time is Redis's. Nothing is
 * written before everything was checked: a script that fails leaves nothing half done.
 */

const PREFIX = "postern:{budgets}:";
/** Names the counters themselves: where it is gone, they are gone too. */
export const ORIGIN_KEY = `${PREFIX}origin`;
export const HOLDERS_KEY = `${PREFIX}holders`;
export const counterName = (key: string): string => `${PREFIX}c:${key}`;

/** First words of refusals. */
export const LOST = "POSTERNLOST";

/** Reservations that one turn takes from dead holders: a script keeps everybody waiting. */
export const MOST_TAKEN = 500;

const START = `
local prefix = '${PREFIX}'
local most = 9007199254740991
local kept = 172800000
local function whole(number) return string.format('%.0f', number) end
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function is_lost(origin) return redis.call('GET', KEYS[1]) ~= origin end
local function lost() return redis.error_reply('${LOST} the counters are not those that were opened') end
`;

/** origin, id, holder, lease; then of each claim: key, limit, keep, hold, end. Whether it fits, and all counters. */
export const RESERVE = `${START}
if is_lost(ARGV[1]) then return lost() end
local reservation = prefix .. 'r:' .. ARGV[2]
if redis.call('EXISTS', reservation) == 1 then return redis.error_reply('POSTERNTWICE the same reservation twice') end
local time = now()
local fits = true
local claims = {}
for at = 5, #ARGV, 5 do
  local name = prefix .. 'c:' .. ARGV[at]
  local state = redis.call('HMGET', name, 'used', 'reserved')
  local claim = {
    name = name, isNew = not state[1], keep = tonumber(ARGV[at + 2]), hold = tonumber(ARGV[at + 3]),
    used = tonumber(state[1] or 0), reserved = tonumber(state[2] or 0), ends = tonumber(ARGV[at + 4])
  }
  if claim.keep + claim.hold > tonumber(ARGV[at + 1]) - claim.used - claim.reserved then fits = false end
  claims[#claims + 1] = claim
end
local answer = { fits and 1 or 0 }
if fits then
  local parts = { ARGV[3] }
  local expires = 0
  local holds = false
  for _, claim in ipairs(claims) do
    claim.used = claim.used + claim.keep
    claim.reserved = claim.reserved + claim.hold
    local ends = math.max(claim.ends, time) + kept
    expires = math.max(expires, ends)
    holds = holds or claim.hold > 0
    redis.call('HSET', claim.name, 'used', whole(claim.used), 'reserved', whole(claim.reserved))
    if claim.isNew then redis.call('PEXPIREAT', claim.name, whole(ends)) end
    parts[#parts + 1] = claim.name
    parts[#parts + 1] = whole(claim.keep)
    parts[#parts + 1] = whole(claim.hold)
  end
  redis.call('RPUSH', reservation, unpack(parts))
  redis.call('PEXPIREAT', reservation, whole(expires))
  if holds then
    redis.call('SADD', prefix .. 'o:' .. ARGV[3], ARGV[2])
    redis.call('ZADD', prefix .. 'holders', whole(time + tonumber(ARGV[4])), ARGV[3])
  end
end
for _, claim in ipairs(claims) do
  answer[#answer + 1] = whole(claim.used)
  answer[#answer + 1] = whole(claim.reserved)
end
return answer
`;

/** id; then the charges. */
export const SETTLE = `${START}
local reservation = prefix .. 'r:' .. ARGV[1]
local parts = redis.call('LRANGE', reservation, 0, -1)
if #parts == 0 then return 0 end
redis.call('DEL', reservation)
redis.call('SREM', prefix .. 'o:' .. parts[1], ARGV[1])
for at = 2, #parts, 3 do
  local state = redis.call('HMGET', parts[at], 'used', 'reserved')
  if state[1] then
    local charge = tonumber(ARGV[2 + (at - 2) / 3] or 0)
    local used = math.min(most, math.max(0, tonumber(state[1]) - tonumber(parts[at + 1]) + charge))
    local reserved = math.max(0, tonumber(state[2]) - tonumber(parts[at + 2]))
    redis.call('HSET', parts[at], 'used', whole(used), 'reserved', whole(reserved))
  end
end
return 1
`;

/**
 * origin, holder, lease. What dead holders held comes back. Their reservations stay, for a holder that was only asleep
 * settles them yet. How many were taken.
 */
export const RENEW = `${START}
if is_lost(ARGV[1]) then return lost() end
local time = now()
redis.call('ZADD', prefix .. 'holders', whole(time + tonumber(ARGV[3])), ARGV[2])
local taken = 0
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'holders', '-inf', whole(time), 'LIMIT', 0, 100)) do
  local ids = {}
  if taken < ${MOST_TAKEN} then ids = redis.call('SPOP', prefix .. 'o:' .. holder, ${MOST_TAKEN} - taken) end
  for _, id in ipairs(ids) do
    local reservation = prefix .. 'r:' .. id
    local parts = redis.call('LRANGE', reservation, 0, -1)
    for at = 2, #parts, 3 do
      local state = redis.call('HGET', parts[at], 'reserved')
      local hold = tonumber(parts[at + 2])
      if state and hold > 0 then
        redis.call('HSET', parts[at], 'reserved', whole(math.max(0, tonumber(state) - hold)))
      end
      redis.call('LSET', reservation, at + 1, '0')
    end
    taken = taken + 1
  end
  if redis.call('EXISTS', prefix .. 'o:' .. holder) == 0 then redis.call('ZREM', prefix .. 'holders', holder) end
end
return taken
`;
