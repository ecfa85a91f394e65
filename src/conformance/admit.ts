// Conformance: every row of the table of what `admit` decides.
import assert from 'node:assert/strict'
import { MAX_BATCH, REFRESH_PRIORITY } from '../contract/engine.ts'
import type { Cases } from './scene.ts'
import { keyOf, newKey } from './scene.ts'

export const ADMIT: Cases = {
  async 'a new key is created: pending, under the id that was asked for'(s) {
    const draft = s.draft({ params: '{"a":1}', queue: 'reports', priority: 3, extra: '{"timeoutMs":5}' })
    const { outcome, entry, sameParams } = await s.admit(draft)
    assert.equal(outcome, 'created')
    assert.equal(sameParams, true)
    const stored = await s.read(draft.id)
    for (const run of [entry, stored]) {
      assert.equal(run.id, draft.id)
      assert.equal(run.name, 'job')
      assert.equal(run.queue, 'reports')
      assert.equal(run.status, 'pending')
      assert.equal(run.priority, 3)
      assert.equal(run.attempt, 0)
      assert.deepEqual(run.errors, [])
      assert.equal(run.result, undefined)
      assert.ok(run.createdAt > 0 && run.dueAt >= run.createdAt)
    }
    assert.equal(stored.params, '{"a":1}')
    assert.equal(stored.extra, '{"timeoutMs":5}')
    assert.deepEqual(stored.policy, draft.policy)
  },

  async 'a live key is joined: the answer is the stored run, never the caller’s copy'(s) {
    const first = s.draft({ params: '{"a":1}' })
    await s.admit(first)
    const second = s.draft({ key: keyOf(first), params: '{"a":2}', queue: 'other' })
    const pending = await s.admit(second)
    assert.equal(pending.outcome, 'joined')
    assert.equal(pending.entry.id, first.id)
    assert.equal(pending.entry.queue, 'default')
    assert.equal(pending.entry.status, 'pending')
    await s.claimOne()
    const running = await s.admit(s.draft({ key: keyOf(first) }))
    assert.equal(running.outcome, 'joined')
    assert.equal(running.entry.status, 'running')
    assert.equal(running.entry.attempt, 1)
    assert.ok(await s.gone(second.id))
    assert.equal((await s.read(first.id)).params, '{"a":1}')
  },

  async 'the same draft again is answered as at first, and adds nothing'(s) {
    const draft = s.draft({ policy: { resultTtlMs: 0 } })
    await s.admit(draft)
    const again = await s.admit(draft)
    assert.equal(again.outcome, 'created')
    assert.equal(again.entry.id, draft.id)
    const claimed = await s.claim({ limit: 10 })
    assert.equal(claimed.length, 1)
    const running = await s.admit(draft)
    assert.equal(running.outcome, 'created')
    assert.equal(running.entry.status, 'running')
    await s.complete(claimed[0] as (typeof claimed)[0])
    assert.equal((await s.admit(draft)).entry.status, 'completed')
    const next = s.draft({ key: keyOf(draft) })
    assert.equal((await s.admit(next)).outcome, 'created')
    const aside = await s.admit(draft)
    assert.equal(aside.outcome, 'created', 'a superseded run is found as well')
    assert.equal(aside.entry.id, draft.id)
    assert.equal((await s.claim({ limit: 10 })).length, 1)
  },

  async 'a fresh result is a hit, and its text comes back to the letter'(s) {
    for (const result of [
      'null',
      '{"$deferq":["undefined"]}',
      '',
      '"ünïcödé 🎉 \\u0000"',
      '[]',
      `"${'x'.repeat(200_000)}"`,
    ]) {
      const draft = s.draft()
      await s.completed(draft, result)
      const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft) }))
      assert.equal(outcome, 'hit')
      assert.equal(entry.id, draft.id)
      assert.equal(entry.status, 'completed')
      assert.equal(entry.result, result)
      assert.ok((entry.freshUntil as number) > (entry.finishedAt as number))
      assert.equal((await s.read(draft.id)).result, result)
    }
  },

  async 'params come back to the letter'(s) {
    for (const params of ['{}', '{"t":"ünïcödé 🎉 \\n\\u0000"}', `{"t":"${'y'.repeat(100_000)}"}`]) {
      const draft = s.draft({ params })
      await s.admit(draft)
      const claimed = await s.claimOne()
      assert.equal(claimed.entry.params, params)
      await s.complete(claimed)
      assert.equal((await s.read(draft.id)).params, params)
    }
  },

  async 'refresh runs anew while the old result goes on answering the others'(s) {
    const draft = s.draft()
    await s.completed(draft, '1')
    const refresh = s.draft({ key: keyOf(draft), refresh: true })
    const refreshed = await s.admit(refresh)
    assert.equal(refreshed.outcome, 'created')
    assert.equal(refreshed.entry.id, refresh.id)
    const hit = await s.admit(s.draft({ key: keyOf(draft) }))
    assert.equal(hit.outcome, 'hit')
    assert.equal(hit.entry.result, '1')
    assert.equal(hit.entry.id, draft.id)
    const joined = await s.admit(s.draft({ key: keyOf(draft), refresh: true }))
    assert.equal(joined.outcome, 'joined')
    assert.equal(joined.entry.id, refresh.id)
    await s.complete(await s.claimOne(), '2')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).entry.result, '2')
    assert.equal((await s.read(draft.id)).result, '1', 'the superseded run answers under its id')
    assert.equal((await s.read(refresh.id)).result, '2')
  },

  async 'a stale result is answered at once, and one refresh of low priority follows'(s) {
    const policy = { resultTtlMs: s.units(1), staleTtlMs: s.units(40) }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    await s.advance(1)
    const first = s.draft({ key: keyOf(draft), policy })
    const stale = await s.admit(first)
    assert.equal(stale.outcome, 'stale')
    assert.equal(stale.entry.id, draft.id)
    assert.equal(stale.entry.result, '1')
    assert.equal(stale.refreshId, first.id)
    assert.deepEqual((await s.admit(first)).refreshId, first.id, 'a repeated command')
    const second = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(second.outcome, 'stale')
    assert.equal(second.refreshId, first.id)
    const claimed = await s.claim({ limit: 10 })
    assert.equal(claimed.length, 1)
    assert.equal(claimed[0]?.entry.priority, REFRESH_PRIORITY)
    assert.equal((await s.admit(s.draft({ key: keyOf(draft), policy }))).outcome, 'stale')
    await s.complete(claimed[0] as (typeof claimed)[0], '2')
    const hit = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(hit.outcome, 'hit')
    assert.equal(hit.entry.result, '2')
  },

  async 'a result that is too old even as a stale one is computed anew'(s) {
    const policy = { resultTtlMs: s.units(0.5), staleTtlMs: s.units(0.5) }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    await s.advance(1)
    const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(outcome, 'created')
    assert.notEqual(entry.id, draft.id)
    assert.equal((await s.read(draft.id)).result, '1', 'kept for its retention')
  },

  async 'a refresh that fails leaves the stale result in place'(s) {
    const policy = { resultTtlMs: s.units(0.5), staleTtlMs: s.units(40) }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    await s.advance(0.5)
    await s.admit(s.draft({ key: keyOf(draft), policy }))
    await s.fail(await s.claimOne())
    const next = s.draft({ key: keyOf(draft), policy: { ...policy, failureTtlMs: s.units(40) } })
    const stale = await s.admit(next)
    assert.equal(stale.outcome, 'stale')
    assert.equal(stale.entry.result, '1')
    assert.equal(stale.refreshId, next.id, 'the failure is not remembered: tried again')
    await s.fail(await s.claimOne())
    const remembered = await s.admit(s.draft({ key: keyOf(draft), policy }))
    assert.equal(remembered.outcome, 'stale')
    assert.equal(remembered.refreshId, undefined, 'the failure is remembered: left in peace')
    assert.equal((await s.claim()).length, 0)
  },

  async 'a result that is not to be cached answers nobody, and can be read by its id'(s) {
    const draft = s.draft({ policy: { resultTtlMs: 0 } })
    await s.completed(draft, '1')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.read(draft.id)).result, '1')
  },

  async 'a failure frees the key, and is still answered for under its id'(s) {
    const draft = s.draft()
    await s.failed(draft, '{"error":{"message":"no"}}')
    const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft) }))
    assert.equal(outcome, 'created')
    assert.notEqual(entry.id, draft.id)
    const failed = await s.read(draft.id)
    assert.equal(failed.status, 'failed')
    assert.deepEqual(failed.errors, ['{"error":{"message":"no"}}'])
  },

  async 'a remembered failure is negative for its time, unless refresh asks anew'(s) {
    const policy = { failureTtlMs: s.units(2) }
    const draft = s.draft({ policy })
    await s.failed(draft, '{"error":{"message":"no"}}')
    const negative = await s.admit(s.draft({ key: keyOf(draft) }))
    assert.equal(negative.outcome, 'negative')
    assert.equal(negative.entry.id, draft.id)
    assert.equal(negative.entry.status, 'failed')
    assert.deepEqual(negative.entry.errors, ['{"error":{"message":"no"}}'])
    await s.advance(2)
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    const other = s.draft({ policy })
    await s.claimOne()
    await s.failed(other)
    assert.equal((await s.admit(s.draft({ key: keyOf(other), refresh: true }))).outcome, 'created')
  },

  async 'joining raises priority, brings the due time forward, and never lowers either'(s) {
    const draft = s.draft({ priority: 1, delayMs: s.units(20) })
    await s.admit(draft)
    assert.equal((await s.claim()).length, 0)
    const later = await s.admit(s.draft({ key: keyOf(draft), priority: -5, delayMs: s.units(30) }))
    assert.equal(later.outcome, 'joined')
    assert.equal(later.entry.priority, 1)
    const before = later.entry.dueAt
    const sooner = await s.admit(s.draft({ key: keyOf(draft), priority: 7, delayMs: s.units(10) }))
    assert.equal(sooner.entry.priority, 7)
    assert.ok(sooner.entry.dueAt < before)
    assert.equal((await s.claim()).length, 0)
    const other = s.draft({ priority: 6 })
    await s.admit(other)
    await s.admit(s.draft({ key: keyOf(draft) }))
    const claimed = await s.claim({ limit: 10 })
    assert.deepEqual(
      claimed.map(({ entry }) => entry.id),
      [draft.id, other.id],
      'the raised priority counts in the order, and each is there once',
    )
  },

  async 'a raised priority overtakes what was ahead, and is claimed once'(s) {
    const drafts = Array.from({ length: 5 }, () => s.draft())
    await s.engine.admit(drafts)
    const last = drafts[4] as (typeof drafts)[0]
    await s.admit(s.draft({ key: keyOf(last), priority: 1 }))
    const claimed = await s.claim({ limit: 10 })
    assert.equal(claimed.length, 5)
    assert.equal(claimed[0]?.entry.id, last.id)
    assert.equal(new Set(claimed.map(({ entry }) => entry.id)).size, 5)
  },

  async 'joining does not cut a back-off short'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const { entry, token } = await s.claimOne()
    await s.settle({ id: entry.id, token, kind: 'retry', error: '{}', delayMs: s.units(20) })
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'joined')
    assert.equal((await s.claim()).length, 0)
  },

  async 'joining can only lengthen the retention'(s) {
    const draft = s.draft({ policy: { resultTtlMs: 0, retentionMs: s.units(0.5) } })
    await s.admit(draft)
    await s.admit(s.draft({ key: keyOf(draft), policy: { retentionMs: s.units(40) } }))
    await s.admit(s.draft({ key: keyOf(draft), policy: { retentionMs: 0 } }))
    await s.complete(await s.claimOne())
    await s.advance(1)
    assert.equal((await s.read(draft.id)).status, 'completed')
  },

  async 'differing params under one key are told apart, or refused, where the caller asks for it'(s) {
    const draft = s.draft({ params: '{"a":1}' })
    const key = keyOf(draft)
    await s.admit(draft)
    assert.equal((await s.admit(s.draft({ key, params: '{"a":1}', onMismatch: 'reject' }))).outcome, 'joined')
    const joined = await s.admit(s.draft({ key, params: '{"a":2}', onMismatch: 'join' }))
    assert.equal(joined.outcome, 'joined')
    assert.equal(joined.sameParams, false)
    const follow = s.followUp(key, 'both')
    const refused = s.draft({ key, params: '{"a":2}', onMismatch: 'reject', priority: 9, then: [follow] })
    const rejected = await s.admit(refused)
    assert.equal(rejected.outcome, 'rejected')
    assert.equal(rejected.sameParams, false)
    assert.equal(rejected.entry.id, draft.id)
    assert.equal((await s.read(draft.id)).priority, 0)
    await s.complete(await s.claimOne(), '1')
    assert.ok(await s.gone(follow.draft.id), 'a refused caller attaches nothing')
    assert.equal(
      (await s.admit(s.draft({ key, params: '{"a":2}', onMismatch: 'reject' }))).outcome,
      'rejected',
    )
    const hit = await s.admit(s.draft({ key, params: '{"a":2}', onMismatch: 'join' }))
    assert.equal(hit.outcome, 'hit')
    assert.equal(hit.sameParams, false)
    assert.equal((await s.admit(s.draft({ key, params: '{"a":1}', onMismatch: 'join' }))).sameParams, true)
  },

  async 'a batch is answered in its order, the same key within it in turn'(s) {
    const drafts = Array.from({ length: 300 }, (_, index) => s.draft({ params: `{"i":${index}}` }))
    const twice = s.draft({ key: keyOf(drafts[7] as (typeof drafts)[0]) })
    const verdicts = await s.engine.admit([...drafts, twice])
    assert.equal(verdicts.length, 301)
    drafts.forEach((draft, index) => {
      assert.equal(verdicts[index]?.outcome, 'created')
      assert.equal(verdicts[index]?.entry.id, draft.id)
    })
    assert.equal(verdicts[300]?.outcome, 'joined')
    assert.equal(verdicts[300]?.entry.id, drafts[7]?.id)
    assert.deepEqual(await s.engine.admit([]), [])
  },

  async 'a batch over the bound is refused whole'(s) {
    const drafts = Array.from({ length: MAX_BATCH + 1 }, () => s.draft({ key: newKey() }))
    await assert.rejects(s.engine.admit(drafts), { code: 'INVALID_OPTION' })
    assert.equal((await s.claim()).length, 0)
    assert.equal((await s.engine.admit(drafts.slice(1))).length, MAX_BATCH)
  },
}
