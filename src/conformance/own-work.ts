// Conformance: what an instance admits while it waits for such work itself, which an engine may let it begin at once.
import assert from 'node:assert/strict'
import type { Claimed, Draft, Engine, Hint } from '../contract/engine.ts'
import { KEY_LENGTH } from '../contract/engine.ts'
import type { Waiting } from './hand-over.ts'
import { reached, wait } from './hand-over.ts'
import type { Cases, Scene } from './scene.ts'
import { eventually, hears, newKey } from './scene.ts'

/** An instance that waits for work, and that the case admits by. */
async function busy(s: Scene, more: Parameters<typeof wait>[2] = {}): Promise<[Engine, Waiting]> {
  const engine = await s.connect()
  return [engine, await wait(s, engine, more)]
}

/** Keys of one shard, where those that are ready come in order. */
function neighbours(): () => string {
  const start = newKey().slice(0, 8)
  return () => start + newKey().slice(8)
}

const idsOf = (claimed: readonly Claimed[]): string[] => claimed.map(({ entry }) => entry.id)

/** Of two that wait, one is told of the first; so the one that admits the second often waits on. */
async function comesFirst(s: Scene, rounds: number, make: () => Draft, afterUnits = 0): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const idle = await s.connect()
    await idle.claim(s.want({ take: ({ entry }) => assert.fail(`It was handed ${entry.id}.`) }))
    const [engine, waiting] = await busy(s)
    waiting.done = true
    const key = neighbours()
    const first = { ...make(), id: key() + make().id.slice(KEY_LENGTH) }
    await s.admit(first)
    if (afterUnits > 0) await s.advance(afterUnits)
    const second = s.draft({ key: key() })
    await s.admit(second, engine)
    assert.equal(waiting.handed, 0)
    const claimed: Claimed[] = []
    await eventually('both were claimed', async () => {
      claimed.push(...(await s.claim({ limit: 2 })))
      return claimed.length === 2
    })
    assert.deepEqual(new Set(idsOf(claimed)), new Set([first.id, second.id]))
    for (const each of claimed) assert.equal(await s.complete(each), 'settled')
    await idle.close()
    await engine.close()
  }
}

