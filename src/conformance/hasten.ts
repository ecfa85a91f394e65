// Conformance: bringing forward what waits for a later moment.
import assert from 'node:assert/strict'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

export const HASTEN: Cases = {
  async 'what is delayed, or waits for its next attempt, is due at once'(s) {
    const delayed = s.draft({ delayMs: s.units(40) })
    const tried = s.draft()
    await s.admit(tried)
    const { entry, token } = await s.claimOne()
    await s.settle({ id: entry.id, token, kind: 'retry', error: '{}', delayMs: s.units(40) })
    await s.admit(delayed)
    assert.deepEqual(await s.claim({ limit: 5 }), [])
    assert.deepEqual(await s.engine.promote([delayed.id, tried.id]), ['due', 'due'])
    const claimed = await s.claim({ limit: 5 })
    assert.deepEqual(
      claimed.map(({ entry: { id, attempt } }) => [id, attempt]).sort(),
      [
        [delayed.id, 1],
        [tried.id, 2],
      ].sort(),
    )
    assert.deepEqual(await s.claim({ limit: 5 }), [], 'each once')
    assert.deepEqual(
      (await s.engine.count()).lanes.map(({ pending, running }) => [pending, running]),
      [[0, 2]],
    )
  },

  async 'what is due already keeps its place, unless its priority rises'(s) {
    const drafts = [s.draft(), s.draft(), s.draft()].map((draft) => ({
      ...draft,
      id: `00000000${draft.id.slice(8)}`,
    }))
    for (const draft of drafts) {
      await s.admit(draft)
      await s.advance(0.01)
    }
    const [first, second, third] = drafts.map(({ id }) => id) as [string, string, string]
    await s.engine.promote([second])
    await s.engine.promote([third], 7)
    await s.engine.promote([third], 3)
    const claimed = await s.claim({ limit: 5 })
    assert.deepEqual(
      claimed.map(({ entry: { id, priority } }) => [id, priority]),
      [
        [third, 7],
        [first, 0],
        [second, 0],
      ],
    )
  },

  async 'what runs, has ended, or never was is left as it is'(s) {
    const done = s.draft()
    await s.completed(done)
    const failed = s.draft()
    await s.failed(failed)
    const cancelled = s.draft()
    await s.admit(cancelled)
    await s.engine.cancel([cancelled.id])
    const running = s.draft()
    await s.admit(running)
    const claimed = await s.claimOne()
    const before = await s.engine.read([done.id, failed.id, cancelled.id, running.id])
    const unknown = s.draft({ key: keyOf(done) }).id
    const ids = [done.id, failed.id, cancelled.id, running.id, unknown]
    assert.deepEqual(await s.engine.promote(ids, 9), ['ended', 'ended', 'ended', 'running', 'unknown'])
    assert.deepEqual(await s.engine.read([done.id, failed.id, cancelled.id, running.id]), before)
    assert.equal(await s.complete(claimed), 'settled')
    assert.deepEqual(await s.claim({ limit: 5 }), [])
    assert.deepEqual(await s.engine.promote([]), [])
  },

  async 'whoever waits for work hears of it'(s) {
    const draft = s.draft({ delayMs: s.units(1_000) })
    await s.admit(draft)
    const worker = await s.connect()
    const { heard } = hearing(worker)
    assert.deepEqual(await s.claim({}, worker), [])
    await s.engine.promote([draft.id])
    await eventually('it is told that there is work', () => heard('work'))
    assert.equal((await s.claimOne({}, worker)).entry.id, draft.id)
  },

  async 'what waits behind another run goes on waiting for its end'(s) {
    const first = s.draft()
    await s.admit(first)
    const claimed = await s.claimOne()
    const behind = s.draft({
      key: keyOf(first),
      delayMs: s.units(1_000),
      onDuplicate: { running: 'rerunAfter' },
    })
    assert.equal((await s.admit(behind)).outcome, 'created')
    assert.deepEqual(await s.engine.promote([behind.id], 2), ['due'])
    assert.deepEqual(await s.claim({ limit: 5 }), [])
    await s.complete(claimed)
    const { entry } = await s.claimOne()
    assert.deepEqual([entry.id, entry.priority], [behind.id, 2])
  },

  async 'race: hastened by many, claimed by many, each run begins once'(s) {
    const drafts = Array.from({ length: 20 }, () => s.draft({ delayMs: s.units(1_000) }))
    await s.engine.admit(drafts)
    const engines = await Promise.all([s.connect(), s.connect(), s.connect()])
    const ids = drafts.map(({ id }) => id)
    const claimed: string[] = []
    await Promise.all(
      engines.flatMap((engine, at) => [
        (async () => {
          for (const id of at === 0 ? ids : ids.toReversed()) await engine.promote([id], at)
        })(),
        (async () => {
          const all = (): boolean => claimed.length >= drafts.length
          await eventually('all of them are claimed', async () => {
            for (const { entry } of await s.claim({ limit: 3 }, engine)) claimed.push(entry.id)
            return all()
          })
        })(),
      ]),
    )
    assert.deepEqual(claimed.sort(), ids.sort())
    const { lanes } = await s.engine.count()
    assert.deepEqual(
      lanes.map(({ pending, running }) => [pending, running]),
      [[0, 20]],
    )
  },
}
