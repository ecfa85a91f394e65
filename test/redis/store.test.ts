// What lies in Redis after all kinds of calls: every ready run has its ticket, counters agree, memory stays small.
import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Cluster, Redis } from 'ioredis'
import { afterEach, expect, test, vi } from 'vitest'
import type { Claimed, Draft, Hint } from '../../src/contract/engine.ts'
import { longId, shortId, shortKey } from '../../src/engines/redis/ids.ts'
import { RedisEngine } from '../../src/engines/redis/index.ts'
import { PLACE } from '../../src/engines/redis/layout.ts'
import { startRedis } from '../servers/redis.ts'
import { sharedUrl } from '../servers/shared.ts'
import { commands } from './commands.ts'
import { again, draft, policy, want } from './drafts.ts'
import { newPrefix } from './factory.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function store(url = sharedUrl('redis')) {
  const prefix = newPrefix()
  const raw = await commands(url)
  cleanups.push(() => raw.disconnect())
  const open = async (): Promise<{ engine: RedisEngine; hints: Hint[] }> => {
    const engine = new RedisEngine({ url, prefix })
    const hints: Hint[] = []
    engine.listen((hint) => hints.push(hint))
    await engine.open()
    cleanups.push(() => engine.close())
    return { engine, hints }
  }
  return { ...(await open()), open, raw, prefix, tag: `{${prefix}:0}` }
}

/** Reads everything and answers what does not fit together. */
async function contradictions(raw: Redis | Cluster, tag: string): Promise<string[]> {
  const wrong: string[] = []
  const now = Number((await raw.time())[0]) * 1_000
  const keys = await raw.keys(`${tag.replace(/[{}]/g, '?')}[ea]:*`)
  const leases = await raw.hgetall(`${tag}leases`)
  const counted = await raw.hgetall(`${tag}counts`)
  const lanes = await raw.zrange(`${tag}lanes`, '0', '-1')
  const counts: Record<string, number> = {}
  let running = 0
  for (const key of keys) {
    const text = (await raw.get(key)) ?? ''
    const rest = key.slice(tag.length + 2)
    const ticket = rest.length === 43 ? rest + text.slice(PLACE.run - 1, PLACE.run + 1) : rest
    const isNew = text.startsWith('n')
    const head = isNew ? '' : text.slice(PLACE.head - 1)
    const at = isNew ? PLACE.head - 1 : text.indexOf(';', PLACE.token - 1) + 1
    const kind = text.slice(at, at + Number.parseInt(text.slice(PLACE.length - 1, PLACE.head - 1), 16))
    const [start, queue] = /^[^;:]*(?:;(\d*),\d*)?:/.exec(kind) as unknown as [string, string?]
    const lane = `${Number(queue ?? 0)}:${kind.slice(start.length)}`
    const status = isNew ? 'p' : text.charAt(0)
    const ttl = await raw.pttl(key)
    if (status === 'p' || status === 'r') {
      counts[status + lane] = (counts[status + lane] ?? 0) + 1
      if (ttl !== -1) wrong.push(`${key} lives and has a time to live`)
    } else if (ttl < 0) {
      wrong.push(`${key} has ended and stays for ever`)
    }
    if (status === 'r' && ++running && leases[key] === undefined) wrong.push(`${key} runs without a lease`)
    if (status !== 'p') continue
    const due = Number(head === '' ? text.slice(PLACE.created - 1, PLACE.length - 1) : head.slice(0, 13))
    const priority = head === '' ? 0 : Number(text.slice(PLACE.priority - 1, PLACE.finished - 1))
    const queued = (await raw.lpos(`${tag}l:${priority}:${lane}`, ticket)) !== null
    const delayed = await raw.zscore(`${tag}delayed`, ticket)
    if (delayed !== null && Number(delayed) !== due)
      wrong.push(`${key} is due at ${due}, and is delayed to ${delayed}`)
    if (delayed === null && (due > now + 1_000 || !queued))
      wrong.push(`${key} has no ticket (due ${due}, now ${now})`)
    if (queued && !lanes.includes(`${priority}:${lane}`))
      wrong.push(`${key} waits in a lane that nobody looks at`)
  }
  if (Object.keys(leases).length !== running) wrong.push('there are leases of nobody')
  for (const [field, count] of Object.entries(counted)) {
    const completed = field.startsWith('r') ? Number(counted[`c${field.slice(1)}`] ?? 0) : 0
    if (/^[pr]/.test(field) && Number(count) - completed !== (counts[field] ?? 0))
      wrong.push(`${field} is counted as ${count}`)
    delete counts[field]
  }
  for (const [field, count] of Object.entries(counts)) if (count > 0) wrong.push(`${field} is not counted`)
  return wrong
}

