// Conformance: reading, listing, counting, hints to those concerned, opening and closing.
import assert from 'node:assert/strict'
import type { Cases } from './scene.ts'
import { eventually, hearing, keyOf } from './scene.ts'

export const OVERVIEW: Cases = {
  async 'reading lines up with the ids, and leaves a gap for what is unknown'(s) {
    const [one, two] = [s.draft({ params: '1' }), s.draft({ params: '2' })]
    await s.engine.admit([one, two])
    const unknown = s.draft({ key: keyOf(one) }).id
    const entries = await s.engine.read([two.id, s.draft().id, one.id, unknown, one.id])
    assert.deepEqual(
      entries.map((entry) => entry?.params),
      ['2', undefined, '1', undefined, '1'],
    )
    assert.deepEqual(await s.engine.read([]), [])
  },

  async 'a key reads as the run that stands there'(s) {
    const draft = s.draft()
    const key = keyOf(draft)
    assert.deepEqual(await s.engine.read([key]), [undefined])
    await s.admit(draft)
    const other = s.draft()
    await s.admit(other)
    assert.deepEqual(
      (await s.engine.read([key, other.id, keyOf(other)])).map((entry) => entry?.id),
      [draft.id, other.id, other.id],
    )
    await s.complete(await s.claimOne())
    await s.complete(await s.claimOne())
    assert.equal((await s.engine.read([key]))[0]?.status, 'completed')
    const anew = s.draft({ key, refresh: true, watch: false })
    await s.admit(anew)
    assert.equal((await s.engine.read([key], true))[0]?.id, anew.id)
    const { heard } = hearing(s.engine)
    await s.engine.cancel([anew.id])
    await eventually('whoever watched by the key hears of it', () => heard('ended', anew.id))
  },

  async 'a list goes through all that matches, page by page, each once'(s) {
    const running = Array.from({ length: 3 }, () => s.draft({ name: 'a', queue: 'one' }))
    await s.engine.admit(running)
    await s.claim({ names: ['a'], limit: 3 })
    const done = s.draft({ name: 'b', queue: 'two' })
    await s.completed(done)
    const superseding = s.draft({ key: keyOf(done), name: 'b', queue: 'two', refresh: true })
    await s.admit(superseding)
    const later = Array.from({ length: 40 }, () => s.draft({ name: 'c', queue: 'two', delayMs: s.units(40) }))
    await s.engine.admit(later)
    const ids = (drafts: { id: string }[]): string[] => drafts.map(({ id }) => id).sort()
    assert.deepEqual(await s.listed({ limit: 7 }), ids([...running, done, superseding, ...later]))
    assert.deepEqual(await s.listed({ status: 'running' }), ids(running))
    assert.deepEqual(await s.listed({ status: 'completed' }), ids([done]), 'what was moved aside as well')
    assert.deepEqual(await s.listed({ name: 'c', limit: 7 }), ids(later))
    assert.deepEqual(await s.listed({ queue: 'two', status: 'pending' }), ids([superseding, ...later]))
    assert.deepEqual(await s.listed({ queue: 'none' }), [])
  },

  async 'the kept counters agree with what happened'(s) {
    assert.deepEqual((await s.engine.count()).lanes, [])
    const hit = s.draft()
    await s.completed(hit)
    await s.admit(s.draft({ key: keyOf(hit) }))
    await s.failed(s.draft())
    const pending = s.draft({ name: 'a', queue: 'one' })
    await s.engine.admit([
      pending,
      s.draft({ key: keyOf(pending) }),
      s.draft({ name: 'a', queue: 'one', delayMs: s.units(40) }),
    ])
    const retried = s.draft({ name: 'b' })
    await s.admit(retried)
    const { token } = await s.claimOne({ names: ['b'] })
    await s.settle({ id: retried.id, token, kind: 'retry', error: '{}', delayMs: 0 })
    await s.claimOne({ names: ['b'] })
    const [one, two] = [s.draft(), s.draft()]
    await s.engine.admit([one, two])
    await s.claimOne({ names: ['job'] })
    await s.engine.cancel([one.id, two.id])
    const { lanes, totals } = await s.engine.count()
    assert.deepEqual(
      [...lanes].sort((x, y) => (x.name < y.name ? -1 : 1)),
      [
        { queue: 'one', name: 'a', pending: 2, running: 0 },
        { queue: 'default', name: 'b', pending: 0, running: 1 },
      ],
    )
    const expected = { created: 7, hit: 1, joined: 1, completed: 1, failed: 1, cancelled: 2, retried: 1 }
    for (const [total, count] of Object.entries(expected)) {
      assert.equal(totals[total as keyof typeof totals], count, total)
    }
  },

  async 'those who watch hear of the end, whether they asked first, joined or came later'(s) {
    const [first, second, third, other] = await s.connections(4)
    assert.ok(first && second && third && other)
    const draft = s.draft()
    const ears = [first, second, third, other].map(hearing)
    await s.admit({ ...draft, watch: true }, first)
    await s.admit({ ...s.draft({ key: keyOf(draft) }), watch: true }, second)
    const claimed = await s.claimOne()
    const [seen] = await third.read([draft.id], true)
    assert.equal(seen?.status, 'running')
    await s.complete(claimed)
    for (const [index, { heard }] of ears.slice(0, 3).entries()) {
      await eventually(`connection ${index} hears of the end`, () => heard('ended', draft.id))
    }
    assert.ok(!ears[3]?.hints.some((hint) => hint.kind === 'ended'), 'nobody else does')
    const [ended] = await third.read([draft.id], true)
    assert.equal(ended?.status, 'completed')
  },

  async 'every kind of end is told to those who watch'(s) {
    const drafts = ['a', 'b', 'c'].map((name) => s.draft({ name, watch: true }))
    const [a, b, c] = drafts as [(typeof drafts)[0], (typeof drafts)[0], (typeof drafts)[0]]
    const { heard } = hearing(s.engine)
    await s.engine.admit(drafts)
    await s.complete(await s.claimOne({ names: ['a'] }))
    await s.fail(await s.claimOne({ names: ['b'] }))
    await s.engine.cancel([c.id])
    for (const draft of [a, b, c]) await eventually('the end is told', () => heard('ended', draft.id))
  },

  async 'whoever stops listening hears nothing more'(s) {
    let count = 0
    s.engine.listen(() => count++).stop()
    const draft = s.draft({ watch: true })
    await s.completed(draft)
    const { heard } = hearing(s.engine)
    await s.completed(s.draft({ watch: true }))
    await eventually('another listener hears', () => heard('ended'))
    assert.equal(count, 0)
  },

  async 'opening twice and closing twice is the same as once; what comes after is refused'(s) {
    const [engine] = await s.connections(1)
    assert.ok(engine)
    await Promise.all([engine.open(), engine.open()])
    await engine.admit([s.draft()])
    await Promise.all([engine.close(), engine.close()])
    await engine.close()
    await assert.rejects(engine.admit([s.draft()]), { code: 'CLOSED' })
    await assert.rejects(engine.claim(s.want()), { code: 'CLOSED' })
    await assert.rejects(engine.read([s.draft().id]), { code: 'CLOSED' })
    assert.equal((await s.claim()).length, 1, 'what it has admitted stays')
  },
}