export const OWN_WORK: Cases = {
  async 'it reaches the one who waits, whole and once, is counted, and its end is told'(s) {
    const other = await wait(s, await s.connect())
    const [engine, waiting] = await busy(s)
    const ends: Hint[] = []
    engine.listen((hint) => {
      if (hint.kind === 'ended') ends.push(hint)
    })
    const draft = s.draft({ params: '{"ü":1}', extra: 'x', watch: true, policy: { maxAttempts: 4 } })
    assert.equal((await s.admit(draft, engine)).outcome, 'created')
    await reached('one has it', [waiting, other], () => waiting.got.length + other.got.length > 0)
    const [claimed] = [...waiting.got, ...other.got] as [Claimed]
    assert.equal(claimed.entry.id, draft.id)
    assert.equal(claimed.entry.status, 'running')
    assert.equal(claimed.entry.attempt, 1)
    assert.equal(claimed.entry.params, '{"ü":1}')
    assert.equal(claimed.entry.extra, 'x')
    assert.deepEqual(claimed.entry.policy, draft.policy)
    assert.deepEqual(await s.read(draft.id), claimed.entry)
    assert.deepEqual((await s.engine.count()).lanes, [
      { queue: draft.queue, name: draft.name, pending: 0, running: 1 },
    ])
    assert.equal(await s.complete(claimed, '"ö"', engine), 'settled')
    assert.equal((await s.read(draft.id)).result, '"ö"')
    assert.deepEqual((await s.engine.count()).lanes, [])
    assert.equal(waiting.got.length + other.got.length, 1)
    if (!hears(engine) && ends.length === 0) return
    await eventually('its end is told', () =>
      ends.some((hint) => hint.kind === 'ended' && hint.id === draft.id),
    )
  },

  async 'asked for again, it is joined while it runs, and a hit when it is done'(s) {
    const [engine, waiting] = await busy(s)
    const draft = s.draft()
    const key = draft.id.slice(0, KEY_LENGTH)
    await s.admit(draft, engine)
    await reached('it has it', [waiting], () => waiting.got.length > 0)
    assert.equal((await s.admit(s.draft({ key }), engine)).outcome, 'joined')
    assert.equal((await s.admit(draft, engine)).outcome, 'created', 'a repeated one')
    assert.equal(await s.complete(waiting.got[0] as Claimed, '1', engine), 'settled')
    await waiting.look()
    const again = await s.admit(s.draft({ key }), engine)
    assert.equal(again.outcome, 'hit')
    assert.equal(again.entry.result, '1')
    assert.deepEqual(idsOf(waiting.got), [draft.id])
  },

  async 'admitted again after it was moved aside, it is not run a second time'(s) {
    const [engine, waiting] = await busy(s)
    const draft = s.draft()
    await s.admit(draft, engine)
    await reached('it has it', [waiting], () => waiting.got.length > 0)
    await s.engine.invalidate({ keys: [draft.id.slice(0, KEY_LENGTH)] })
    await waiting.look()
    const again = await s.admit(draft, engine)
    assert.equal(again.entry.status, 'running')
    assert.equal(again.entry.id, draft.id)
    await waiting.look()
    assert.deepEqual(idsOf(waiting.got), [draft.id])
    assert.equal(await s.complete(waiting.got[0] as Claimed, '1', engine), 'settled')
  },

  async 'what was ready before it comes before it'(s) {
    // The last attempt is handed to nobody.
    await comesFirst(s, 6, () => s.draft({ policy: { maxAttempts: 1 } }))
  },

  async 'what has become due before it comes before it'(s) {
    await comesFirst(s, 3, () => s.draft({ delayMs: s.units(0.5) }), 0.7)
  },

  async 'what is delayed begins when it is due, and what follows another waits for that'(s) {
    const [engine, waiting] = await busy(s)
    const late = s.draft({ delayMs: s.units(0.5) })
    await s.admit(late, engine)
    assert.equal((await s.read(late.id)).status, 'pending')
    assert.equal(waiting.got.length, 0)
    await s.advance(0.7)
    await reached('it begins', [waiting], () => waiting.got.length === 1)
    assert.equal(await s.complete(waiting.got[0] as Claimed, '1', engine), 'settled')
    await waiting.look()
    const parent = s.draft()
    const then = s.followUp(parent.id.slice(0, KEY_LENGTH), 'success')
    parent.then = [then]
    await s.admit(parent, engine)
    await reached('the parent begins', [waiting], () => waiting.got.length === 2)
    assert.deepEqual(idsOf(waiting.got), [late.id, parent.id])
    assert.equal(await s.complete(waiting.got[1] as Claimed, '1', engine), 'settled')
    assert.equal((await s.claimOne({ names: ['after'] })).entry.id, then.draft.id)
  },

  async 'of a paused lane nothing begins'(s) {
    const [engine, waiting] = await busy(s)
    await s.engine.pause({ queue: 'default' }, true)
    const draft = s.draft()
    await s.admit(draft, engine)
    await waiting.look()
    assert.equal(waiting.got.length, 0)
    assert.equal((await s.read(draft.id)).status, 'pending')
    await s.engine.pause({ queue: 'default' }, false)
    await reached('it begins', [waiting], () => waiting.got.length === 1)
  },

  async 'the last attempt is never handed over'(s) {
    const [engine, waiting] = await busy(s)
    await s.admit(s.draft({ policy: { maxAttempts: 1 } }), engine)
    await reached('it was claimed', [waiting], () => waiting.got.length > 0)
    assert.equal(waiting.handed, 0)
  },

  async 'of a group as many begin as may'(s) {
    const limits = { job: { running: 1 } }
    const [engine, waiting] = await busy(s, { limits })
    const key = neighbours()
    for (let count = 0; count < 3; count++) await s.admit(s.draft({ key: key(), group: 'a' }), engine)
    await reached('one has begun', [waiting], () => waiting.got.length > 0)
    await waiting.look()
    assert.equal(waiting.got.length, 1)
    assert.equal(await s.complete(waiting.got[0] as Claimed, '1', engine), 'settled')
    await reached('the next begins', [waiting], () => waiting.got.length === 2)
  },

  async 'against one that another hands over at the same moment: both begin, under tokens of their own'(s) {
    for (let round = 0; round < 20; round++) {
      const [engine, waiting] = await busy(s)
      await Promise.all([s.admit(s.draft()), s.admit(s.draft(), engine)])
      await reached('both have begun', [waiting], () => waiting.got.length >= 2)
      assert.equal(new Set(waiting.got.map(({ token }) => token)).size, 2)
      assert.equal(new Set(idsOf(waiting.got)).size, 2)
      for (const claimed of waiting.got) assert.equal(await s.complete(claimed, '1', engine), 'settled')
      await engine.close()
    }
  },
}