test('a ticket that is there more than once gives its run out once', async () => {
  const { engine, raw, tag } = await store()
  const drafts = Array.from({ length: 20 }, () => draft())
  await engine.admit(drafts)
  const lane = `${tag}l:0:0:job`
  const first = (await raw.lindex(lane, 0)) as string
  await raw.multi().linsert(lane, 'AFTER', first, first).rpush(lane, first).exec()
  const claimed = [
    ...(await engine.claim(want({ limit: 12 }))).claimed,
    ...(await engine.claim(want({ limit: 12 }))).claimed,
  ]
  expect(claimed.map(({ entry }) => entry.id).sort()).toEqual(drafts.map(({ id }) => id).sort())
  expect(await contradictions(raw, tag)).toEqual([])
})

test('whatever was called, in whichever order: each ready run has a ticket, each running one a lease', async () => {
  const { engine, open, raw, tag } = await store()
  const engines = [engine, (await open()).engine]
  const keys = Array.from({ length: 25 }, () => draft())
  const known: Draft[] = []
  let held: Claimed[] = []
  const pick = <T>(items: readonly T[]): T => items[randomInt(items.length)] as T
  for (let step = 0; step < 600; step++) {
    const by = pick(engines)
    const dice = randomInt(20)
    if (dice < 7) {
      const drafts = Array.from({ length: 1 + randomInt(5) }, () =>
        again(pick(keys), {
          name: pick(['job', 'b']),
          queue: pick(['default', 'other']),
          priority: randomInt(3) - 1,
          delayMs: pick([0, 0, 0, 5, 60_000]),
          refresh: randomInt(3) === 0,
          watch: randomInt(2) === 0,
          policy: {
            ...policy,
            resultTtlMs: pick([0, 20]),
            staleTtlMs: pick([0, 60_000]),
            failureTtlMs: pick([0, 20]),
          },
        }),
      )
      known.push(...drafts)
      await by.admit(drafts)
    } else if (dice < 12) {
      const { claimed } = await by.claim(
        want({ names: ['job', 'b'], limit: 1 + randomInt(6), leaseMs: pick([1, 60_000]) }),
      )
      held.push(...claimed)
    } else if (dice < 17 && held.length > 0) {
      const ending = held.splice(0, 1 + randomInt(4))
      const outcomes = ending.map(({ entry, token }) => {
        const lease = { id: entry.id, token }
        const kind = pick(['completed', 'completed', 'failed', 'retry', 'released'] as const)
        if (kind === 'completed') return { ...lease, kind, result: pick(['1', 'x'.repeat(2_000)]) }
        if (kind === 'failed') return { ...lease, kind, error: '{}' }
        return kind === 'released'
          ? { ...lease, kind }
          : { ...lease, kind, error: '{}', delayMs: pick([0, 5, 60_000]) }
      })
      const { claimed } = await by.settle(outcomes, randomInt(2) === 0 ? want({ limit: 3 }) : undefined)
      held.push(...claimed)
    } else if (dice === 17 && known.length > 0) {
      await by.cancel([pick(known).id, pick(known).id], '{}')
    } else if (dice === 18) {
      await by.invalidate({ keys: [pick(keys).id.slice(0, 64), pick(keys).id.slice(0, 64)] })
    } else {
      await by.sweep(10)
      held = held.filter(() => randomInt(3) > 0)
    }
  }
  expect(await contradictions(raw, tag)).toEqual([])
})

test('a queued task takes no more than 280 bytes, everything counted', async () => {
  const own = await startRedis()
  cleanups.push(() => own.stop())
  const raw = await commands(own.url)
  const engine = new RedisEngine({ url: own.url })
  cleanups.push(
    () => engine.close(),
    () => raw.disconnect(),
  )
  const used = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
  const hourAndDay = { ...policy, resultTtlMs: 3_600_000, retentionMs: 86_400_000 }
  const params = '{"year":2024,"format":"xlsx"}'
  const one = (): Draft => draft({ name: 'report.generate', params, policy: hourAndDay })
  const admit = () => engine.admit(Array.from({ length: 1_000 }, one))
  // The first ones pay for scripts and buffers.
  for (let round = 0; round < 5; round++) await admit()
  const before = await used()
  for (let round = 0; round < 95; round++) await admit()
  await vi.waitFor(async () => expect(((await used()) - before) / 95_000).toBeLessThanOrEqual(280), 5_000)
}, 60_000)

