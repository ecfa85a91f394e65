// Conformance: maintenance shows a run as it lies in the store, finds nothing in a healthy one, and purges what has ended.
import assert from 'node:assert/strict'
import type { Inspection, Maintenance } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { keyOf } from './scene.ts'

/** Plays a case where the engine has the interface. */
const over =
  (play: (s: Scene, maintenance: Maintenance) => Promise<void>) =>
  async (s: Scene): Promise<void> => {
    if (s.engine.maintenance !== undefined) await play(s, await s.engine.maintenance())
  }

async function healthy(maintenance: Maintenance, id: string): Promise<Inspection> {
  const found = await maintenance.inspect(id)
  assert.ok(found, 'the run should be found')
  assert.equal(found.id, id)
  assert.deepEqual(found.problems, [])
  return found
}

const kinds = ({ beside }: Inspection): string[] => beside.map(({ what }) => what)

export const MAINTENANCE: Cases = {
  'a pending run is shown by field names, with its ticket': over(async (s, maintenance) => {
    const draft = s.draft({ params: '{"a":1}', priority: 5, delayMs: s.units(20) })
    await s.admit(draft)
    const entry = await s.read(draft.id)
    const found = await healthy(maintenance, draft.id)
    assert.equal(found.place, 'stands')
    assert.ok(kinds(found).includes('ticket'))
    const { name, queue, status, priority, attempt, params, createdAt, dueAt } = found.fields
    assert.deepEqual(
      { name, queue, status, priority, attempt, params, createdAt, dueAt },
      {
        name: 'job',
        queue: 'default',
        status: 'pending',
        priority: 5,
        attempt: 0,
        params: '{"a":1}',
        createdAt: entry.createdAt,
        dueAt: entry.dueAt,
      },
    )
    assert.equal((await maintenance.inspect(keyOf(draft)))?.id, draft.id, 'found by its key')
  }),

  'a running run is shown with its lease, and an ended one with neither lease nor ticket': over(
    async (s, maintenance) => {
      const draft = s.draft()
      await s.admit(draft)
      const claimed = await s.claimOne()
      const running = await healthy(maintenance, draft.id)
      assert.equal(running.fields.status, 'running')
      assert.equal(running.fields.attempt, 1)
      assert.equal(running.fields.startedAt, claimed.entry.startedAt)
      assert.ok(kinds(running).includes('lease'))
      assert.ok(!kinds(running).includes('ticket'))
      await s.complete(claimed, '"x"')
      const ended = await healthy(maintenance, draft.id)
      assert.equal(ended.place, 'stands')
      assert.equal(ended.fields.status, 'completed')
      assert.equal(ended.fields.result, '"x"')
      assert.ok(!kinds(ended).includes('lease') && !kinds(ended).includes('ticket'))
    },
  ),

  'a replaced run lies aside': over(async (s, maintenance) => {
    const first = s.draft()
    await s.completed(first)
    const second = s.draft({ key: keyOf(first), refresh: true })
    await s.admit(second)
    assert.equal((await healthy(maintenance, first.id)).place, 'aside')
    assert.equal((await maintenance.inspect(keyOf(first)))?.id, second.id)
  }),

  'a run that waits behind another lies behind, and has no ticket until that one has ended': over(
    async (s, maintenance) => {
      const first = s.draft()
      await s.admit(first)
      const claimed = await s.claimOne()
      const second = s.draft({ key: keyOf(first), onDuplicate: { running: 'rerunAfter' } })
      await s.admit(second)
      const waiting = await healthy(maintenance, second.id)
      assert.equal(waiting.place, 'behind')
      assert.ok(!kinds(waiting).includes('ticket'))
      await s.complete(claimed)
      const ready = await healthy(maintenance, second.id)
      assert.equal(ready.place, 'stands')
      assert.ok(kinds(ready).includes('ticket'))
    },
  ),

  'follow-ups are shown beside the run that they follow': over(async (s, maintenance) => {
    const draft = s.draft()
    await s.admit({ ...draft, then: [s.followUp(keyOf(draft), 'success')] })
    assert.ok(kinds(await healthy(maintenance, draft.id)).includes('follow-up'))
  }),

  'an unknown id is not found': over(async (s, maintenance) => {
    const draft = s.draft()
    assert.equal(await maintenance.inspect(draft.id), undefined)
    assert.equal(await maintenance.inspect(keyOf(draft)), undefined)
  }),

  'a purge removes an ended run, and never a live one': over(async (s, maintenance) => {
    const [ended, pending, running] = [s.draft(), s.draft({ delayMs: s.units(20) }), s.draft()]
    await s.completed(ended)
    await s.admit(running)
    const claimed = await s.claimOne()
    await s.admit(pending)
    const ids = [ended, pending, running, s.draft()].map(({ id }) => id)
    assert.deepEqual(await maintenance.purge(ids), [true, false, false, false])
    assert.ok(await s.gone(ended.id))
    assert.equal(await maintenance.inspect(ended.id), undefined)
    assert.equal((await s.read(pending.id)).status, 'pending')
    assert.equal(await s.complete(claimed), 'settled')
    assert.equal(
      (await s.admit(s.draft({ key: keyOf(ended) }))).outcome,
      'created',
      'its result is gone, too',
    )
    assert.deepEqual(await maintenance.purge([ended.id]), [false], 'a repeated command')
  }),

  'a purged id that is admitted again lives its own life': over(async (s, maintenance) => {
    const draft = s.draft({ policy: { resultTtlMs: 0, retentionMs: s.units(2) } })
    await s.completed(draft)
    await maintenance.purge([draft.id])
    const again = { ...draft, policy: s.policy() }
    assert.equal((await s.admit(again)).outcome, 'created')
    await s.advance(3)
    await s.engine.sweep(10)
    assert.equal((await s.read(draft.id)).status, 'pending')
  }),

  'a scan of a healthy store looks at every run and finds nothing': over(async (s, maintenance) => {
    const drafts = Array.from({ length: 5 }, (_, n) => s.draft({ delayMs: n < 2 ? 0 : s.units(20) }))
    for (const draft of drafts) await s.admit(draft)
    await s.complete(await s.claimOne())
    await s.claimOne()
    let looked = 0
    let cursor: string | undefined
    for (let page = 0; page < 1_000; page++) {
      const found = await maintenance.scan(2, cursor)
      assert.deepEqual(found.problems, [])
      looked += found.looked
      cursor = found.cursor
      if (cursor === undefined) break
    }
    assert.equal(cursor, undefined, 'the scan has an end')
    assert.ok(looked >= drafts.length)
    assert.deepEqual(await maintenance.repair([]), [])
  }),
}
