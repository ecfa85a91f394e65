// The least that a server can be asked for, with the bare client and nothing around it: each task is stored, begun once, and its
// result kept; in batches of fifty, or one by one.
import { createHash } from 'node:crypto'
import { openIoredis, paramsOf } from './contenders.mjs'
import { expect } from './load.mjs'

const BATCH = 50
const RESULT = JSON.stringify({ url: '/reports/report.xlsx' })
const HOUR_MS = 3_600_000

const TABLE = `
  drop table if exists floor_tasks;
  create table floor_tasks (
    key bytea primary key, due_at bigint not null, status smallint not null default 0, params text not null, result text,
    expires_at bigint
  ) with (fillfactor = 85);
  create index floor_ready on floor_tasks (due_at) where status = 0;
  create index floor_ended on floor_tasks (expires_at) where status = 2`
const INSERT = `
  insert into floor_tasks (key, due_at, params) select key, $3, params from unnest($1::bytea[], $2::text[]) given (key, params)
  on conflict do nothing`
const TURN = `
  with ended as (update floor_tasks set status = 2, result = $2, expires_at = $3 where key = any($1::bytea[]))
  update floor_tasks set status = 1
  where key = any(array(select key from floor_tasks where status = 0 order by due_at limit ${BATCH} for update skip locked))
  returning key, params`

/** On PostgreSQL: a row is inserted where none has its key, updated when it begins, and updated when it ends; as durable as the server is. */
export async function openPostgresFloor({ url }) {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  await pool.query(TABLE)
  const insert = (indexes) => {
    const texts = indexes.map((index) => JSON.stringify(paramsOf(index)))
    const keys = texts.map((text) => createHash('sha256').update(text).digest())
    return pool.query({ name: 'insert', text: INSERT, values: [keys, texts, Date.now()] })
  }
  const turn = async (keys) => {
    const values = [keys, RESULT, Date.now() + HOUR_MS]
    const { rows } = await pool.query({ name: 'turn', text: TURN, values })
    return rows.map(({ key, params }) => [key, params])
  }
  return { call: together(insert, 1), fill: insert, start: workers(turn, 2), close: () => pool.end() }
}

// What stands there already answers; the rest is stored and queued.
const ASK = `
  local keys, texts, tickets, answers = {}, {}, {}, {}
  for i = 1, #ARGV, 2 do keys[#keys + 1] = ARGV[i] end
  for i, found in ipairs(redis.call('MGET', unpack(keys))) do
    answers[i] = found or ''
    if not found then
      texts[#texts + 1], texts[#texts + 2], tickets[#tickets + 1] = keys[i], ARGV[2 * i], keys[i]
    end
  end
  if #tickets > 0 then
    redis.call('MSET', unpack(texts))
    redis.call('RPUSH', KEYS[1], unpack(tickets))
  end
  return answers`

const BATCH_TURN = `
  for i = 3, #ARGV do redis.call('SET', 'r' .. ARGV[i], ARGV[1], 'PX', ${HOUR_MS}) end
  local ids = redis.call('LPOP', KEYS[1], ARGV[2])
  if not ids then return {} end
  local params = redis.call('MGET', unpack(ids))
  for i = 1, #ids do params[i] = {ids[i], params[i]} end
  return params`

// Refused where something stands there; a lease in case the process dies, and a count of what runs.
const BEGIN = `
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('HSET', 'leases', KEYS[1], redis.call('TIME')[1] + 30)
  redis.call('HINCRBY', 'counts', 'running', 1)
  return 1`

// Refused where it is no longer what it was; the asking process waits for more.
const FINISH = `
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ${HOUR_MS})
  redis.call('HDEL', 'leases', KEYS[1])
  redis.call('HINCRBY', 'counts', 'running', -1)
  redis.call('HINCRBY', 'counts', 'completed', 1)
  redis.call('SADD', 'idle', 'a process')
  return 1`

/** On Redis: a task is a string and an entry of a list, its result another string. */
export async function openRedisFloor(at) {
  const { client, close } = await openIoredis(at, { pipelined: false })
  client.defineCommand('ask', { numberOfKeys: 1, lua: ASK })
  client.defineCommand('turn', { numberOfKeys: 1, lua: BATCH_TURN })
  client.defineCommand('begin', { numberOfKeys: 1, lua: BEGIN })
  client.defineCommand('finish', { numberOfKeys: 1, lua: FINISH })
  const asked = (index, params = paramsOf(index)) => {
    const text = JSON.stringify(params)
    return [createHash('sha256').update(text).digest('base64url'), text]
  }
  const ask = together((indexes) => client.ask('ready', ...indexes.flatMap((index) => asked(index))), 2)
  const begin = async (index, params) => {
    const [key, text] = asked(index, params)
    expect(await client.begin(key, text), 1, 'The answer')
    return [key, text]
  }
  const end = async ([key, text], result) => {
    expect(await client.finish(key, text, JSON.stringify(result)), 1, 'The answer')
  }
  const fill = async (indexes) => {
    await client.mset(indexes.flatMap((index) => [`p${index}`, JSON.stringify(paramsOf(index))]))
    await client.rpush('ready', ...indexes.map((index) => `p${index}`))
  }
  const turn = (most) => (ids) => client.turn('ready', RESULT, most, ...ids)
  return { ask, fill, begin, end, start: workers(turn(BATCH), 2), startOne: workers(turn(1), 1), close }
}

/** Two of them take turns, so that one's answer is read while the other's is being made. */
const workers = (turn, count) => async (tick) => {
  const work = async () => {
    let batch = await turn([])
    while (batch.length > 0) {
      for (const [, params] of batch) {
        JSON.parse(params)
        tick()
      }
      batch = await turn(batch.map(([id]) => id))
    }
  }
  await Promise.all(Array.from({ length: count }, work))
}

/** What callers ask for while `most` batches are under way goes in the next, and is dealt out to those that are not. */
function together(send, most) {
  const waiting = []
  let underWay = 0
  const go = async (share) => {
    underWay++
    while (waiting.length > 0) {
      const batch = waiting.splice(0, Math.max(BATCH, Math.ceil(waiting.length / share)))
      try {
        const answers = await send(batch.map(({ index }) => index))
        batch.forEach(({ resolve }, at) => {
          resolve(answers?.[at])
        })
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    underWay--
  }
  const begin = () => {
    while (underWay < most && waiting.length > 0) void go(most - underWay)
  }
  return (index) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ index, resolve, reject }) === 1 && underWay < most) queueMicrotask(begin)
    })
}