test('stale tickets are passed over by claims and cleared by sweeps', async () => {
  const { engine, raw, tag } = await store()
  const drafts = Array.from({ length: 3_000 }, () => draft())
  for (let at = 0; at < 3_000; at += 1_000) await engine.admit(drafts.slice(at, at + 1_000))
  const stay = new Set([5, 1_500, 2_999].map((index) => drafts[index]?.id))
  const going = drafts.filter(({ id }) => !stay.has(id)).map(({ id }) => id)
  for (let at = 0; at < going.length; at += 1_000) await engine.cancel(going.slice(at, at + 1_000))
  const length = (): Promise<number> => raw.llen(`${tag}l:0:0:job`)
  expect(await length()).toBeGreaterThan(512)
  for (let round = 0; round < 5; round++) await engine.sweep(10)
  expect(await length()).toBeLessThanOrEqual(1_000)
  const { claimed } = await engine.claim(want({ limit: 10 }))
  expect(new Set(claimed.map(({ entry }) => entry.id))).toEqual(stay)
  expect(await raw.exists(`${tag}l:0:0:job`, `${tag}lanes`)).toBe(0)
})

test('an id that was damaged moves no other that is claimed with it', async () => {
  const { engine, raw, tag } = await store()
  const [bad, good] = [draft(), draft()]
  await engine.admit([bad, good])
  const key = `${tag}e:${shortKey(bad.id.slice(0, 64))}`
  await raw.setrange(key, 9, '!!')
  const { claimed } = await engine.claim(want({ limit: 9 }))
  const found = claimed.find(({ entry }) => entry.id === good.id)
  expect(found).toBeDefined()
  const token = found?.token as string
  expect(await engine.settle([{ id: good.id, token, kind: 'completed', result: '1' }])).toMatchObject({
    answers: ['settled'],
  })
})

test('keys of another type harm no other, and are reported', async () => {
  const { engine, raw, tag, hints } = await store()
  const [bad, worse, good] = [draft(), draft(), draft()]
  await engine.admit([bad, worse, good])
  const key = ({ id }: Draft): string => `${tag}e:${shortKey(id.slice(0, 64))}`
  await raw.multi().del(key(bad)).rpush(key(bad), 'a list').set(key(worse), 'x'.repeat(300)).exec()
  expect((await engine.read([bad.id, good.id])).map((run) => run?.id)).toEqual([undefined, good.id])
  const claims = await engine.claim(want({ limit: 9 }))
  expect(claims.claimed.map(({ entry }) => entry.id)).toEqual([good.id])
  expect(claims.malformed?.map(({ id }) => id.slice(0, 64)).sort()).toEqual(
    [bad, worse].map(({ id }) => id.slice(0, 64)).sort(),
  )
  await vi.waitFor(() => expect(hints.filter(({ kind }) => kind === 'trouble')).toHaveLength(2))
  await raw.multi().del(key(bad)).sadd(key(bad), 'a set').exec()
  expect((await engine.admit([again(bad), again(good)])).map(({ outcome }) => outcome)).toEqual([
    'created',
    'joined',
  ])
  expect(await raw.type(`${tag}malformed:${shortKey(bad.id.slice(0, 64))}`)).toBe('set')
  expect((await engine.count()).lanes).toEqual([{ queue: 'default', name: 'job', pending: 1, running: 1 }])
})

test('a text that looks like a fresh result and is none harms no other draft of its batch', async () => {
  const { engine, raw, tag } = await store()
  const [bad, good] = [draft(), draft()]
  const fresh = `c${'A'.repeat(16)}${'1'.repeat(13)}`
  for (const rest of [
    `zzzz${'9'.repeat(13 * 5 + 12)};`,
    `0003${'9'.repeat(13 * 5 + 12)}`,
    `0003${'9'.repeat(13 * 5 + 12)};abc`,
  ]) {
    await raw.set(`${tag}e:${shortKey(bad.id.slice(0, 64))}`, fresh + rest)
    const verdicts = await engine.admit([again(bad), again(good)])
    expect(verdicts[0]?.outcome).toBe('created')
    expect(verdicts[1]?.entry.status).toBe('pending')
  }
})

