// Conformance: a run that puts itself off again and again, and admits others as it does so: what schedules and batches are made of.
import assert from 'node:assert/strict'
import type { Claimed, Draft, Engine, Entry } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { keyOf, newKey } from './scene.ts'

const NAME = 'clockwork'
/** The last moment that a store has to keep. */
const FAR = 9_999_999_999_999

/** Due at once; its params count its ticks. */
const clockwork = (s: Scene): Draft =>
  s.draft({ name: NAME, params: '0', policy: { maxAttempts: 1_000_000 } })

/** The one draft of this tick, whoever makes it. */
function made(s: Scene, { id, params }: Entry): Draft {
  const key = id.slice(0, 8) + params.padStart(56, '0')
  return { ...s.draft({ params }), id: key + params.padStart(24, '0') }
}

async function tick(s: Scene, { entry, token }: Claimed, engine = s.engine, everyUnits = 1): Promise<string> {
  return s.settle(
    {
      id: entry.id,
      token,
      kind: 'released',
      dueAt: (entry.startedAt as number) + s.units(everyUnits),
      params: String(Number(entry.params) + 1),
      then: [made(s, entry)],
    },
    engine,
  )
}

const begin = (s: Scene, engine?: Engine, leaseMs = s.units(40)): Promise<Claimed[]> =>
  s.claim({ names: [NAME], limit: 10, leaseMs }, engine)

async function admitted(s: Scene): Promise<string[]> {
  const runs = await s.engine.read(await s.listed({ name: 'job' }))
  return runs.map((run) => String(run?.params)).sort()
}

export const TICKS: Cases = {
  async 'each tick is due in its time, and counts as no attempt'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    for (let count = 0; count < 3; count++) {
      const [claimed] = await begin(s)
      assert.ok(claimed, 'it should be due')
      assert.equal(claimed.entry.params, String(count))
      assert.equal(claimed.entry.attempt, 1)
      assert.equal(await tick(s, claimed, s.engine, 2), 'settled')
      assert.deepEqual(await begin(s), [], 'not before its time')
      assert.equal((await s.read(draft.id)).status, 'pending')
      await s.advance(2)
    }
    assert.deepEqual(await admitted(s), ['0', '1', '2'])
  },

  async 'of many who look at the same moment one ticks'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    const engines = await s.connections(8)
    for (let count = 0; count < 3; count++) {
      const found = await Promise.all(
        engines.map(async (engine) => {
          const claimed = await begin(s, engine)
          // Not due again before the slowest has looked, however slow that is.
          await Promise.all(claimed.map((each) => tick(s, each, engine, 1_000)))
          return claimed.length
        }),
      )
      assert.equal(
        found.reduce((sum, each) => sum + each, 0),
        1,
      )
      assert.deepEqual(await s.engine.promote([draft.id]), ['due'])
    }
    assert.deepEqual(await admitted(s), ['0', '1', '2'])
  },

  async 'a tick that is sent again changes nothing more'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    const [claimed] = (await begin(s)) as [Claimed]
    assert.equal(await tick(s, claimed), 'settled')
    assert.equal(await tick(s, claimed), 'settled')
    assert.equal((await s.read(draft.id)).params, '1')
    assert.deepEqual(await admitted(s), ['0'])
  },

  async 'what a tick makes is there already, running or ended: it is not made again'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    const [first] = (await begin(s)) as [Claimed]
    await tick(s, first)
    const job = await s.claimOne()
    // In its place stands one that knows nothing of that tick.
    for (const state of ['running', 'completed']) {
      if (state === 'completed') await s.complete(job)
      const again = { ...clockwork(s), id: keyOf(draft) + newKey().slice(0, 24) }
      await s.admit({ ...again, onDuplicate: { pending: 'supersede' } })
      const [claimed] = (await begin(s)) as [Claimed]
      assert.equal(await tick(s, claimed), 'settled')
      assert.equal((await s.read(job.entry.id)).status, state)
      assert.deepEqual(await s.claim(), [], 'nothing was made anew')
    }
    assert.deepEqual(await admitted(s), ['0'])
  },

  async 'who dies in the middle of a tick has made nothing, and the next one makes it'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    const [dead] = (await begin(s, s.engine, s.units(0.2))) as [Claimed]
    await s.advance(0.2)
    assert.deepEqual((await s.engine.sweep(10)).requeued, [draft.id])
    const [alive] = (await begin(s)) as [Claimed]
    assert.equal(await tick(s, dead), 'lost')
    assert.deepEqual(await admitted(s), [])
    assert.equal(await tick(s, alive), 'settled')
    assert.deepEqual(await admitted(s), ['0'])
  },

  async 'a tick whose run was superseded or cancelled makes nothing'(s) {
    const draft = clockwork(s)
    await s.admit(draft)
    const [first] = (await begin(s)) as [Claimed]
    const successor = { ...clockwork(s), id: keyOf(draft) + newKey().slice(0, 24) }
    const verdict = await s.admit({ ...successor, onDuplicate: { running: 'supersede' } })
    assert.equal(verdict.outcome, 'created')
    assert.equal(await tick(s, first), 'lost')
    const [second] = (await begin(s)) as [Claimed]
    assert.equal(second.entry.id, successor.id)
    await s.engine.cancel([successor.id])
    assert.equal(await tick(s, second), 'lost')
    assert.deepEqual(await admitted(s), [])
    assert.equal(await s.engine.read([keyOf(draft)]).then(([run]) => run?.status), 'cancelled')
  },

  async 'put off to the year 2286 it stays, and can be superseded by one that is due'(s) {
    const draft = clockwork(s)
    await s.admit({ ...draft, dueAt: FAR })
    assert.deepEqual(await begin(s), [])
    assert.equal((await s.read(draft.id)).dueAt, FAR)
    const now = { ...clockwork(s), id: keyOf(draft) + newKey().slice(0, 24) }
    await s.admit({ ...now, onDuplicate: { pending: 'supersede' } })
    const [claimed] = (await begin(s)) as [Claimed]
    await s.settle({ id: now.id, token: claimed.token, kind: 'released', dueAt: FAR })
    assert.deepEqual(await begin(s), [])
    await s.advance(1)
    assert.deepEqual(await begin(s), [])
  },
}
