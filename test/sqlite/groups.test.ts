// Groups in the SQLite store: their counters never drift, they go when they are idle, and a crash gives their room back.
import { expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import type { AttemptOutcome, Claimed, Draft, Hint } from '../../src/contract/engine.ts'
import { child, draft, engineOn, keyFor, newFile, newId, POLICY, raw, violations } from './store.ts'

const NAMES = ['job', 'mail']
const LIMITS = { job: { running: 3 }, mail: { rate: { max: 5, perMs: 2_000 } } }
const want = (more: object = {}) => ({ names: NAMES, limit: 7, leaseMs: 5_000, limits: LIMITS, ...more })

/** The same numbers each time, from 0 to below 1. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test('after 3,000 random operations from two connections the store counts what really runs', {
  timeout: 60_000,
}, async () => {
  const file = newFile()
  let now = 1_750_000_000_000
  const engines = [
    await engineOn(file, { now: () => now }),
    await engineOn(file, { now: () => now }),
  ] as const
  const db = await raw(file)
  const random = numbers(20_061_113)
  const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const asked: string[] = []
  const held: Claimed[] = []
  const begun: { group: string; at: number }[] = []

  const someDraft = (): Draft => {
    const more: Partial<Draft> = {
      name: one(NAMES),
      priority: one([0, 0, 1, 2]),
      delayMs: one([0, 0, 0, 500]),
    }
    if (random() < 0.8) more.group = one(['a', 'b', 'c', ''])
    if (random() < 0.2) more.attended = { ms: 3_000, running: random() < 0.5 }
    const pending = one(['reject', 'replace', 'supersede', undefined] as const)
    const running = one(['reject', 'supersede', 'rerunAfter', 'rerunAfter', undefined] as const)
    more.onDuplicate = { ...(pending && { pending }), ...(running && { running }) }
    more.policy = { ...POLICY, resultTtlMs: one([0, 1_000]), retentionMs: 4_000, maxAttempts: 2 }
    more.queue = one(['default', 'other'])
    // A key belongs to one name and group, as it does above the contract.
    const made = draft({
      ...more,
      id: newId(keyFor(`${more.name} ${more.group} ${Math.floor(random() * 15)}`)),
    })
    if (random() < 0.2)
      made.then = [{ on: 'both', draft: draft({ name: 'job', group: 'a', policy: made.policy }) }]
    asked.push(made.id)
    return made
  }
  const outcomeOf = ({ entry: { id }, token }: Claimed): AttemptOutcome => {
    const kind = one(['completed', 'completed', 'failed', 'retry', 'released', 'cancelled'] as const)
    if (kind === 'completed') return { id, token, kind, result: '1' }
    if (kind === 'retry') return { id, token, kind, error: '{}', delayMs: one([0, 300]) }
    if (kind === 'released') return { id, token, kind, params: '"anew"', dueAt: now + one([0, 300]) }
    return { id, token, kind, error: '{}' }
  }
  const take = (claimed: readonly Claimed[]): void => {
    held.push(...claimed)
    for (const { entry } of claimed) {
      if (entry.name === 'mail' && entry.group !== undefined) begun.push({ group: entry.group, at: now })
    }
  }

  for (let round = 0; round < 1_500; round++) {
    now += Math.floor(random() * 120)
    // Both at once, so that their steps meet at the lock in either order.
    await Promise.all(
      engines.map(async (engine) => {
        const what = random()
        if (what < 0.4) await engine.admit(Array.from({ length: 1 + Math.floor(random() * 6) }, someDraft))
        else if (what < 0.6) take((await engine.claim(want())).claimed)
        else if (what < 0.85) {
          const outcomes = held.splice(0, Math.floor(random() * 6)).map(outcomeOf)
          take((await engine.settle(outcomes, random() < 0.5 ? want() : undefined)).claimed)
        } else if (what < 0.9) await engine.cancel([one(asked) ?? newId()], '{}')
        else if (what < 0.93) await engine.invalidate({ keys: [(one(asked) ?? newId()).slice(0, 64)] })
        else if (what < 0.96) await engine.read([one(asked) ?? newId()])
        else if (what < 0.98) await engine.pause(one([{ queue: 'other' }, { name: 'mail' }]), random() < 0.3)
        else await engine.sweep(50)
      }),
    )
    const most = db
      .prepare(
        `SELECT max(n) AS n FROM (SELECT count(*) AS n FROM runs r JOIN lanes l ON l.id = r.lane
         WHERE r.status = 1 AND l.grouping > 0 AND l.name = 'job' GROUP BY l.grouping)`,
      )
      .get() as { n: number | null }
    expect(most.n ?? 0, `round ${round}`).toBeLessThanOrEqual(3)
    if (round % 50 === 0) expect(violations(db), `round ${round}`).toEqual([])
  }
  expect(violations(db)).toEqual([])
  expect(begun.length, 'a good deal was begun under a rate').toBeGreaterThan(100)
  for (const { group, at } of begun) {
    const within = begun.filter((each) => each.group === group && each.at >= at && each.at < at + 2_000)
    expect(within.length, `begun in ${group} within 2 s`).toBeLessThanOrEqual(5)
  }

  // All is worked off, and nothing is left of it.
  const [engine] = engines
  for (const lanes of [{ queue: 'other' }, { name: 'mail' }]) await engine.pause(lanes, false)
  for (let round = 0; round < 2_000; round++) {
    now += 2_500
    await engine.sweep(1_000)
    const { claimed } = await engine.claim(want({ limit: 1_000 }))
    await engine.settle(
      claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed', result: '1' })),
    )
    if ((await engine.count()).lanes.length === 0) break
  }
  expect((await engine.count()).lanes).toEqual([])
  now += 60_000
  await engine.sweep(1_000)
  for (const table of ['runs', 'groups', 'begins', 'follow_ups'])
    expect(db.prepare(`SELECT count(*) AS n FROM ${table}`).get(), table).toEqual({ n: 0 })
})

test('what is blocked or busy is never gone through by a claim', async () => {
  const engine = await engineOn(newFile())
  const limits = { job: { running: 1 } }
  const time = async (): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 30; round++) {
      await engine.admit([draft({ group: `g${round % 3}` })])
      const began = performance.now()
      const { claimed } = await engine.claim({ names: ['job'], limit: 1, leaseMs: 60_000, limits })
      times.push(performance.now() - began)
      await engine.settle(
        claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed', result: '1' })),
      )
    }
    return times.sort((a, b) => a - b)[15] as number
  }
  const before = await time()
  for (let batch = 0; batch < 10; batch++)
    await engine.admit(Array.from({ length: 1_000 }, () => draft({ group: 'blocked', priority: 1 })))
  expect((await engine.claim({ names: ['job'], limit: 5, leaseMs: 60_000, limits })).claimed.length).toBe(1)
  expect(await time()).toBeLessThan(before * 5 + 1)
})

test('a worker that is killed while it holds a group gives the room back by the sweep', {
  timeout: 30_000,
}, async () => {
  const file = newFile()
  const engine = await engineOn(file)
  await engine.admit(Array.from({ length: 4 }, () => draft({ group: 'tenant' })))
  const holder = child('holder', file, 1_500)
  const { held } = (await holder.line('held')) as { held: string[] }
  expect(held.length).toBe(2)
  holder.process.kill('SIGKILL')
  await holder.ended.catch(() => undefined)
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  const wanted = { names: ['job'], limit: 10, leaseMs: 60_000, limits: { job: { running: 2 } } }
  expect((await engine.claim(wanted)).claimed).toEqual([])
  const requeued: string[] = []
  await eventually('the leases run out', async () => {
    requeued.push(...(await engine.sweep(100)).requeued)
    return requeued.length === 2
  })
  expect(requeued.sort()).toEqual(held.sort())
  await eventually('who waits hears of the room', () => hints.some(({ kind }) => kind === 'work'))
  expect((await engine.claim(wanted)).claimed.length).toBe(2)
  expect(violations(await raw(file))).toEqual([])
})

test('what waits behind a run that can’t be read comes forward', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const first = draft()
  await engine.admit([first])
  const wanted = { names: ['job'], limit: 10, leaseMs: 60_000 }
  await engine.claim(wanted)
  const second = draft({ id: newId(first.id.slice(0, 64)), onDuplicate: { running: 'rerunAfter' } })
  await engine.admit([second])
  const db = await raw(file)
  db.prepare("UPDATE runs SET errors = '[' WHERE id = ?").run(first.id)
  expect(await engine.read([first.id])).toEqual([undefined])
  expect((await engine.claim(wanted)).claimed.map(({ entry }) => entry.id)).toEqual([second.id])
  expect(violations(db)).toEqual([])
})