test('one run wakes one of those who wait, and whoever has gone is passed over', async () => {
  const { engine, open, raw, tag } = await store()
  const waiting = await Promise.all(Array.from({ length: 4 }, open))
  for (const { engine: one } of waiting) await one.claim(want())
  const [, idle] = (await raw.keys(`${tag.replace(/[{}]/g, '?')}idle:*`)).concat('').reverse()
  await raw.sadd(idle as string, 'ghost1', 'ghost2', 'ghost3')
  const heard = (): number =>
    waiting.flatMap(({ hints }) => hints).filter(({ kind }) => kind === 'work').length
  await engine.admit([draft()])
  await vi.waitFor(() => expect(heard()).toBe(1))
  await engine.admit([draft({ delayMs: 60_000 })])
  await vi.waitFor(() => expect(heard()).toBe(2))
  await engine.admit([draft(), draft(), draft(), draft(), draft()])
  await vi.waitFor(() => expect(heard()).toBe(4))
  expect(await raw.exists(idle as string)).toBe(0)
})

test('whoever waits on in a store that was emptied is told of work', async () => {
  const { engine, open, raw, tag } = await store()
  const { engine: waiting, hints } = await open()
  for (let round = 1; round <= 5; round++) {
    await waiting.claim(want())
    await raw.del(...(await raw.keys(`${tag.replace(/[{}]/g, '?')}*`)))
    // Longer than one who waits is known to, and far shorter than until it looks again by itself.
    await sleep(20)
    await waiting.claim(want())
    const before = hints.length
    await engine.admit([draft()])
    await vi.waitFor(() => expect(hints.slice(before).map(({ kind }) => kind)).toContain('work'), 500)
    await waiting.claim(want())
  }
})

test('a run that is handed to one who has gone is in its first attempt for the next', async () => {
  const { engine, open, raw, tag } = await store()
  const { engine: waiting } = await open()
  const taken: Claimed[] = []
  for (let round = 1; round <= 5; round++) {
    await waiting.claim(want({ take: (claimed) => void taken.push(claimed) }))
    const [idle] = await raw.keys(`${tag.replace(/[{}]/g, '?')}idle:*`)
    // Whom Redis picks first is chance: in one of five rounds it is a ghost.
    await raw.sadd(idle as string, ...Array.from({ length: 9 }, (_, n) => `ghost${round}0${n}.1`))
    await engine.admit([draft()])
    await vi.waitFor(() => expect(taken).toHaveLength(round))
    expect(taken.at(-1)?.entry).toMatchObject({ status: 'running', attempt: 1 })
    await raw.del(idle as string)
  }
  const ends = await waiting.settle(
    taken.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' })),
  )
  expect(ends.answers).toEqual(taken.map(() => 'settled'))
  expect((await engine.read(taken.map(({ entry }) => entry.id))).map((run) => run?.attempt)).toEqual([
    1, 1, 1, 1, 1,
  ])
})

test('closing takes back what an instance waited for', async () => {
  const { open, raw, tag } = await store()
  const { engine } = await open()
  await engine.claim(want())
  const pattern = `${tag.replace(/[{}]/g, '?')}idle:*`
  expect(await raw.keys(pattern)).toHaveLength(1)
  await engine.close()
  expect(await raw.keys(pattern)).toHaveLength(0)
})

test('the number of shards is fixed by whoever opens a store first', async () => {
  const url = sharedUrl('redis')
  const prefix = newPrefix()
  const opened = async (shards?: number): Promise<RedisEngine> => {
    const engine = new RedisEngine({ url, prefix, ...(shards === undefined ? {} : { shards }) })
    cleanups.push(() => engine.close())
    await engine.open()
    return engine
  }
  const drafts = Array.from({ length: 30 }, () => draft())
  await (await opened(3)).admit(drafts)
  await expect(opened(4)).rejects.toMatchObject({ code: 'STORE_MISMATCH' })
  expect((await (await opened()).claim(want({ limit: 50 }))).claimed).toHaveLength(30)
})

test('a store of another layout is refused, and left as it is', async () => {
  const url = sharedUrl('redis')
  const prefix = newPrefix()
  const raw = await commands(url)
  await raw.set(`${prefix}:store`, '1 1')
  const engine = new RedisEngine({ url, prefix })
  await expect(engine.open()).rejects.toMatchObject({ code: 'STORE_MISMATCH' })
  await engine.close()
  expect(await raw.get(`${prefix}:store`)).toBe('1 1')
  raw.disconnect()
})

test('a large batch of large params and results goes through in parts', async () => {
  const { engine } = await store()
  const drafts = Array.from({ length: 20 }, (_, index) =>
    draft({ params: `"${String(index).repeat(500_000)}"` }),
  )
  expect((await engine.admit(drafts)).every(({ outcome }) => outcome === 'created')).toBe(true)
  const { claimed } = await engine.claim(want({ limit: 20 }))
  expect(claimed.map(({ entry }) => entry.params)).toEqual(drafts.map(({ params }) => params))
  const { answers } = await engine.settle(
    claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: entry.params })),
  )
  expect(answers).toEqual(Array(20).fill('settled'))
  expect((await engine.read([drafts[7]?.id as string]))[0]?.result).toBe(drafts[7]?.params)
}, 30_000)

