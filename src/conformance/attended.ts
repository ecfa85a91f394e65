// Conformance: runs that end when nobody asks for them any more.
import assert from 'node:assert/strict'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf, newKey } from './scene.ts'

export const ATTENDED: Cases = {
  async 'a pending run that nobody asks for any more is cancelled, and says why'(s) {
    const draft = s.draft({ watch: true, attended: { ms: s.units(3), running: false } })
    const other = s.draft({ name: 'other' })
    await s.engine.admit([draft, other])
    const { heard } = hearing(s.engine)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [])
    await s.advance(3)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [draft.id])
    const run = await s.read(draft.id)
    assert.equal(run.status, 'cancelled')
    assert.equal(JSON.parse(run.errors.at(-1) as string).error.code, 'ABANDONED')
    await eventually('the end is told', () => heard('ended', draft.id))
    assert.equal((await s.claim({ names: ['job', 'other'], limit: 5 })).length, 1)
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.engine.count()).totals.cancelled, 1)
  },

  async 'asking for it keeps it: by reading, by watching, by joining'(s) {
    const attended = { ms: s.units(4), running: false }
    const draft = s.draft({ attended })
    await s.admit(draft)
    for (const ask of [
      () => s.engine.read([draft.id]),
      () => s.engine.read([draft.id], true),
      () => s.admit(s.draft({ key: keyOf(draft), attended })),
      () => s.engine.read([keyOf(draft)]),
    ]) {
      await s.advance(2.5)
      await ask()
      assert.deepEqual((await s.engine.sweep(10)).abandoned, [])
    }
    await s.advance(4)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [draft.id])
  },

  async 'one who wants it kept keeps it for good, and of two the more patient counts'(s) {
    const kept = s.draft({ attended: { ms: s.units(2), running: true } })
    const longer = s.draft({ attended: { ms: s.units(2), running: true } })
    await s.engine.admit([kept, longer])
    await s.admit(s.draft({ key: keyOf(kept) }))
    await s.admit(s.draft({ key: keyOf(longer), attended: { ms: s.units(6), running: false } }))
    await s.admit(s.draft({ key: keyOf(longer), attended: { ms: s.units(1), running: true } }))
    await s.advance(3)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [])
    const claimed = await s.claim({ limit: 5 })
    assert.equal(claimed.length, 2)
    await s.advance(7)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [], 'one of those who asked lets it run on')
  },

  async 'a run that may be cut short is cancelled while it runs; another runs on'(s) {
    const [worker] = await s.connections(1)
    assert.ok(worker)
    const ear = hearing(worker)
    const cut = s.draft({ attended: { ms: s.units(3), running: true } })
    const through = s.draft({ attended: { ms: s.units(3), running: false } })
    await s.engine.admit([cut, through])
    const claimed = await s.claim({ limit: 2 }, worker)
    assert.equal(claimed.length, 2)
    await s.advance(3)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [cut.id])
    await eventually('its worker hears of it', () => ear.heard('cancelled', cut.id))
    for (const claim of claimed)
      assert.equal(await s.complete(claim, '1', worker), claim.entry.id === cut.id ? 'lost' : 'settled')
  },

  async 'those that run on do not stand in the way of one that is cut short, however few a sweep may take'(
    s,
  ) {
    const through = { ms: s.units(1), running: false }
    const cut = s.draft({ attended: { ms: s.units(1.5), running: true } })
    // Of one shard, where a store has several.
    const others = Array.from({ length: 5 }, () =>
      s.draft({ key: keyOf(cut).slice(0, 8) + newKey().slice(8), attended: through }),
    )
    await s.engine.admit([...others, cut])
    assert.equal((await s.claim({ limit: 6 })).length, 6)
    await s.advance(1.5)
    assert.deepEqual((await s.engine.sweep(1)).abandoned, [cut.id])
  },

  async 'of two that depend on being asked for, one behind the other, both are cancelled, and counted once each'(
    s,
  ) {
    const attended = { ms: s.units(3), running: true }
    const first = s.draft({ attended })
    await s.admit(first)
    await s.claimOne()
    const behind = s.draft({ key: keyOf(first), attended, onDuplicate: { running: 'rerunAfter' } })
    assert.equal((await s.admit(behind)).outcome, 'created')
    await s.advance(3)
    const abandoned = [...(await s.engine.sweep(10)).abandoned, ...(await s.engine.sweep(10)).abandoned]
    assert.deepEqual(abandoned.sort(), [first.id, behind.id].sort())
    for (const { id } of [first, behind]) assert.equal((await s.read(id)).status, 'cancelled')
    assert.equal((await s.claim()).length, 0)
    const { lanes, totals } = await s.engine.count()
    assert.deepEqual(lanes, [])
    assert.equal(totals.cancelled, 2)
  },

  async 'what has ended is not cancelled, and two sweeps cancel once'(s) {
    const engines = await s.connections(3)
    const attended = { ms: s.units(3), running: true }
    const done = s.draft({ name: 'done', attended })
    await s.completed(done)
    await s.engine.admit(Array.from({ length: 20 }, () => s.draft({ attended })))
    await s.advance(3)
    const swept = await Promise.all(engines.map((engine) => engine.sweep(100)))
    assert.equal(swept.flatMap(({ abandoned }) => abandoned).length, 20)
    assert.equal((await s.read(done.id)).status, 'completed')
    assert.equal((await s.claim({ limit: 30 })).length, 0)
  },

  async 'a refresh behind a stale result depends on nobody'(s) {
    const policy = { resultTtlMs: 0, staleTtlMs: s.units(40) }
    const attended = { ms: s.units(2), running: true }
    const draft = s.draft({ policy, attended })
    await s.completed(draft)
    const { refreshId } = await s.admit(s.draft({ key: keyOf(draft), policy, attended }))
    await s.advance(3)
    assert.deepEqual((await s.engine.sweep(10)).abandoned, [])
    assert.equal((await s.claimOne()).entry.id, refreshId)
  },
}
