// Conformance: leases, fencing by token, heartbeats and the recovery of what died with its worker.
import assert from 'node:assert/strict'
import type { Claimed } from '../contract/engine.ts'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

export const LEASES: Cases = {
  async 'a stale token changes nothing: the late outcome is lost, the newer one stands'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const late = await s.claimOne({ leaseMs: s.units(0.5) })
    await s.advance(0.5)
    assert.deepEqual((await s.engine.sweep(100)).requeued, [draft.id])
    const successor = await s.claimOne()
    assert.equal(successor.entry.attempt, 2)
    assert.equal(await s.complete(late, '"late"'), 'lost')
    assert.equal((await s.read(draft.id)).status, 'running')
    assert.equal(await s.fail(late), 'lost')
    assert.equal(
      await s.settle({ id: draft.id, token: late.token, kind: 'retry', error: '{}', delayMs: 0 }),
      'lost',
    )
    assert.equal(await s.settle({ id: draft.id, token: late.token, kind: 'released' }), 'lost')
    assert.deepEqual(await s.engine.extend([{ id: draft.id, token: late.token }], s.units(40)), ['lost'])
    assert.equal((await s.claim()).length, 0)
    assert.equal(await s.complete(successor, '"new"'), 'settled')
    assert.equal(await s.complete(late, '"late"'), 'lost')
    const run = await s.read(draft.id)
    assert.equal(run.result, '"new"')
    assert.equal(run.errors.length, 1)
    assert.match(run.errors[0] as string, /LEASE_LOST/)
    assert.equal((await s.engine.count()).totals.outcomesRefused, 5)
  },

  async 'what is renewed runs on as it was claimed, and ends so'(s) {
    await s.engine.admit([s.draft(), s.draft()])
    const claimed = await s.claim({ limit: 2 })
    const leases = claimed.map(({ entry, token }) => ({ id: entry.id, token }))
    assert.deepEqual(await s.engine.extend(leases, s.units(40)), ['held', 'held'])
    for (const { entry } of claimed) {
      const { status, attempt, startedAt } = await s.read(entry.id)
      assert.deepEqual(
        { status, attempt, startedAt },
        { status: 'running', attempt: 1, startedAt: entry.startedAt },
      )
    }
    assert.equal((await s.claim({ limit: 2 })).length, 0)
    for (const [index, lease] of leases.entries()) {
      const claim = claimed[index] as Claimed
      const outcome = { ...lease, kind: 'completed', result: '1' } as const
      assert.equal(await s.settle(index === 0 ? outcome : { ...outcome, claim }), 'settled')
    }
    const { lanes, totals } = await s.engine.count()
    assert.deepEqual([lanes, totals.completed], [[], 2])
  },

  async 'a stale token is lost before anybody has claimed anew, too'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const late = await s.claimOne({ leaseMs: s.units(0.5) })
    await s.advance(0.5)
    await s.engine.sweep(100)
    assert.equal(await s.complete(late), 'lost')
    assert.equal((await s.read(draft.id)).status, 'pending')
  },

  async 'a token that never was, and an id that never was, are lost'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const { token } = await s.claimOne()
    assert.equal(await s.settle({ id: draft.id, token: `${token}x`, kind: 'completed', result: '1' }), 'lost')
    assert.equal(await s.settle({ id: draft.id, token: '', kind: 'completed', result: '1' }), 'lost')
    const unknown = s.draft().id
    assert.equal(await s.settle({ id: unknown, token, kind: 'completed', result: '1' }), 'lost')
    assert.deepEqual(await s.engine.extend([{ id: unknown, token }], 1_000), ['lost'])
    assert.equal((await s.read(draft.id)).status, 'running')
  },

  async 'a repeated settle is answered as at first, and changes nothing'(s) {
    const draft = s.draft()
    const follow = s.followUp(keyOf(draft), 'both')
    await s.admit({ ...draft, then: [follow] })
    const first = await s.claimOne()
    const retry = { id: draft.id, token: first.token, kind: 'retry', error: '{"i":1}', delayMs: 0 } as const
    assert.equal(await s.settle(retry), 'settled')
    assert.equal(await s.settle(retry), 'settled')
    assert.deepEqual((await s.read(draft.id)).errors, ['{"i":1}'])
    const second = await s.claim({ limit: 5 })
    assert.equal(second.length, 1)
    assert.equal(second[0]?.entry.attempt, 2)
    const completed = {
      id: draft.id,
      token: second[0]?.token as string,
      kind: 'completed',
      result: '1',
    } as const
    assert.equal(await s.settle(completed), 'settled')
    assert.equal(await s.settle({ ...completed, result: '2' }), 'settled')
    assert.equal((await s.read(draft.id)).result, '1')
    assert.equal((await s.claim({ names: ['after'], limit: 5 })).length, 1)
    const { lanes, totals } = await s.engine.count()
    assert.equal(totals.completed, 1)
    assert.equal(totals.retried, 1)
    assert.deepEqual(lanes, [{ queue: 'default', name: 'after', pending: 0, running: 1 }])
    const released = s.draft()
    await s.admit(released)
    const { token } = await s.claimOne()
    assert.equal(await s.settle({ id: released.id, token, kind: 'released' }), 'settled')
    assert.equal(await s.settle({ id: released.id, token, kind: 'released' }), 'settled')
    assert.equal((await s.claim({ limit: 5 })).length, 1)
  },

  async 'outcomes of one batch are answered each for itself'(s) {
    await s.engine.admit([s.draft(), s.draft(), s.draft()])
    const claimed = await s.claim({ limit: 3 })
    const [a, b, c] = claimed.map(({ entry, token }) => ({ id: entry.id, token }))
    assert.ok(a && b && c)
    const { answers } = await s.engine.settle([
      { ...a, kind: 'completed', result: '1' },
      { ...b, token: 'stale', kind: 'completed', result: '1' },
      { ...c, kind: 'failed', error: '{}' },
    ])
    assert.deepEqual(answers, ['settled', 'lost', 'settled'])
    const runs = await s.engine.read([a.id, b.id, c.id])
    assert.deepEqual(
      runs.map((run) => run?.status),
      ['completed', 'running', 'failed'],
    )
  },

  async 'a heartbeat keeps the lease, and carries progress'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const { entry, token } = await s.claimOne({ leaseMs: s.units(1.5) })
    for (let beat = 0; beat < 4; beat++) {
      await s.advance(0.5)
      const lease = { id: entry.id, token, progress: `{"at":${beat}}` }
      assert.deepEqual(await s.engine.extend([lease], s.units(1.5)), ['held'])
      assert.deepEqual(await s.engine.sweep(100), { requeued: [], failed: [], abandoned: [], removed: 0 })
      assert.equal((await s.read(entry.id)).progress, `{"at":${beat}}`)
    }
    await s.engine.extend([{ id: entry.id, token }], s.units(1.5))
    assert.equal((await s.read(entry.id)).progress, '{"at":3}', 'a beat without progress leaves it')
    assert.equal(await s.complete({ entry, token }), 'settled')
  },

  async 'what died with its worker is claimable again, and fails once its attempts are spent'(s) {
    const draft = s.draft({ policy: { maxAttempts: 2 } })
    const other = s.draft({ name: 'other' })
    await s.engine.admit([{ ...draft, watch: true }, other])
    const { heard } = hearing(s.engine)
    await s.claimOne({ leaseMs: s.units(0.3) })
    assert.deepEqual((await s.engine.sweep(100)).requeued, [], 'not before its lease has expired')
    await s.advance(0.3)
    assert.deepEqual((await s.engine.sweep(100)).requeued, [draft.id])
    assert.equal((await s.read(draft.id)).status, 'pending')
    const second = await s.claimOne({ leaseMs: s.units(0.3) })
    assert.equal(second.entry.attempt, 2)
    await s.advance(0.3)
    const swept = await s.engine.sweep(100)
    assert.deepEqual(swept.failed, [draft.id])
    assert.deepEqual(swept.requeued, [])
    const failed = await s.read(draft.id)
    assert.equal(failed.status, 'failed')
    assert.equal(failed.errors.length, 2)
    await eventually('those who wait are told', () => heard('ended', draft.id))
    assert.equal(await s.complete(second), 'lost')
    assert.equal((await s.claim({ names: ['other'] })).length, 1, 'no other is harmed')
    assert.equal((await s.engine.count()).totals.leasesLost, 2)
  },

  async 'a sweep takes no more than its limit, and the next one goes on'(s) {
    await s.engine.admit([s.draft(), s.draft(), s.draft()])
    assert.equal((await s.claim({ limit: 3, leaseMs: s.units(0.2) })).length, 3)
    await s.advance(0.2)
    const counts: number[] = []
    for (let round = 0; round < 3; round++) counts.push((await s.engine.sweep(2)).requeued.length)
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      3,
    )
    assert.equal((await s.claim({ limit: 5 })).length, 3)
  },

  async 'no key times out while its run lives, however short its times are'(s) {
    const policy = { resultTtlMs: 1, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 1 }
    const [pending, running, retried] = [
      s.draft({ policy }),
      s.draft({ policy, name: 'b' }),
      s.draft({ policy, name: 'c' }),
    ]
    await s.engine.admit([pending, running, retried])
    const lease = await s.claimOne({ names: ['b'], leaseMs: s.units(20) })
    const { token } = await s.claimOne({ names: ['c'] })
    await s.settle({ id: retried.id, token, kind: 'retry', error: '{}', delayMs: s.units(20) })
    await s.advance(1)
    await s.engine.sweep(100)
    for (const draft of [pending, running, retried]) {
      const { outcome, entry } = await s.admit(s.draft({ key: keyOf(draft), name: draft.name, policy }))
      assert.equal(outcome, 'joined')
      assert.equal(entry.id, draft.id)
    }
    assert.equal(await s.complete(lease), 'settled')
    assert.equal((await s.claimOne()).entry.id, pending.id)
  },

  async 'a run that follows an ended one under its key does not inherit its end'(s) {
    const policy = { resultTtlMs: 0, retentionMs: s.units(0.5) }
    const draft = s.draft({ policy })
    await s.completed(draft)
    const next = s.draft({ key: keyOf(draft), policy })
    await s.admit(next)
    await s.advance(1)
    await s.engine.sweep(100)
    assert.equal((await s.admit(s.draft({ key: keyOf(draft), policy }))).entry.id, next.id)
    assert.equal((await s.claimOne()).entry.id, next.id)
  },
}
