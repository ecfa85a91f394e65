// Conformance: what becomes ready while somebody waits, whether the engine hands it over or hints that it is there.
import assert from 'node:assert/strict'
import type { Claimed, Engine, Want } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { eventually } from './scene.ts'

export interface Waiting {
  engine: Engine
  got: Claimed[]
  handed: number
  /** No more looks; what is handed over all the same counts. */
  done: boolean
  look(): Promise<void>
}

/** Waits for work as a worker does: claims, and claims again when it hears of some. */
export async function wait(s: Scene, engine: Engine, more: Partial<Want> = {}): Promise<Waiting> {
  const waiting: Waiting = { engine, got: [], handed: 0, done: false, look }
  const want = s.want({
    limit: 5,
    ...more,
    take: (claimed) => {
      waiting.handed++
      waiting.got.push(claimed)
      void look()
    },
  })
  async function look(): Promise<void> {
    if (waiting.done) return
    const { claimed } = await engine.claim(want)
    waiting.got.push(...claimed)
    // Only who found too little is told of more.
    if (claimed.length === want.limit) await look()
  }
  engine.listen(({ kind }) => {
    if (kind === 'work' || kind === 'changed') look().catch(() => {})
  })
  await look()
  return waiting
}

/** Polling is the truth, where nothing is handed over and no hint comes. */
const POLL_AFTER_MS = 300

export async function reached(
  what: string,
  waiting: readonly Waiting[],
  holds: () => boolean,
): Promise<void> {
  const start = performance.now()
  await eventually(what, async () => {
    if (holds()) return true
    if (performance.now() - start > POLL_AFTER_MS) for (const { look } of waiting) await look()
    return holds()
  })
}

const all = (waiting: readonly Waiting[]): Claimed[] => waiting.flatMap(({ got }) => got)

export const HAND_OVER: Cases = {
  async 'one run reaches one of those who wait, whole, and ends like any other'(s) {
    const waiting = await Promise.all((await s.connections(3)).map((engine) => wait(s, engine)))
    const draft = s.draft({ params: '{"ü":1}', extra: 'x', watch: true, policy: { maxAttempts: 4 } })
    assert.equal((await s.admit(draft)).outcome, 'created')
    await reached('one has it', waiting, () => all(waiting).length > 0)
    const [claimed] = all(waiting) as [Claimed]
    assert.equal(claimed.entry.id, draft.id)
    assert.equal(claimed.entry.status, 'running')
    assert.equal(claimed.entry.attempt, 1)
    assert.equal(claimed.entry.params, '{"ü":1}')
    assert.equal(claimed.entry.extra, 'x')
    assert.deepEqual(claimed.entry.policy, draft.policy)
    assert.deepEqual(await s.read(draft.id), claimed.entry)
    assert.equal(await s.complete(claimed, '"ö"'), 'settled')
    assert.equal((await s.read(draft.id)).result, '"ö"')
    assert.equal(all(waiting).length, 1)
    assert.deepEqual((await s.engine.count()).lanes, [])
  },

  async 'many runs, one after the other: each reaches exactly one'(s) {
    const waiting = await Promise.all((await s.connections(3)).map((engine) => wait(s, engine)))
    const drafts = Array.from({ length: 30 }, () => s.draft())
    for (const draft of drafts) await s.admit(draft)
    await reached('all were claimed', waiting, () => all(waiting).length >= 30)
    assert.deepEqual(new Set(all(waiting).map(({ entry }) => entry.id)).size, 30)
    const tokens = new Set(all(waiting).map(({ token }) => token))
    assert.equal(tokens.size, 30)
    for (const { engine, got } of waiting) {
      const outcomes = got.map(
        ({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' }) as const,
      )
      const { answers } = await engine.settle(outcomes)
      assert.deepEqual(new Set(answers), new Set(outcomes.length === 0 ? [] : ['settled']))
    }
    const { lanes, totals } = await s.engine.count()
    assert.deepEqual(lanes, [])
    assert.equal(totals.completed, 30)
  },

  async 'given back: pending again, its attempt not counted, and found by others'(s) {
    const [one, two] = await s.pair()
    const waiting = await wait(s, one, { limit: 1 })
    const draft = s.draft()
    await s.admit(draft)
    await reached('it has it', [waiting], () => waiting.got.length > 0)
    const [{ token }] = waiting.got as [Claimed]
    await one.settle([{ id: draft.id, token, kind: 'released' }])
    const claimed = await s.claim({}, two)
    // The one who gave it back may have been first to hear of it again.
    const again = claimed[0] ?? waiting.got[1]
    await eventually('somebody has it again', () => again !== undefined || waiting.got.length > 1)
    const now = (again ?? waiting.got[1]) as Claimed
    assert.equal(now.entry.id, draft.id)
    assert.equal(now.entry.attempt, 1)
    assert.notEqual(now.token, token)
    assert.equal(
      await s.settle({ id: draft.id, token, kind: 'completed', result: '1' }),
      'settled',
      'a repeated one',
    )
    assert.equal((await s.read(draft.id)).status, 'running')
  },

  async 'whoever wants none any more waits for none'(s) {
    const [one, two] = await s.pair()
    const [first, second] = [await wait(s, one), await wait(s, two)]
    first.done = true
    assert.deepEqual((await one.claim(s.want({ limit: 0 }))).claimed, [])
    const draft = s.draft()
    await s.admit(draft)
    await reached('the other has it', [second], () => second.got.length === 1)
    assert.equal(first.got.length, 0)
  },

  async 'one instance may wait for several kinds of work'(s) {
    const engine = await s.connect()
    const one = await wait(s, engine, { names: ['one'] })
    const two = await wait(s, engine, { names: ['two'] })
    await s.admit(s.draft({ name: 'one' }))
    await reached('the first has it', [one], () => one.got.length === 1)
    await s.admit(s.draft({ name: 'two' }))
    await reached('so has the second', [two], () => two.got.length === 1)
    await engine.claim(s.want({ names: ['two'], limit: 0 }))
    await s.admit(s.draft({ name: 'one' }))
    await reached('the first has another', [one], () => one.got.length === 2)
  },

  async 'the last attempt is never handed over'(s) {
    const waiting = await wait(s, await s.connect())
    await s.admit(s.draft({ policy: { maxAttempts: 1 } }))
    await reached('it was claimed', [waiting], () => waiting.got.length > 0)
    assert.equal(waiting.handed, 0)
  },

  async 'a lease that was handed over ends like any other'(s) {
    const waiting = await wait(s, await s.connect(), { leaseMs: s.units(1) })
    const draft = s.draft()
    await s.admit(draft)
    await reached('it was claimed', [waiting], () => waiting.got.length > 0)
    await s.advance(1.2)
    const { requeued } = await s.engine.sweep(10)
    assert.deepEqual(requeued, [draft.id])
    assert.equal(await s.complete(waiting.got[0] as Claimed), 'lost')
  },

  async 'what reaches one who is closing is not lost until its lease ends'(s) {
    const other = await s.connect()
    for (let round = 0; round < 5; round++) {
      const leaving = await s.connect()
      await leaving.claim(
        s.want({ take: (claimed) => assert.fail(`closed, and handed ${claimed.entry.id}`) }),
      )
      const draft = s.draft()
      await Promise.all([leaving.close(), s.admit(draft)])
      let claimed: Claimed[] = []
      await eventually('another claims it', async () => {
        claimed = await s.claim({}, other)
        return claimed.length > 0
      })
      assert.equal(claimed[0]?.entry.id, draft.id)
      await s.complete(claimed[0] as Claimed)
    }
  },
}
