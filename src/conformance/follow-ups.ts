// Conformance: what follows a run is admitted in the very step in which it ends, and nobody's is dropped.
import assert from 'node:assert/strict'
import type { Draft, FollowUp, Parent } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { keyOf } from './scene.ts'

const ALL = ['success', 'failure', 'both'] as const

/** One follow-up of each kind for this draft; `names` of those that were admitted tell which fired. */
function oneOfEach(s: Scene, draft: Draft): FollowUp[] {
  return ALL.map((on) => s.followUp(keyOf(draft), on, { params: `"${on}"` }))
}

async function fired(s: Scene): Promise<{ on: string[]; parent: Parent | undefined }> {
  const claimed = await s.claim({ names: ['after'], limit: 100 })
  const on = claimed.map(({ entry }) => JSON.parse(entry.params) as string).sort()
  return { on, parent: claimed[0]?.entry.parent }
}

export const FOLLOW_UPS: Cases = {
  async 'a success fires its own and those for both, and tells them of the result'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, then: oneOfEach(s, draft) })
    const claimed = await s.claimOne()
    assert.deepEqual((await fired(s)).on, [], 'not before the end')
    await s.complete(claimed, '{"rows":1}')
    const { on, parent } = await fired(s)
    assert.deepEqual(on, ['both', 'success'])
    assert.deepEqual(parent, { id: draft.id, name: 'job', status: 'completed', value: '{"rows":1}' })
  },

  async 'a failure fires its own and those for both, and tells them of the last error'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, then: oneOfEach(s, draft) })
    const first = await s.claimOne()
    await s.settle({ id: draft.id, token: first.token, kind: 'retry', error: '{"i":1}', delayMs: 0 })
    assert.deepEqual((await fired(s)).on, [], 'a retry is no end')
    await s.fail(await s.claimOne(), '{"i":2}')
    const { on, parent } = await fired(s)
    assert.deepEqual(on, ['both', 'failure'])
    assert.deepEqual(parent, { id: draft.id, name: 'job', status: 'failed', value: '{"i":2}' })
  },

  async 'a cancellation fires what waits for failure'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, then: oneOfEach(s, draft) })
    await s.engine.cancel([draft.id], '{"error":{"message":"enough"}}')
    const { on, parent } = await fired(s)
    assert.deepEqual(on, ['both', 'failure'])
    assert.equal(parent?.status, 'cancelled')
    assert.equal(parent?.value, '{"error":{"message":"enough"}}')
  },

  async 'the end of a run whose workers all died fires what waits for failure'(s) {
    const draft = s.draft({ policy: { maxAttempts: 1 } })
    await s.admit({ ...draft, then: oneOfEach(s, draft) })
    await s.claimOne({ leaseMs: s.units(0.2) })
    await s.advance(0.2)
    assert.deepEqual((await s.engine.sweep(10)).failed, [draft.id])
    const { on, parent } = await fired(s)
    assert.deepEqual(on, ['both', 'failure'])
    assert.equal(parent?.status, 'failed')
    assert.match(parent?.value as string, /LEASE_LOST/)
  },

  async 'a duplicate’s count as much as the first caller’s, and once, however often they are sent'(s) {
    const draft = s.draft()
    await s.admit({ ...draft, then: oneOfEach(s, draft) })
    const pending = s.draft({ key: keyOf(draft) })
    const joining = { ...pending, then: oneOfEach(s, pending) }
    await s.admit(joining)
    await s.admit(joining)
    const claimed = await s.claimOne()
    const running = s.draft({ key: keyOf(draft) })
    await s.admit({ ...running, then: oneOfEach(s, running) })
    await s.complete(claimed)
    assert.deepEqual((await fired(s)).on, ['both', 'both', 'both', 'success', 'success', 'success'])
  },

  async 'attached to what has ended they fire at once, and once'(s) {
    const done = s.draft()
    await s.completed(done, '1')
    const hit = s.draft({ key: keyOf(done) })
    const asking = { ...hit, then: oneOfEach(s, hit) }
    assert.equal((await s.admit(asking)).outcome, 'hit')
    await s.admit(asking)
    const afterHit = await fired(s)
    assert.deepEqual(afterHit.on, ['both', 'success'])
    assert.deepEqual(afterHit.parent, { id: done.id, name: 'job', status: 'completed', value: '1' })

    const broken = s.draft({ policy: { failureTtlMs: s.units(40) } })
    await s.failed(broken, '{"i":1}')
    const negative = s.draft({ key: keyOf(broken) })
    assert.equal((await s.admit({ ...negative, then: oneOfEach(s, negative) })).outcome, 'negative')
    const afterNegative = await fired(s)
    assert.deepEqual(afterNegative.on, ['both', 'failure'])
    assert.equal(afterNegative.parent?.value, '{"i":1}')

    const policy = { resultTtlMs: 0, staleTtlMs: s.units(40) }
    const old = s.draft({ policy })
    await s.completed(old, '2')
    const stale = s.draft({ key: keyOf(old), policy })
    assert.equal((await s.admit({ ...stale, then: oneOfEach(s, stale) })).outcome, 'stale')
    const afterStale = await fired(s)
    assert.deepEqual(afterStale.on, ['both', 'success'])
    assert.equal(afterStale.parent?.value, '2')
    await s.complete(await s.claimOne())
    assert.deepEqual((await fired(s)).on, [], 'the refresh does not fire them again')
  },

  async 'one follow-up may follow another, in order'(s) {
    const draft = s.draft()
    const third = s.followUp(keyOf(draft), 'both', { params: '"third"', then: [] })
    const second = s.followUp(keyOf(draft), 'both', { params: '"second"', then: [third] })
    const first = s.followUp(keyOf(draft), 'success', {
      params: '"first"',
      then: [second],
      extra: '{"a":[]}',
    })
    await s.admit({ ...draft, then: [first] })
    await s.complete(await s.claimOne(), '1')
    const one = await s.claimOne({ names: ['after'], limit: 9 })
    assert.equal(one.entry.params, '"first"')
    assert.equal(one.entry.extra, '{"a":[]}')
    assert.deepEqual(one.entry.policy, first.draft.policy)
    await s.fail(one, '{"i":1}')
    const two = await s.claimOne({ names: ['after'], limit: 9 })
    assert.equal(two.entry.params, '"second"')
    assert.deepEqual(two.entry.parent, {
      id: first.draft.id,
      name: 'after',
      status: 'failed',
      value: '{"i":1}',
    })
    await s.complete(two, '2')
    const three = await s.claimOne({ names: ['after'], limit: 9 })
    assert.equal(three.entry.params, '"third"')
    await s.complete(three, '3')
    assert.deepEqual((await fired(s)).on, [])
  },

  async 'a chain may hear of one and the same end'(s) {
    const draft = s.draft()
    const third = { ...s.followUp(keyOf(draft), 'both', { params: '"third"' }), sameParent: true }
    const second = {
      ...s.followUp(keyOf(draft), 'both', { params: '"second"', then: [third] }),
      sameParent: true,
    }
    const first = s.followUp(keyOf(draft), 'success', { params: '"first"', then: [second] })
    await s.admit({ ...draft, then: [first] })
    await s.complete(await s.claimOne(), '1')
    for (const params of ['"first"', '"second"', '"third"']) {
      const claimed = await s.claimOne({ names: ['after'], limit: 9 })
      assert.equal(claimed.entry.params, params)
      assert.deepEqual(claimed.entry.parent, { id: draft.id, name: 'job', status: 'completed', value: '1' })
      await (params === '"first"' ? s.fail(claimed) : s.complete(claimed, '"other"'))
    }
  },

  async 'follow-ups keep their queue, priority and delay'(s) {
    const draft = s.draft()
    const slow = s.followUp(keyOf(draft), 'both', {
      delayMs: s.units(1),
      queue: 'late',
      priority: 4,
      params: '"slow"',
    })
    await s.admit({ ...draft, then: [slow] })
    await s.complete(await s.claimOne())
    const waiting = await s.read(slow.draft.id)
    assert.equal(waiting.status, 'pending')
    assert.equal(waiting.queue, 'late')
    assert.equal(waiting.priority, 4)
    assert.deepEqual((await fired(s)).on, [])
    await s.advance(1)
    assert.deepEqual((await fired(s)).on, ['slow'])
  },

  async 'an outcome’s own drafts are admitted with it, once, and not with a lost one'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const { token } = await s.claimOne()
    const { draft: next } = s.followUp(keyOf(draft), 'both')
    const { draft: never } = s.followUp(keyOf(draft), 'both')
    assert.equal(
      await s.settle({ id: draft.id, token: 'stale', kind: 'completed', result: '0', then: [never] }),
      'lost',
    )
    const outcome = { id: draft.id, token, kind: 'completed', result: '1', then: [next] } as const
    assert.equal(await s.settle({ ...outcome, then: [next] }), 'settled')
    assert.equal(await s.settle({ ...outcome, then: [next] }), 'settled')
    assert.ok(await s.gone(never.id))
    const claimed = await s.claimOne({ names: ['after'], limit: 9 })
    assert.equal(claimed.entry.id, next.id)
  },
}
