// Conformance: races, over several connections at once.
import assert from 'node:assert/strict'
import type { Cases } from './scene.ts'
import { keyOf } from './scene.ts'

const pick = <T>(items: readonly T[], index: number): T => items[index % items.length] as T

export const RACES: Cases = {
  async '50 dispatches of one key at once: one is created, all get its id'(s) {
    const engines = await s.connections(5)
    for (let round = 0; round < 5; round++) {
      const key = keyOf(s.draft())
      const verdicts = await Promise.all(
        Array.from({ length: 50 }, (_, index) => s.admit(s.draft({ key }), pick(engines, index))),
      )
      assert.equal(verdicts.filter(({ outcome }) => outcome === 'created').length, 1)
      assert.equal(verdicts.filter(({ outcome }) => outcome === 'joined').length, 49)
      assert.equal(new Set(verdicts.map(({ entry }) => entry.id)).size, 1)
      assert.equal((await s.claim({ limit: 10 })).length, 1)
    }
  },

  async '50 dispatches of one stale key at once: one refresh'(s) {
    const engines = await s.connections(5)
    const policy = { resultTtlMs: 0, staleTtlMs: s.units(40) }
    const draft = s.draft({ policy })
    await s.completed(draft, '1')
    const verdicts = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        s.admit(s.draft({ key: keyOf(draft), policy }), pick(engines, index)),
      ),
    )
    assert.ok(verdicts.every(({ outcome, entry }) => outcome === 'stale' && entry.result === '1'))
    assert.equal(new Set(verdicts.map(({ refreshId }) => refreshId)).size, 1)
    assert.equal((await s.claim({ limit: 10 })).length, 1)
  },

  async 'many claim at once: each task goes to one of them'(s) {
    const engines = await s.connections(5)
    const drafts = Array.from({ length: 300 }, () => s.draft())
    await s.engine.admit(drafts)
    const batches = await Promise.all(
      Array.from({ length: 60 }, (_, index) => s.claim({ limit: 10 }, pick(engines, index))),
    )
    const ids = batches.flat().map(({ entry }) => entry.id)
    assert.equal(new Set(ids).size, ids.length, 'none twice')
    for (let rest = await s.claim({ limit: 100 }); rest.length > 0; rest = await s.claim({ limit: 100 })) {
      ids.push(...rest.map(({ entry }) => entry.id))
    }
    assert.deepEqual(ids.sort(), drafts.map(({ id }) => id).sort())
  },

  async 'a late outcome against the recovery of its run: one of them wins, never both'(s) {
    const [worker, sweeper] = await s.pair()
    for (let round = 0; round < 10; round++) {
      const draft = s.draft({ name: `n${round}` })
      await s.admit(draft)
      const late = await s.claimOne({ names: [draft.name], leaseMs: 1 }, worker)
      await s.advance(0.02)
      const [answer, swept] = await Promise.all([s.complete(late, '"late"', worker), sweeper.sweep(10)])
      const run = await s.read(draft.id)
      if (answer === 'settled') {
        assert.deepEqual(swept.requeued, [])
        assert.equal(run.status, 'completed')
      } else {
        assert.equal(answer, 'lost')
        assert.deepEqual(swept.requeued, [draft.id])
        assert.equal(run.status, 'pending')
      }
    }
  },

  async 'two sweeps at once bring a run back once'(s) {
    const engines = await s.connections(4)
    await s.engine.admit(Array.from({ length: 20 }, () => s.draft()))
    assert.equal((await s.claim({ limit: 20, leaseMs: 1 })).length, 20)
    await s.advance(0.05)
    const swept = await Promise.all(engines.map((engine) => engine.sweep(100)))
    assert.equal(swept.flatMap(({ requeued }) => requeued).length, 20)
    assert.equal((await s.claim({ limit: 100 })).length, 20)
  },

  async 'a cancel against an outcome: one of them wins, and all agree on which'(s) {
    const [worker, asking] = await s.pair()
    for (let round = 0; round < 20; round++) {
      const draft = s.draft()
      await s.admit(draft)
      const claimed = await s.claimOne({}, worker)
      const calls = [
        () => s.complete(claimed, '1', worker),
        () => asking.cancel([draft.id]).then(([answer]) => answer),
      ]
      if (round % 2 === 1) calls.reverse()
      const answers = await Promise.all(calls.map((call) => call()))
      if (round % 2 === 1) answers.reverse()
      const { status } = await s.read(draft.id)
      assert.deepEqual(answers, status === 'completed' ? ['settled', 'ended'] : ['lost', 'cancelled'])
    }
  },

  async 'a cancel against a claim: what is cancelled is not run on'(s) {
    const [worker, asking] = await s.pair()
    for (let round = 0; round < 20; round++) {
      const draft = s.draft()
      await s.admit(draft)
      const [claimed, [cancelled]] = await Promise.all([s.claim({}, worker), asking.cancel([draft.id])])
      assert.equal(cancelled, 'cancelled')
      for (const claim of claimed) assert.equal(await s.complete(claim), 'lost')
      assert.equal((await s.read(draft.id)).status, 'cancelled')
      assert.equal((await s.claim()).length, 0)
    }
  },

  async 'callers with follow-ups against the end of the run: each follow-up is admitted, and once'(s) {
    const engines = await s.connections(4)
    for (let round = 0; round < 10; round++) {
      const draft = s.draft()
      await s.admit(draft)
      const claimed = await s.claimOne()
      const callers = Array.from({ length: 12 }, () => {
        const caller = s.draft({ key: keyOf(draft) })
        return { ...caller, then: [s.followUp(keyOf(draft), 'success')] }
      })
      const calls: Promise<unknown>[] = callers
        .slice(0, 6)
        .map((caller, index) => s.admit(caller, pick(engines, index)))
      calls.push(s.complete(claimed))
      calls.push(...callers.slice(6).map((caller, index) => s.admit(caller, pick(engines, index))))
      await Promise.all(calls)
      const after = await s.claim({ names: ['after'], limit: 100 })
      assert.deepEqual(
        after.map(({ entry }) => entry.id).sort(),
        callers.map(({ then }) => then[0]?.draft.id).sort(),
      )
    }
  },

  async 'an invalidation against the end of the run: whichever comes first, it is not cached'(s) {
    const [worker, asking] = await s.pair()
    for (let round = 0; round < 20; round++) {
      const draft = s.draft()
      await s.admit(draft)
      const claimed = await s.claimOne({}, worker)
      const [answer] = await Promise.all([
        s.complete(claimed, '1', worker),
        asking.invalidate({ keys: [keyOf(draft)] }),
      ])
      assert.equal(answer, 'settled')
      assert.equal((await s.read(draft.id)).result, '1')
      const next = s.draft({ key: keyOf(draft) })
      assert.equal(
        (await s.admit(next)).outcome,
        'created',
        'whichever came first, nobody after it is answered',
      )
      await s.engine.cancel([next.id])
    }
  },

  async 'joining against the failure of the run: whoever joined has that run, whoever came after a new one'(
    s,
  ) {
    const engines = await s.connections(3)
    for (let round = 0; round < 10; round++) {
      const draft = s.draft()
      await s.admit(draft)
      const claimed = await s.claimOne()
      const asking = Array.from({ length: 9 }, (_, index) =>
        s.admit(s.draft({ key: keyOf(draft) }), pick(engines, index)),
      )
      const [, ...verdicts] = await Promise.all([s.fail(claimed), ...asking])
      const created = verdicts.filter(({ outcome }) => outcome === 'created')
      assert.ok(created.length <= 1)
      for (const { outcome, entry } of verdicts) {
        assert.ok(outcome === 'created' || outcome === 'joined')
        assert.ok(entry.id === draft.id || entry.id === created[0]?.entry.id)
      }
      assert.equal((await s.read(draft.id)).status, 'failed')
      assert.equal((await s.claim({ limit: 9 })).length, created.length)
    }
  },
}
