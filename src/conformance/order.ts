// Conformance: the order in which a claim gives out what is ready.
import assert from 'node:assert/strict'
import type { Draft } from '../contract/engine.ts'
import type { Cases } from './scene.ts'
import { keyOf } from './scene.ts'

/** One shard, so that the order is the same for an engine that spreads its keys. */
const inShard = (draft: Draft): Draft => ({ ...draft, id: `00000000${draft.id.slice(8)}` })

export const ORDER: Cases = {
  async 'in order of priority, then due time'(s) {
    const first = s.draft({ priority: 0 })
    const low = s.draft({ priority: -3 })
    const high = s.draft({ priority: 5 })
    const second = s.draft({ priority: 0 })
    // One shard, so that the order is the same for an engine that spreads its keys.
    const drafts = [first, low, high, second].map((draft) => ({
      ...draft,
      id: `00000000${draft.id.slice(8)}`,
    }))
    for (const draft of drafts) {
      await s.admit(draft)
      await s.advance(0.01)
    }
    const order: (string | undefined)[] = []
    for (let index = 0; index < 4; index++) order.push((await s.claimOne()).entry.id)
    assert.deepEqual(
      order,
      [2, 0, 3, 1].map((index) => drafts[index]?.id),
    )
  },

  async 'first in, first out: of one batch and of several'(s) {
    const ids: string[] = []
    for (let batch = 0; batch < 3; batch++) {
      const drafts = Array.from({ length: 12 }, () => s.draft()).map((draft) => inShard(draft))
      await s.engine.admit(drafts)
      ids.push(...drafts.map(({ id }) => id))
    }
    const claimed = [...(await s.claim({ limit: 5 })), ...(await s.claim({ limit: 100 }))]
    assert.deepEqual(
      claimed.map(({ entry }) => entry.id),
      ids,
    )
  },

  async 'first in, first out: what is due at one moment'(s) {
    if (!s.firstInFirstOut) return
    const { entry } = await s.admit(s.draft())
    await s.claimOne()
    const dueAt = entry.createdAt + s.units(1)
    const drafts = Array.from({ length: 12 }, () => inShard(s.draft({ dueAt })))
    await s.engine.admit(drafts.slice(0, 6))
    await s.engine.admit(drafts.slice(6))
    await s.advance(1)
    assert.deepEqual(
      (await s.claim({ limit: 100 })).map(({ entry }) => entry.id),
      drafts.map(({ id }) => id),
    )
  },

  async 'first in, first out: what is released keeps its place'(s) {
    if (!s.firstInFirstOut) return
    const drafts = Array.from({ length: 6 }, () => inShard(s.draft()))
    await s.engine.admit(drafts)
    const claimed = await s.claim({ limit: 3 })
    for (const { entry, token } of claimed.reverse())
      assert.equal(await s.settle({ id: entry.id, token, kind: 'released' }), 'settled')
    assert.deepEqual(
      (await s.claim({ limit: 100 })).map(({ entry }) => entry.id),
      drafts.map(({ id }) => id),
    )
  },

  async 'the order holds across names, queues and what was delayed'(s) {
    const early = s.draft({ name: 'b', queue: 'two', delayMs: s.units(0.3) })
    const middle = s.draft({ name: 'a', queue: 'one', delayMs: s.units(0.6) })
    const late = s.draft({ name: 'b', queue: 'one', delayMs: s.units(0.9) })
    const urgent = s.draft({ name: 'a', queue: 'two', delayMs: s.units(0.95), priority: 1 })
    const drafts = [late, urgent, middle, early].map((draft) => ({
      ...draft,
      id: `00000000${draft.id.slice(8)}`,
    }))
    await s.engine.admit(drafts)
    await s.advance(1)
    const claimed = await s.claim({ names: ['a', 'b'], limit: 10 })
    assert.deepEqual(
      claimed.map(({ entry }) => entry.id),
      [1, 3, 2, 0].map((index) => drafts[index]?.id),
    )
  },

  async 'a run that comes forward takes its place by its due time'(s) {
    if (!s.ordersByDueTime) return
    const first = inShard(s.draft())
    const key = keyOf(first)
    await s.admit(first)
    await s.claimOne()
    const behind = s.draft({ key, onDuplicate: { running: 'rerunAfter' } })
    await s.admit(behind)
    await s.advance(0.01)
    const later = inShard(s.draft())
    await s.admit(later)
    await s.engine.invalidate({ keys: [key] })
    assert.equal((await s.claimOne()).entry.id, behind.id)
    assert.equal((await s.claimOne()).entry.id, later.id)
  },
}
