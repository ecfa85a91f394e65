// Conformance: what a further draft does to a live run: joins, is rejected, replaces, supersedes it, or waits behind it.
import assert from 'node:assert/strict'
import type { Claimed, Draft, Policy } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

const DEBOUNCED: Partial<Draft> = {
  refresh: true,
  onDuplicate: { pending: 'replace', running: 'rerunAfter' },
}

type Asked = Omit<Partial<Draft>, 'policy'> & { policy?: Partial<Policy> }

const again = (s: Scene, first: Draft, draft: Asked): Draft => s.draft({ key: keyOf(first), ...draft })

const lastError = (errors: readonly string[]): { code?: string; details?: { by?: string } } =>
  JSON.parse(errors.at(-1) as string).error

export const DUPLICATES: Cases = {
  async 'reject: nothing changes, whether it is pending or running'(s) {
    const first = s.draft({ params: '1', priority: 1 })
    await s.admit(first)
    const late = again(s, first, { params: '2', priority: 5, onDuplicate: { pending: 'reject' } })
    const verdict = await s.admit(late)
    assert.equal(verdict.outcome, 'rejected')
    assert.equal(verdict.entry.id, first.id)
    assert.equal((await s.read(first.id)).priority, 1)
    assert.equal((await s.admit(again(s, first, { onDuplicate: { running: 'reject' } }))).outcome, 'joined')
    await s.claimOne()
    assert.equal((await s.admit(again(s, first, { onDuplicate: { running: 'reject' } }))).outcome, 'rejected')
    assert.equal((await s.admit(again(s, first, { onDuplicate: { pending: 'reject' } }))).outcome, 'joined')
    assert.equal((await s.read(first.id)).params, '1')
    assert.equal((await s.engine.count()).totals.rejected, 2)
  },

  async 'a result answers before any rule is looked at'(s) {
    const first = s.draft()
    await s.completed(first)
    for (const rule of ['reject', 'replace', 'supersede'] as const)
      assert.equal((await s.admit(again(s, first, { onDuplicate: { pending: rule } }))).outcome, 'hit')
  },

  async 'replace: the run stays, with the params, the extra and the due time of the last'(s) {
    const first = s.draft({ params: '1', extra: '{"a":1}', delayMs: s.units(5), then: [] })
    first.then = [s.followUp(keyOf(first), 'success')]
    await s.admit(first)
    const last = again(s, first, { params: '2', priority: 3, onDuplicate: { pending: 'replace' } })
    const verdict = await s.admit({ ...last, delayMs: s.units(10), onMismatch: 'join' })
    assert.equal(verdict.outcome, 'joined')
    assert.equal(verdict.sameParams, true)
    assert.equal(verdict.entry.id, first.id)
    assert.ok(verdict.entry.dueAt >= verdict.entry.createdAt + s.units(10), 'it may be put off')
    await s.advance(5.5)
    assert.equal((await s.claim()).length, 0)
    await s.admit({ ...again(s, first, { params: '3' }), onDuplicate: { pending: 'replace' } })
    const claimed = await s.claimOne()
    assert.equal(claimed.entry.id, first.id)
    assert.equal(claimed.entry.params, '3')
    assert.equal(claimed.entry.extra, undefined)
    assert.equal(claimed.entry.priority, 3)
    assert.equal((await s.claim()).length, 0, 'the place it had before is gone')
    await s.complete(claimed)
    assert.equal((await s.claim({ names: ['after'] })).length, 1, 'what follows the first is not lost')
  },

  async 'replace leaves a back-off as it is'(s) {
    const first = s.draft({ params: '1' })
    await s.admit(first)
    const { token } = await s.claimOne()
    await s.settle({ id: first.id, token, kind: 'retry', error: '{}', delayMs: s.units(5) })
    await s.admit(again(s, first, { params: '2', onDuplicate: { pending: 'replace' } }))
    assert.equal((await s.claim()).length, 0)
    await s.advance(5.2)
    assert.equal((await s.claimOne()).entry.params, '2')
  },

  async 'supersede: what stood there is cancelled for the newcomer, pending or running'(s) {
    const [worker] = await s.connections(1)
    assert.ok(worker)
    const first = s.draft({ params: '1', watch: true })
    await s.admit(first)
    const { heard } = hearing(s.engine)
    const second = again(s, first, { params: '2', onDuplicate: { pending: 'supersede' } })
    assert.equal((await s.admit(second)).outcome, 'created')
    const superseded = await s.read(first.id)
    assert.equal(superseded.status, 'cancelled')
    assert.equal(lastError(superseded.errors).code, 'SUPERSEDED')
    assert.equal(lastError(superseded.errors).details?.by, second.id)
    await eventually('those who waited hear of it', () => heard('ended', first.id))
    const ear = hearing(worker)
    const running = await s.claimOne({}, worker)
    assert.equal(running.entry.id, second.id)
    const third = again(s, first, { params: '3', onDuplicate: { running: 'supersede' } })
    assert.equal((await s.admit(third)).outcome, 'created')
    await eventually('its worker hears of it', () => ear.heard('cancelled', second.id))
    assert.equal(await s.complete(running, '"late"', worker), 'lost')
    assert.equal((await s.claimOne()).entry.id, third.id)
    const { totals, lanes } = await s.engine.count()
    assert.equal(totals.cancelled, 2)
    assert.deepEqual(lanes, [{ queue: 'default', name: 'job', pending: 0, running: 1 }])
  },

  async 'what follows a superseded run hears of a failure'(s) {
    const first = s.draft()
    const [yes, no] = [s.followUp(keyOf(first), 'success'), s.followUp(keyOf(first), 'failure')]
    await s.admit({ ...first, then: [yes, no] })
    await s.admit(again(s, first, { onDuplicate: { pending: 'supersede' } }))
    const after = await s.claim({ names: ['after'], limit: 5 })
    assert.deepEqual(
      after.map(({ entry }) => [entry.id, entry.parent?.id, entry.parent?.status]),
      [[no.draft.id, first.id, 'cancelled']],
    )
  },

  async 'a run that is superseded within the batch that has created or joined it is followed all the same'(
    s,
  ) {
    const joined = s.draft()
    await s.admit(joined)
    const first = s.draft()
    const [one, two] = [s.followUp(keyOf(first), 'failure'), s.followUp(keyOf(joined), 'both')]
    const superseding = { onDuplicate: { pending: 'supersede' } } as const
    await s.engine.admit([
      { ...first, then: [one] },
      again(s, first, superseding),
      { ...again(s, joined, {}), then: [two] },
      again(s, joined, superseding),
    ])
    const after = await s.claim({ names: ['after'], limit: 5 })
    assert.deepEqual(
      after.map(({ entry }) => [entry.id, entry.parent?.id]).sort(),
      [
        [one.draft.id, first.id],
        [two.draft.id, joined.id],
      ].sort(),
    )
    assert.equal((await s.claim({ limit: 5 })).length, 2)
  },

  async 'rerunAfter: one run waits behind the running one, and is due when that has ended'(s) {
    const first = s.draft({ params: '1' })
    await s.admit(first)
    const running = await s.claimOne()
    const second = again(s, first, { params: '2', watch: true, onDuplicate: { running: 'rerunAfter' } })
    const verdict = await s.admit(second)
    assert.equal(verdict.outcome, 'created')
    assert.equal(verdict.entry.id, second.id)
    assert.equal((await s.admit(second)).outcome, 'created', 'repeated')
    assert.equal((await s.read(second.id)).status, 'pending')
    const third = again(s, first, { params: '3', priority: 4, onDuplicate: { running: 'rerunAfter' } })
    const joined = await s.admit(third)
    assert.deepEqual([joined.outcome, joined.entry.id], ['joined', second.id])
    const plain = await s.admit(again(s, first, {}))
    assert.deepEqual([plain.outcome, plain.entry.id], ['joined', first.id], 'others join what runs')
    assert.equal((await s.claim({ limit: 5 })).length, 0, 'it waits')
    assert.deepEqual((await s.engine.count()).lanes, [
      { queue: 'default', name: 'job', pending: 1, running: 1 },
    ])
    assert.deepEqual(await s.listed({ status: 'pending' }), [second.id])
    await s.complete(running, '"one"')
    const next = await s.claimOne()
    assert.deepEqual([next.entry.id, next.entry.params, next.entry.priority], [second.id, '2', 4])
    const hit = await s.admit(again(s, first, {}))
    assert.deepEqual([hit.outcome, hit.entry.id], ['hit', first.id], 'the result it had stays meanwhile')
    const { heard } = hearing(s.engine)
    await s.complete(next, '"two"')
    await eventually('who asked for it hears of its end', () => heard('ended', second.id))
    assert.equal((await s.admit(again(s, first, {}))).entry.result, '"two"')
    assert.deepEqual((await s.engine.count()).lanes, [])
  },

  async 'what waits behind a run comes forward however that ends'(s) {
    const ends: Record<string, (id: string, token: string) => Promise<unknown>> = {
      failed: (id, token) => s.settle({ id, token, kind: 'failed', error: '{}' }),
      cancelled: (id) => s.engine.cancel([id]),
      died: async () => {
        await s.advance(4.5)
        await s.engine.sweep(10)
      },
      invalidated: (id) => s.engine.invalidate({ keys: [id.slice(0, 64)] }),
      given: (id, token) => s.settle({ id, token, kind: 'cancelled', error: '{}' }),
    }
    for (const [how, end] of Object.entries(ends)) {
      const first = s.draft({ name: how, policy: { maxAttempts: 1 } })
      await s.admit(first)
      const { token } = await s.claimOne({ names: [how], leaseMs: s.units(4) })
      const second = again(s, first, { name: how, onDuplicate: { running: 'rerunAfter' } })
      await s.admit(second)
      await end(first.id, token)
      assert.equal((await s.claimOne({ names: [how] })).entry.id, second.id, how)
    }
  },

  async 'while the run is tried again, what waits behind it goes on waiting'(s) {
    const first = s.draft()
    await s.admit(first)
    const one = await s.claimOne()
    const second = again(s, first, { onDuplicate: { running: 'rerunAfter' } })
    await s.admit(second)
    await s.settle({ id: first.id, token: one.token, kind: 'retry', error: '{}', delayMs: 0 })
    const third = await s.admit(again(s, first, { onDuplicate: { running: 'rerunAfter' } }))
    assert.equal(third.entry.id, second.id, 'the one that waits is met, not the one that is tried again')
    const two = await s.claimOne()
    assert.equal(two.entry.id, first.id)
    await s.settle({ id: first.id, token: two.token, kind: 'released' })
    const three = await s.claimOne()
    assert.equal(three.entry.id, first.id)
    await s.complete(three)
    assert.equal((await s.claimOne()).entry.id, second.id)
  },

  async 'what waits behind a run can be cancelled and superseded, and its delay counts from when it was asked for'(
    s,
  ) {
    const first = s.draft()
    await s.admit(first)
    const running = await s.claimOne()
    const ask = (draft: Asked = {}): Draft =>
      again(s, first, { onDuplicate: { running: 'rerunAfter' }, ...draft })
    const second = ask()
    await s.admit(second)
    assert.deepEqual(await s.engine.cancel([second.id]), ['cancelled'])
    const third = ask()
    assert.equal((await s.admit(third)).outcome, 'created')
    const fourth = ask({
      delayMs: s.units(5),
      onDuplicate: { pending: 'supersede', running: 'rerunAfter' },
    })
    assert.equal((await s.admit(fourth)).outcome, 'created')
    assert.equal((await s.read(third.id)).status, 'cancelled')
    assert.equal((await s.read(first.id)).status, 'running')
    await s.advance(3)
    await s.complete(running)
    assert.equal((await s.claim()).length, 0)
    await s.advance(2.2)
    assert.equal((await s.claimOne()).entry.id, fourth.id)
  },

  async 'supersede takes away what runs and what waits behind it'(s) {
    const first = s.draft()
    await s.admit(first)
    const running = await s.claimOne()
    const behind = again(s, first, { onDuplicate: { running: 'rerunAfter' } })
    await s.admit(behind)
    const last = again(s, first, { onDuplicate: { pending: 'supersede', running: 'supersede' } })
    assert.equal((await s.admit(last)).outcome, 'created')
    assert.equal(await s.complete(running), 'lost')
    assert.equal((await s.read(behind.id)).status, 'cancelled')
    assert.equal((await s.claimOne()).entry.id, last.id)
    assert.equal((await s.claim()).length, 0)
  },

  async 'debounced: put off by each that comes, never past the end of its patience; the last params win'(s) {
    const draft = (params: string, key: string): Draft =>
      s.draft({ ...DEBOUNCED, key, params, delayMs: s.units(4), maxDelayMs: s.units(10) } as Asked)
    const first = draft('0', keyOf(s.draft()))
    const key = keyOf(first)
    await s.admit(first)
    for (let index = 1; index <= 3; index++) {
      await s.advance(2.5)
      assert.equal((await s.claim()).length, 0, `put off by ${index}`)
      const { outcome, entry } = await s.admit(draft(String(index), key))
      assert.equal(outcome, 'joined')
      assert.ok(entry.dueAt <= entry.createdAt + s.units(10))
    }
    await s.advance(2.7)
    const claimed = await s.claimOne()
    assert.equal(claimed.entry.params, '3')
    const verdict = await s.admit(draft('4', key))
    assert.equal(verdict.outcome, 'created', 'a new burst while it runs')
    assert.equal((await s.admit(draft('5', key))).entry.id, verdict.entry.id)
    await s.complete(claimed)
    assert.equal((await s.claim()).length, 0)
    await s.advance(4)
    // A broker's delay may end late, never early.
    let last: Claimed | undefined
    await eventually('the next burst is due', async () => {
      last = (await s.claim())[0]
      return last !== undefined
    })
    assert.equal(last?.entry.params, '5')
  },

  async '2,000 debounced at once, by several: one run, with the params of one of the last'(s) {
    const engines = await s.connections(4)
    const key = keyOf(s.draft())
    const wait = s.units(3)
    await Promise.all(
      Array.from({ length: 20 }, (_, batch) =>
        engines[batch % 4]?.admit(
          Array.from({ length: 100 }, (_, index) =>
            s.draft({
              ...DEBOUNCED,
              key,
              params: `${batch * 100 + index}`,
              delayMs: wait,
              maxDelayMs: wait,
            } as Asked),
          ),
        ),
      ),
    )
    await s.advance(3)
    const claimed = await s.claimOne({ limit: 10 })
    assert.equal(Number(claimed.entry.params) % 100, 99, 'the last of a batch')
    await s.complete(claimed)
    await s.advance(4)
    assert.equal((await s.claim({ limit: 10 })).length, 0)
  },

  async 'throttled: until its time since the beginning is over, each gets the one run'(s) {
    const policy = { resultTtlMs: 0, everyMs: s.units(5) }
    const first = s.draft({ policy })
    const key = keyOf(first)
    await s.admit(first)
    const claimed = await s.claimOne()
    assert.equal(claimed.entry.policy.everyMs, s.units(5))
    await s.advance(1.5)
    await s.complete(claimed)
    const hit = await s.admit(s.draft({ key, policy }))
    assert.deepEqual([hit.outcome, hit.entry.id], ['hit', first.id])
    await s.advance(2)
    assert.equal((await s.admit(s.draft({ key, policy }))).outcome, 'hit')
    await s.advance(1.7)
    const next = s.draft({ key, policy })
    assert.equal((await s.admit(next)).outcome, 'created')
    await s.fail(await s.claimOne())
    assert.equal((await s.admit(s.draft({ key, policy }))).outcome, 'negative')
    await s.advance(5.2)
    assert.equal((await s.admit(s.draft({ key, policy }))).outcome, 'created')
  },

  async '50 that supersede at once: one of them is left, and the others know by whom'(s) {
    const engines = await s.connections(5)
    const key = keyOf(s.draft())
    const drafts = Array.from({ length: 50 }, () =>
      s.draft({ key, onDuplicate: { pending: 'supersede', running: 'supersede' } }),
    )
    const verdicts = await Promise.all(
      drafts.map((draft, index) => s.admit(draft, engines[index % 5] as (typeof engines)[0])),
    )
    assert.ok(verdicts.every(({ outcome }) => outcome === 'created'))
    const runs = (await s.engine.read(drafts.map(({ id }) => id))).map(
      (run) => run as NonNullable<typeof run>,
    )
    const left = runs.filter(({ status }) => status === 'pending')
    assert.equal(left.length, 1)
    for (const { status, errors } of runs.filter((run) => run !== left[0])) {
      assert.equal(status, 'cancelled')
      assert.equal(lastError(errors).code, 'SUPERSEDED')
    }
    assert.equal((await s.claimOne({ limit: 50 })).entry.id, left[0]?.id)
  },

  async 'those who want a rerun against the end of the run: exactly one comes after it'(s) {
    const engines = await s.connections(4)
    for (let round = 0; round < 10; round++) {
      const first = s.draft({ name: `n${round}` })
      await s.admit(first)
      const claimed = await s.claimOne({ names: [first.name] })
      const asking = Array.from({ length: 12 }, (_, index) =>
        s.admit(
          again(s, first, { name: first.name, refresh: true, onDuplicate: { running: 'rerunAfter' } }),
          engines[index % 4] as (typeof engines)[0],
        ),
      )
      const [, ...verdicts] = await Promise.all([s.complete(claimed), ...asking])
      assert.equal(verdicts.filter(({ outcome }) => outcome === 'created').length, 1)
      assert.equal(new Set(verdicts.map(({ entry }) => entry.id)).size, 1)
      const after = await s.claim({ names: [first.name], limit: 20 })
      assert.deepEqual(
        after.map(({ entry }) => entry.id),
        [verdicts[0]?.entry.id],
      )
    }
  },
}
