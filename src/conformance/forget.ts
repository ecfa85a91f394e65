// Conformance: cancelling, invalidating, and what is still answered for how long.
import assert from 'node:assert/strict'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

export const FORGET: Cases = {
  async 'a pending run that is cancelled is never claimed, and frees its key'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, watch: true })
    const { heard } = hearing(s.engine)
    assert.deepEqual(await s.engine.cancel([draft.id], '{"error":{"message":"no"}}'), ['cancelled'])
    assert.equal((await s.claim({ limit: 5 })).length, 0)
    const cancelled = await s.read(draft.id)
    assert.equal(cancelled.status, 'cancelled')
    assert.ok((cancelled.finishedAt as number) >= cancelled.createdAt)
    assert.deepEqual(cancelled.errors, ['{"error":{"message":"no"}}'])
    await eventually('those who wait are told', () => heard('ended', draft.id))
    const next = s.draft({ key: keyOf(draft) })
    assert.equal((await s.admit(next)).outcome, 'created')
    assert.equal((await s.claimOne({ limit: 5 })).entry.id, next.id, 'once, though its key has queued before')
    assert.deepEqual(await s.engine.cancel([draft.id]), ['cancelled'], 'a repeated command')
    assert.equal((await s.read(next.id)).status, 'running', 'the successor is left alone')
  },

  async 'a delayed run that is cancelled does not come back when it would have been due'(s) {
    const draft = s.draft({ delayMs: s.units(0.5) })
    await s.admit(draft)
    await s.engine.cancel([draft.id])
    const next = s.draft({ key: keyOf(draft), delayMs: s.units(2) })
    await s.admit(next)
    await s.advance(1)
    assert.equal((await s.claim({ limit: 5 })).length, 0)
    await s.advance(1.2)
    assert.equal((await s.claimOne({ limit: 5 })).entry.id, next.id)
  },

  async 'a running run that is cancelled frees its key at once, and its worker learns of it'(s) {
    const [working] = await s.connections(1)
    assert.ok(working)
    const { heard } = hearing(working)
    const draft = s.draft()
    await s.admit(draft)
    const claimed = await s.claimOne({}, working)
    assert.deepEqual(await s.engine.cancel([draft.id]), ['cancelled'])
    await eventually('the worker hears it', () => heard('cancelled', draft.id))
    const lease = { id: draft.id, token: claimed.token }
    assert.deepEqual(await working.extend([lease], s.units(40)), ['cancelled'])
    assert.equal(await s.complete(claimed), 'lost')
    assert.equal((await s.read(draft.id)).status, 'cancelled')
    const next = s.draft({ key: keyOf(draft) })
    assert.equal((await s.admit(next)).outcome, 'created')
    assert.deepEqual(
      await working.extend([lease], s.units(40)),
      ['cancelled'],
      'also when it was moved aside',
    )
    assert.equal((await s.claimOne()).entry.id, next.id)
    await s.advance(0.1)
    assert.deepEqual((await s.engine.sweep(10)).requeued, [])
  },

  async 'cancelling what has ended, or never was, changes nothing and says so'(s) {
    const done = s.draft()
    await s.completed(done, '1')
    assert.deepEqual(await s.engine.cancel([done.id, s.draft().id]), ['ended', 'unknown'])
    assert.equal((await s.read(done.id)).result, '1')
  },

  async 'a cancelled refresh leaves the result in place'(s) {
    const draft = s.draft()
    await s.completed(draft, '1')
    const refresh = s.draft({ key: keyOf(draft), refresh: true })
    await s.admit(refresh)
    await s.engine.cancel([refresh.id])
    const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft) }))
    assert.equal(outcome, 'hit')
    assert.equal(entry.result, '1')
  },

  async 'an invalidated result answers nobody any more, but its id is still answered'(s) {
    const [draft, other] = [s.draft(), s.draft()]
    await s.completed(draft, '1')
    await s.completed(other, '2')
    const { heard } = hearing(s.engine)
    assert.equal(await s.engine.invalidate({ keys: [keyOf(draft), keyOf(s.draft())] }), 1)
    await eventually('everybody is told', () => heard('invalidated'))
    assert.equal((await s.read(draft.id)).result, '1')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.admit(s.draft({ key: keyOf(other) }))).outcome, 'hit')
    assert.equal(await s.engine.invalidate({ keys: [keyOf(draft)] }), 0)
  },

  async 'a stale result and one whose refresh is pending are forgotten as well'(s) {
    const policy = { resultTtlMs: 0, staleTtlMs: s.units(40) }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    const refresh = s.draft({ key: keyOf(draft), policy })
    assert.equal((await s.admit(refresh)).outcome, 'stale')
    assert.equal(await s.engine.invalidate({ keys: [keyOf(draft)] }), 1)
    const joined = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(joined.outcome, 'joined', 'what is pending has not looked at anything yet')
    assert.equal(joined.entry.id, refresh.id)
    assert.equal((await s.read(draft.id)).result, '1')
  },

  async 'invalidated while it runs: those who wait get their answer, nobody after them does'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, watch: true })
    const { heard } = hearing(s.engine)
    const old = await s.claimOne()
    assert.equal(await s.engine.invalidate({ keys: [keyOf(draft)] }), 1)
    assert.equal((await s.read(draft.id)).status, 'running')
    const next = s.draft({ key: keyOf(draft) })
    assert.equal((await s.admit(next)).outcome, 'created')
    const current = await s.claimOne()
    assert.equal(current.entry.id, next.id)
    assert.equal(await s.complete(current, '"new"'), 'settled')
    assert.equal(await s.complete(old, '"old"'), 'settled')
    await eventually('those who wait are told', () => heard('ended', draft.id))
    assert.equal((await s.read(draft.id)).result, '"old"')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).entry.result, '"new"')
  },

  async 'invalidated while it runs, with nobody asking meanwhile: its result is not cached'(s) {
    const draft = s.draft({ policy: { staleTtlMs: s.units(40) } })
    await s.admit(draft)
    const claimed = await s.claimOne()
    await s.engine.invalidate({ keys: [keyOf(draft)] })
    await s.complete(claimed, '"old"')
    assert.equal((await s.read(draft.id)).result, '"old"')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
  },

  async 'a run that was moved aside is retried, recovered, extended and cancelled as any other'(s) {
    const drafts = [s.draft(), s.draft({ name: 'b' }), s.draft({ name: 'c' })]
    const [retried, recovered, cancelled] = drafts as [
      (typeof drafts)[0],
      (typeof drafts)[0],
      (typeof drafts)[0],
    ]
    await s.engine.admit(drafts)
    const first = await s.claimOne()
    await s.claimOne({ names: ['b'], leaseMs: s.units(0.5) })
    const third = await s.claimOne({ names: ['c'] })
    assert.equal(await s.engine.invalidate({ keys: drafts.map(keyOf) }), 3)
    await s.engine.admit(drafts.map((draft) => s.draft({ key: keyOf(draft), name: 'successor' })))
    assert.deepEqual(
      await s.engine.extend([{ id: retried.id, token: first.token, progress: '1' }], s.units(40)),
      ['held'],
    )
    await s.settle({ id: retried.id, token: first.token, kind: 'retry', error: '{}', delayMs: 0 })
    const again = await s.claimOne()
    assert.equal(again.entry.id, retried.id)
    assert.equal(again.entry.attempt, 2)
    assert.equal(await s.complete(again, '1'), 'settled')
    await s.advance(0.5)
    assert.deepEqual((await s.engine.sweep(10)).requeued, [recovered.id])
    assert.equal((await s.claimOne({ names: ['b'] })).entry.id, recovered.id)
    assert.deepEqual(await s.engine.cancel([cancelled.id]), ['cancelled'])
    assert.equal(await s.complete(third), 'lost')
    assert.equal((await s.claim({ names: ['successor'], limit: 9 })).length, 3)
  },

  async 'invalidating a name forgets all of its results, and no other’s'(s) {
    const mine = [s.draft(), s.draft(), s.draft()]
    const other = s.draft({ name: 'other' })
    for (const draft of [...mine, other]) await s.completed(draft)
    assert.equal(await s.engine.invalidate({ name: 'job' }), 3)
    for (const draft of mine) assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.admit(s.draft({ key: keyOf(other), name: 'other' }))).outcome, 'hit')
  },

  async 'invalidating forgets a remembered failure'(s) {
    const draft = s.draft({ policy: { failureTtlMs: s.units(40) } })
    await s.failed(draft)
    assert.equal(await s.engine.invalidate({ keys: [keyOf(draft)] }), 1)
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.read(draft.id)).status, 'failed')
  },

  async 'an ended run is answered for its retention, or as long as its result counts, and then gone'(s) {
    const short = s.draft({ policy: { resultTtlMs: 0, retentionMs: s.units(0.5) } })
    const cached = s.draft({ policy: { resultTtlMs: s.units(40), retentionMs: 0 } })
    const stale = s.draft({ policy: { resultTtlMs: 0, staleTtlMs: s.units(40), retentionMs: 0 } })
    const failed = s.draft({ policy: { failureTtlMs: s.units(40), retentionMs: 0 } })
    const superseded = s.draft({ policy: { resultTtlMs: s.units(0.5), retentionMs: s.units(40) } })
    for (const draft of [short, cached, stale, superseded]) await s.completed(draft, '1')
    await s.failed(failed)
    await s.advance(1)
    await s.admit(s.draft({ key: keyOf(superseded) }))
    assert.ok(await s.gone(short.id))
    assert.equal((await s.admit(s.draft({ key: keyOf(short) }))).outcome, 'created')
    await s.engine.sweep(100)
    assert.ok(await s.gone(short.id))
    for (const draft of [cached, stale, superseded]) assert.equal((await s.read(draft.id)).result, '1')
    assert.equal((await s.read(failed.id)).status, 'failed')
  },

  async 'a result outlives the refreshes that fail after it'(s) {
    const policy = { resultTtlMs: 0, staleTtlMs: s.units(40), retentionMs: 0 }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    for (let round = 0; round < 2; round++) {
      assert.equal((await s.admit(s.draft({ key: keyOf(draft), policy }))).outcome, 'stale')
      await s.fail(await s.claimOne())
      await s.advance(0.2)
      await s.engine.sweep(100)
    }
    const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(outcome, 'stale')
    assert.equal(entry.result, '1')
  },
}