test('text of every sort comes back, in params, names, queues and follow-ups', async () => {
  const { engine } = await store()
  const odd = 'ünï 🎉;,:|{"a":[],"n":12345678901234567890}\n\u0000"\\ud800"'
  const parent = draft({ name: odd, queue: `q${odd}`, params: odd, extra: odd })
  const follow = draft({
    id: parent.id.slice(0, 8) + draft().id.slice(8),
    name: `${odd}2`,
    params: odd,
    extra: odd,
  })
  await engine.admit([{ ...parent, then: [{ on: 'both', draft: follow }] }])
  const { claimed } = await engine.claim(want({ names: [odd], queues: [`q${odd}`] }))
  expect(claimed[0]?.entry).toMatchObject({ name: odd, queue: `q${odd}`, params: odd, extra: odd })
  const { token } = claimed[0] as Claimed
  const settled = await engine.settle(
    [{ id: parent.id, token, kind: 'failed', error: odd }],
    want({ names: [`${odd}2`] }),
  )
  expect(settled.claimed[0]?.entry).toMatchObject({
    params: odd,
    extra: odd,
    parent: { name: odd, value: odd },
  })
  expect((await engine.count()).lanes).toEqual([
    { queue: 'default', name: `${odd}2`, pending: 0, running: 1 },
  ])
  // Half a character can't be stored; it must not keep the rest from being so.
  const half = { ...draft({ id: parent.id.slice(0, 8) + draft().id.slice(8), params: 'a\ud800b\udc00' }) }
  await engine.admit([
    { ...draft({ id: parent.id.slice(0, 8) + draft().id.slice(8) }), then: [{ on: 'both', draft: half }] },
  ])
  expect(longId(shortId(parent.id))).toBe(parent.id)
})

test.each(['redis', 'cluster', 'sentinel'] as const)(
  'a process that closes its engine ends by itself (%s)',
  async (kind) => {
    const script = `
    const { RedisEngine } = await import(${JSON.stringify(new URL('../../src/engines/redis/index.ts', import.meta.url))})
    const engine = new RedisEngine({ url: ${JSON.stringify(sharedUrl(kind))}, prefix: '${newPrefix()}' })
    await engine.claim({ names: ['x'], limit: 1, leaseMs: 1_000 })
    await engine.close()
    const closed = Date.now()
    process.on('exit', () => console.log(Date.now() - closed))`
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script]
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 15_000 })
    // ioredis gives a socket 2 s to close, and nothing may wait for that.
    expect(Number(stdout)).toBeLessThan(1_500)
  },
)

test('ends of one batch bring their texts along, whatever is written in them; what is large is read by its id', async () => {
  const { engine: asking, hints, open } = await store()
  const { engine: working } = await open()
  const results = ['1', '"é"', '"\u{1f600} 字"', `"${'x'.repeat(1_500)}"`, `"${'ü'.repeat(500)}"`]
  // More than goes into one message.
  results.push(...Array.from({ length: 100 }, (_, n) => `"${n}${'y'.repeat(1_000)}"`))
  const drafts = results.map((_, n) => draft({ params: `"ä${n}"`, watch: true }))
  await asking.admit(drafts)
  const { claimed } = await working.claim(want({ limit: 200 }))
  const resultOf = ({ entry }: Claimed): string =>
    results[drafts.findIndex(({ id }) => id === entry.id)] as string
  await working.settle(
    claimed.map((one) => ({
      id: one.entry.id,
      token: one.token,
      kind: 'completed',
      result: resultOf(one),
      claim: one,
    })),
  )
  const ends = (): Extract<Hint, { kind: 'ended' }>[] => hints.filter((hint) => hint.kind === 'ended')
  await vi.waitFor(() => expect(ends()).toHaveLength(105))
  const told = drafts.map(({ id }) => ends().find((hint) => hint.id === id)?.run)
  expect(told.map((run) => run?.result)).toEqual(results.map((result, n) => (n === 3 ? undefined : result)))
  const read = await asking.read(drafts.map(({ id }) => id))
  expect(read.map((run) => run?.result)).toEqual(results)
  for (const [n, run] of told.entries()) if (run !== undefined) expect(read[n]).toMatchObject({ ...run })
})
