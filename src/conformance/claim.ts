// Conformance: what is claimed, in which order, by whom, and how an attempt ends.
import assert from 'node:assert/strict'
import type { AttemptOutcome, Claimed } from '../contract/engine.ts'
import { MAX_ERRORS } from '../contract/engine.ts'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

export const CLAIM: Cases = {
  async 'a claimed run is running, under a token of its own, with all that a worker needs'(s) {
    const drafts = [s.draft({ params: '{"a":1}', extra: 'x' }), s.draft({ params: '{"a":1}', extra: 'x' })]
    await s.engine.admit(drafts)
    const claimed = await s.claim({ limit: 5 })
    assert.equal(claimed.length, 2)
    assert.equal(new Set(claimed.map(({ token }) => token)).size, 2)
    for (const { entry } of claimed) {
      assert.equal(entry.status, 'running')
      assert.equal(entry.attempt, 1)
      assert.equal(entry.params, '{"a":1}')
      assert.equal(entry.extra, 'x')
      assert.deepEqual(entry.policy, drafts[0]?.policy)
      assert.ok((entry.startedAt as number) >= entry.createdAt)
      assert.equal((await s.read(entry.id)).status, 'running')
    }
    assert.equal((await s.claim({ limit: 5 })).length, 0)
  },

  async 'only the wanted names and queues are taken, and nothing over the limit'(s) {
    await s.engine.admit([
      s.draft({ name: 'a', queue: 'one' }),
      s.draft({ name: 'a', queue: 'two' }),
      s.draft({ name: 'b', queue: 'one' }),
      s.draft({ name: 'b', queue: 'one' }),
      s.draft({ name: 'c', queue: 'one' }),
    ])
    assert.equal((await s.claim({ names: ['none'], limit: 10 })).length, 0)
    assert.equal((await s.claim({ names: ['a'], queues: ['three'], limit: 10 })).length, 0)
    const one = await s.claim({ names: ['a', 'c'], queues: ['one'], limit: 10 })
    assert.deepEqual(one.map(({ entry }) => entry.name).sort(), ['a', 'c'])
    assert.equal((await s.claim({ names: ['b'], limit: 1 })).length, 1)
    const rest = await s.claim({ names: ['a', 'b', 'c'], queues: ['one', 'two'], limit: 10 })
    assert.deepEqual(rest.map(({ entry }) => `${entry.name} ${entry.queue}`).sort(), ['a two', 'b one'])
  },

  async 'what is delayed is claimable once it is due, and says when that is'(s) {
    const draft = s.draft({ delayMs: s.units(1) })
    const at = s.draft({ dueAt: (await s.admit(s.draft({ name: 'clock' }))).entry.createdAt + s.units(2) })
    await s.engine.admit([draft, at])
    const early = await s.engine.claim(s.want({ limit: 10 }))
    assert.equal(early.claimed.length, 0)
    assert.ok(early.nextDueMs !== undefined && early.nextDueMs > 0 && early.nextDueMs <= s.units(1))
    await s.advance(1)
    assert.equal((await s.claimOne({ limit: 10 })).entry.id, draft.id)
    await s.advance(1)
    assert.equal((await s.claimOne({ limit: 10 })).entry.id, at.id)
  },

  async 'a moment in the past is due now'(s) {
    const { entry } = await s.admit(s.draft({ dueAt: 1_000 }))
    assert.equal(entry.dueAt, entry.createdAt)
    assert.equal((await s.claimOne()).entry.id, entry.id)
  },

  async 'settling completes, and claims what is next in the same call'(s) {
    await s.engine.admit([s.draft(), s.draft(), s.draft()])
    let { claimed } = await s.engine.claim(s.want())
    for (let index = 0; index < 3; index++) {
      const [{ entry, token }] = claimed as [(typeof claimed)[0]]
      const settled = await s.engine.settle(
        [{ id: entry.id, token, kind: 'completed', result: `${index}` }],
        s.want(),
      )
      assert.deepEqual(settled.answers, ['settled'])
      assert.equal(settled.claimed.length, index < 2 ? 1 : 0)
      const run = await s.read(entry.id)
      assert.equal(run.status, 'completed')
      assert.equal(run.result, `${index}`)
      assert.ok((run.finishedAt as number) >= (run.startedAt as number))
      claimed = settled.claimed
    }
    assert.deepEqual((await s.engine.settle([])).answers, [])
  },

  async 'what a settlement makes ready can be claimed in that very call, or the next'(s) {
    const draft = s.draft()
    const follow = s.followUp(keyOf(draft), 'success')
    await s.admit({ ...draft, then: [follow] })
    const want = s.want({ names: ['job', 'after'], limit: 5 })
    let { claimed } = await s.engine.claim(want)
    const next = async (outcome: (claim: { id: string; token: string }) => AttemptOutcome): Promise<void> => {
      const [{ entry, token }] = claimed as [Claimed]
      const settled = await s.engine.settle([outcome({ id: entry.id, token })], want)
      assert.deepEqual(settled.answers, ['settled'])
      claimed = settled.claimed.length > 0 ? settled.claimed : (await s.engine.claim(want)).claimed
      assert.equal(claimed.length, 1)
    }
    await next((run) => ({ ...run, kind: 'retry', error: '{}', delayMs: 0 }))
    assert.equal(claimed[0]?.entry.attempt, 2)
    await next((run) => ({ ...run, kind: 'released' }))
    assert.equal(claimed[0]?.entry.attempt, 2)
    await next((run) => ({ ...run, kind: 'completed', result: '1' }))
    assert.equal(claimed[0]?.entry.id, follow.draft.id)
  },

  async 'a retry comes back after its delay, as the next attempt, with its error kept'(s) {
    const draft = s.draft()
    await s.admit(draft)
    const first = await s.claimOne()
    const error = '{"error":{"message":"once"}}'
    await s.settle({ id: draft.id, token: first.token, kind: 'retry', error, delayMs: s.units(1) })
    const waiting = await s.read(draft.id)
    assert.equal(waiting.status, 'pending')
    assert.deepEqual(waiting.errors, [error])
    assert.equal((await s.claim()).length, 0)
    await s.advance(1)
    const second = await s.claimOne()
    assert.equal(second.entry.attempt, 2)
    assert.notEqual(second.token, first.token)
    await s.complete(second, '1')
    const done = await s.read(draft.id)
    assert.equal(done.status, 'completed')
    assert.deepEqual(done.errors, [error], 'the history stays')
  },

  async 'the newest errors are kept, and no more than the bound'(s) {
    const draft = s.draft({ policy: { maxAttempts: 100 } })
    await s.admit(draft)
    const count = MAX_ERRORS + 3
    for (let index = 0; index < count; index++) {
      const { token } = await s.claimOne()
      await s.settle({ id: draft.id, token, kind: 'retry', error: `{"i":${index}}`, delayMs: 0 })
    }
    const { errors } = await s.read(draft.id)
    assert.deepEqual(
      errors,
      Array.from({ length: MAX_ERRORS }, (_, index) => `{"i":${index + count - MAX_ERRORS}}`),
    )
  },

  async 'a run may be put off, with other params; its attempt does not count, and what follows is admitted'(
    s,
  ) {
    const draft = s.draft({ params: '1' })
    await s.admit(draft)
    for (let round = 0; round < 5; round++) {
      const { entry, token } = await s.claimOne()
      assert.equal(entry.attempt, 1)
      assert.equal(entry.params, String(1 + round))
      const dueAt = (entry.startedAt as number) + s.units(3)
      const after = s.followUp(keyOf(draft), 'both').draft
      const outcome: AttemptOutcome = {
        id: draft.id,
        token,
        kind: 'released',
        dueAt,
        params: `${2 + round}`,
        then: [after],
      }
      assert.equal(await s.settle(outcome), 'settled')
      assert.equal(await s.settle(outcome), 'settled', 'repeated')
      assert.deepEqual(
        (await s.claim({ names: ['after'], limit: 5 })).map(({ entry: { id } }) => id),
        [after.id],
      )
      const { status, dueAt: at } = await s.read(draft.id)
      assert.deepEqual([status, at], ['pending', dueAt])
      const { claimed, nextDueMs } = await s.engine.claim(s.want())
      assert.equal(claimed.length, 0)
      assert.ok(nextDueMs !== undefined && nextDueMs <= s.units(3))
      await s.advance(3)
    }
    const joined = await s.admit(s.draft({ key: keyOf(draft) }))
    assert.equal(joined.entry.id, draft.id)
  },

  async 'a worker may cancel what it runs, with a reason'(s) {
    const draft = s.draft({ watch: true })
    draft.then = [s.followUp(keyOf(draft), 'failure'), s.followUp(keyOf(draft), 'success')]
    await s.admit(draft)
    const { heard } = hearing(s.engine)
    const { token } = await s.claimOne()
    const outcome: AttemptOutcome = { id: draft.id, token, kind: 'cancelled', error: '"not any more"' }
    assert.equal(await s.settle(outcome), 'settled')
    assert.equal(await s.settle(outcome), 'settled', 'repeated')
    const run = await s.read(draft.id)
    assert.deepEqual([run.status, run.errors], ['cancelled', ['"not any more"']])
    await eventually('the end is told', () => heard('ended', draft.id))
    const after = await s.claim({ names: ['after'], limit: 5 })
    assert.deepEqual(
      after.map(({ entry }) => [entry.parent?.status, entry.parent?.value]),
      [['cancelled', '"not any more"']],
    )
    assert.deepEqual((await s.engine.cancel([draft.id]))[0], 'cancelled')
    assert.equal((await s.admit(s.draft({ key: keyOf(draft) }))).outcome, 'created')
    assert.equal((await s.engine.count()).totals.cancelled, 1)
  },

  async 'a released run goes back to the head of its lane, and the attempt does not count'(s) {
    const drafts = [s.draft(), s.draft()].map((draft) => ({ ...draft, id: `00000000${draft.id.slice(8)}` }))
    for (const draft of drafts) {
      await s.admit(draft)
      await s.advance(0.01)
    }
    const first = await s.claimOne()
    assert.equal(await s.settle({ id: first.entry.id, token: first.token, kind: 'released' }), 'settled')
    const again = await s.claimOne()
    assert.equal(again.entry.id, first.entry.id)
    assert.equal(again.entry.attempt, 1)
    assert.deepEqual(again.entry.errors, [])
  },

  async 'a long backlog is claimed in bounded batches, each task once'(s) {
    const drafts = Array.from({ length: 700 }, () => s.draft())
    await s.engine.admit(drafts)
    const seen = new Set<string>()
    for (let round = 0; seen.size < 700; round++) {
      assert.ok(round < 100, 'every task should have been claimed by now')
      const claimed = await s.claim({ limit: 200 })
      assert.ok(claimed.length <= 200)
      for (const { entry } of claimed) {
        assert.ok(!seen.has(entry.id))
        seen.add(entry.id)
      }
    }
  },

  async 'a row that can’t be read is set aside and reported, and harms no other'(s) {
    if (!s.canCorrupt) return
    const [bad, good] = [s.draft(), s.draft()].map((draft) => ({
      ...draft,
      id: `00000000${draft.id.slice(8)}`,
    }))
    assert.ok(bad && good)
    await s.engine.admit([bad, good])
    await s.corrupt(bad.id)
    const reported: string[] = []
    const claimed: string[] = []
    for (let round = 0; round < 5; round++) {
      const claims = await s.engine.claim(s.want({ limit: 5 }))
      reported.push(...(claims.malformed ?? []).map(({ id }) => id))
      claimed.push(...claims.claimed.map(({ entry }) => entry.id))
    }
    assert.deepEqual(claimed, [good.id])
    assert.equal(reported.length, 1, 'reported once')
    assert.ok(bad.id.startsWith((reported[0] as string).slice(0, 64)), 'and by its name')
    const anew = await s.admit(s.draft({ key: keyOf(bad) }))
    assert.equal(anew.outcome, 'created', 'its key is free again')
  },

  async 'whoever found too little hears of work, one of those who wait'(s) {
    const [one, two] = await s.connections(2)
    assert.ok(one && two)
    const [first, second] = [hearing(one), hearing(two)]
    assert.equal((await s.claim({}, one)).length, 0)
    assert.equal((await s.claim({ names: ['other'] }, two)).length, 0)
    await s.admit(s.draft())
    await eventually('the one who wants it hears of work', () => first.heard('work'))
    await s.admit(s.draft({ name: 'other' }))
    await eventually('so does the other, of theirs', () => second.heard('work'))
  },

  async 'everything completes with no hint heard: polling is the truth'(s) {
    const [asking, working] = await s.connections(2)
    assert.ok(asking && working)
    const draft = s.draft({ watch: true })
    await s.admit(draft, asking)
    const claimed = await s.claimOne({}, working)
    await s.complete(claimed, '1', working)
    assert.equal((await s.read(draft.id, asking)).result, '1')
  },
}
