// Conformance: limits on how many of a group run and begin, turns among groups, and lanes that are paused.
import assert from 'node:assert/strict'
import type { Claimed, Draft } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { eventually, hearing } from './scene.ts'

/** Runs of one group lie in one shard. */
function grouped(s: Scene, group: string, draft: Omit<Partial<Draft>, 'policy'> = {}): Draft {
  const made = s.draft({ group, ...draft })
  return { ...made, id: `00000000${made.id.slice(8)}` }
}

const many = (count: number, make: () => Draft): Draft[] => Array.from({ length: count }, make)
const groupsOf = (claimed: readonly Claimed[]): (string | undefined)[] =>
  claimed.map(({ entry }) => entry.group)

export const FLOW: Cases = {
  async 'no more of a group run than its limit, and each that ends makes room'(s) {
    const limits = { job: { running: 2 } }
    await s.engine.admit([...many(5, () => grouped(s, 'a')), ...many(3, () => grouped(s, 'b'))])
    const claimed = await s.claim({ limit: 10, limits })
    assert.deepEqual(groupsOf(claimed).sort(), ['a', 'a', 'b', 'b'])
    assert.equal((await s.claim({ limit: 10, limits })).length, 0)
    const [ofA, alsoOfA] = claimed.filter(({ entry }) => entry.group === 'a') as [Claimed, Claimed]
    const [ofB] = claimed.filter(({ entry }) => entry.group === 'b') as [Claimed]
    await s.complete(ofA)
    assert.deepEqual(groupsOf(await s.claim({ limit: 10, limits })), ['a'])
    await s.fail(ofB)
    assert.deepEqual(groupsOf(await s.claim({ limit: 10, limits })), ['b'])
    await s.engine.cancel([alsoOfA.entry.id])
    assert.deepEqual(groupsOf(await s.claim({ limit: 10, limits })), ['a'])
  },

  async 'every way in which an attempt ends makes room'(s) {
    const limits = { job: { running: 1 } }
    const next = async (): Promise<Claimed> => {
      const claimed = await s.claim({ limit: 5, limits, leaseMs: s.units(4) })
      assert.equal(claimed.length, 1)
      return claimed[0] as Claimed
    }
    await s.engine.admit(many(8, () => grouped(s, 'a')))
    for (const kind of ['retry', 'released', 'cancelled'] as const) {
      const { entry, token } = await next()
      await s.settle({ id: entry.id, token, kind, error: '{}', delayMs: s.units(100) } as never)
    }
    await next()
    await s.advance(5)
    assert.equal((await s.engine.sweep(10)).requeued.length, 1)
    const { entry } = await next()
    await s.engine.invalidate({ keys: [entry.id.slice(0, 64)] })
    assert.equal((await s.claim({ limit: 5, limits })).length, 0, 'what was moved aside runs still')
  },

  async 'settling and claiming in one go sees the room it has made'(s) {
    const limits = { job: { running: 1 } }
    await s.engine.admit(many(3, () => grouped(s, 'a')))
    let [held] = await s.claim({ limit: 5, limits })
    for (let left = 2; left >= 0; left--) {
      assert.ok(held)
      const { entry, token } = held
      const { answers, claimed } = await s.engine.settle(
        [{ id: entry.id, token, kind: 'completed', result: '1' }],
        s.want({ limit: 5, limits }),
      )
      assert.deepEqual(answers, ['settled'])
      assert.equal(claimed.length, left === 0 ? 0 : 1)
      held = claimed[0]
    }
  },

  async 'many claim at once: the limit holds'(s) {
    const engines = await s.connections(5)
    const limits = { job: { running: 7 } }
    await s.engine.admit(many(100, () => grouped(s, 'a')))
    for (let round = 0; round < 5; round++) {
      const batches = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          s.claim({ limit: 5, limits }, engines[index % 5] as (typeof engines)[0]),
        ),
      )
      const claimed = batches.flat()
      assert.ok(claimed.length <= 7, `${claimed.length} at once`)
      for (let left = claimed.length; left < 7; left++)
        assert.equal((await s.claim({ limit: 1, limits })).length, 1, 'up to the limit')
      assert.equal((await s.claim({ limit: 1, limits })).length, 0)
      const running = await s.listed({ status: 'running' })
      assert.equal(running.length, 7)
      await s.engine.cancel(running)
    }
  },

  async 'a rate lets no more begin within any stretch of its length, and says when it opens'(s) {
    const limits = { job: { rate: { max: 3, perMs: s.units(6) } } }
    await s.engine.admit([...many(9, () => grouped(s, 'a')), grouped(s, 'b')])
    const begun = await s.claim({ limit: 2, limits })
    assert.equal(begun.length, 2)
    await s.advance(2.5)
    const { claimed, nextDueMs } = await s.engine.claim(s.want({ limit: 10, limits }))
    const ofA = [...begun, ...claimed].filter(({ entry }) => entry.group === 'a')
    assert.equal(ofA.length, 3)
    assert.ok(nextDueMs !== undefined && nextDueMs <= s.units(3.7), `opens in ${nextDueMs} ms`)
    for (const { entry, token } of ofA)
      await s.settle({ id: entry.id, token, kind: 'completed', result: '1' })
    assert.equal((await s.claim({ limit: 10, limits })).length, 0, 'an end makes no room')
    await s.advance(3.7)
    const opened = await s.claim({ limit: 10, limits })
    assert.ok(opened.length >= 1 && opened.length <= 2, 'only those of the oldest stretch are forgotten')
    await s.advance(6.2)
    assert.equal((await s.claim({ limit: 10, limits })).length, 3)
  },

  async 'groups take turns, so that a busy one does not starve the others'(s) {
    await s.engine.admit(many(50, () => grouped(s, 'busy')))
    await s.advance(0.1)
    await s.engine.admit([...many(3, () => grouped(s, 'b')), ...many(3, () => grouped(s, 'c'))])
    const order: (string | undefined)[] = []
    for (let index = 0; index < 9; index++) {
      const [claimed] = await s.claim({ limits: { job: { running: 100 } } })
      order.push(claimed?.entry.group)
    }
    for (const group of ['busy', 'b', 'c'])
      assert.equal(order.filter((each) => each === group).length, 3, `${group} in ${order}`)
    assert.equal((await s.claim({ limit: 60, limits: { job: { running: 100 } } })).length, 47)
  },

  async 'a batch is shared among the groups'(s) {
    await s.engine.admit(many(50, () => grouped(s, 'busy')))
    await s.engine.admit([...many(5, () => grouped(s, 'b')), ...many(5, () => grouped(s, 'c'))])
    const groups = groupsOf(await s.claim({ limit: 15 }))
    for (const group of ['busy', 'b', 'c'])
      assert.equal(groups.filter((each) => each === group).length, 5, `${group} in ${groups}`)
  },

  async 'within a group priority counts, then due time; queues of one name share its groups'(s) {
    const low = grouped(s, 'a', { priority: -1 })
    const high = grouped(s, 'a', { priority: 3 })
    const other = grouped(s, 'a', { queue: 'other' })
    for (const draft of [low, other, high]) {
      await s.admit(draft)
      await s.advance(0.01)
    }
    const limits = { job: { running: 1 } }
    const taken: string[] = []
    for (let index = 0; index < 3; index++) {
      const claimed = await s.claimOne({ limits })
      assert.equal((await s.claim({ limits, queues: ['default', 'other'], limit: 3 })).length, 0)
      taken.push(claimed.entry.id)
      await s.complete(claimed)
    }
    assert.deepEqual(
      taken.filter((id) => id !== other.id),
      [high.id, low.id],
    )
  },

  async 'runs without a group, and other names, are under no limit'(s) {
    const limits = { job: { running: 1 } }
    await s.engine.admit([...many(3, () => grouped(s, '', { name: 'free' })), ...many(3, () => s.draft())])
    assert.equal((await s.claim({ names: ['free', 'job'], limit: 10, limits })).length, 6)
  },

  async 'whoever waits hears of the room that an end makes'(s) {
    const [worker, waiting] = await s.pair()
    const limits = { job: { running: 1 } }
    await s.engine.admit(many(2, () => grouped(s, 'a')))
    const held = await s.claimOne({ limits }, worker)
    const { heard } = hearing(waiting)
    assert.equal((await s.claim({ limits }, waiting)).length, 0)
    await s.complete(held, '1', worker)
    await eventually('it hears', async () => heard('work') || (await s.claim({ limits }, waiting)).length > 0)
  },

  async 'a delayed run of a full group waits for both'(s) {
    const limits = { job: { running: 1 } }
    await s.engine.admit([grouped(s, 'a'), grouped(s, 'a', { delayMs: s.units(2) })])
    const held = await s.claimOne({ limit: 5, limits })
    await s.advance(2.2)
    assert.equal((await s.claim({ limit: 5, limits })).length, 0)
    await s.complete(held)
    assert.equal((await s.claim({ limit: 5, limits })).length, 1)
  },

  async 'a paused queue or name gives nothing out, until it is resumed for both'(s) {
    await s.engine.admit([s.draft({ name: 'a', queue: 'one' }), s.draft({ name: 'b', queue: 'two' })])
    const names = ['a', 'b']
    await s.engine.pause({ queue: 'one' }, true)
    await s.engine.pause({ name: 'a' }, true)
    await s.engine.pause({ name: 'a' }, true)
    const { paused } = await s.engine.count()
    assert.equal(paused.length, 2)
    assert.ok(paused.some((lanes) => 'queue' in lanes && lanes.queue === 'one'))
    assert.ok(paused.some((lanes) => 'name' in lanes && lanes.name === 'a'))
    assert.deepEqual(
      (await s.claim({ names, limit: 5 })).map(({ entry }) => entry.name),
      ['b'],
    )
    await s.engine.pause({ name: 'a' }, false)
    assert.equal((await s.claim({ names, limit: 5 })).length, 0)
    const late = s.draft({ name: 'a', queue: 'one', delayMs: s.units(1) })
    await s.admit(late)
    await s.advance(1)
    assert.equal((await s.claim({ names, limit: 5 })).length, 0, 'nor what becomes due')
    const { heard } = hearing(s.engine)
    await s.engine.pause({ queue: 'one' }, false)
    await eventually('who waits hears of it', () => heard('work'))
    assert.equal((await s.claim({ names, limit: 5 })).length, 2)
    assert.deepEqual((await s.engine.count()).paused, [])
  },

  async 'what runs in a paused lane goes on, and what it leaves stays there'(s) {
    await s.engine.admit([s.draft(), s.draft(), grouped(s, 'a')])
    const [one, two] = (await s.claim({ limit: 2 })) as [Claimed, Claimed]
    await s.engine.pause({ name: 'job' }, true)
    const [held] = await s.engine.extend([{ id: one.entry.id, token: one.token }], s.units(40))
    assert.equal(held, 'held')
    const { claimed } = await s.engine.settle(
      [{ id: one.entry.id, token: one.token, kind: 'completed', result: '1' }],
      s.want({ limit: 5 }),
    )
    assert.equal(claimed.length, 0)
    await s.settle({ id: two.entry.id, token: two.token, kind: 'retry', error: '{}', delayMs: 0 })
    assert.equal((await s.claim({ limit: 5 })).length, 0)
    await s.engine.pause({ name: 'job' }, false)
    assert.equal((await s.claim({ limit: 5 })).length, 2)
  },

  async 'after a thousand things that happened to grouped runs, as many run as really do, and room is left for the rest'(
    s,
  ) {
    const engines = await s.connections(3)
    const limits = { job: { running: 3 } }
    let seed = 20_261
    const any = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % below
    }
    let held: Claimed[] = []
    const keys = many(12, () => grouped(s, 'a')).map(({ id }) => id.slice(0, 64))
    for (let round = 0; round < 60; round++) {
      const engine = engines[any(3)] as (typeof engines)[0]
      await engine.admit(
        many(5, () => {
          const group = `g${any(4)}`
          // A key belongs to one group, as a group to one shard.
          const key = `00000000${group.charCodeAt(1)}${(keys[any(12)] as string).slice(10)}`
          const draft = s.draft({ key, group, delayMs: any(4) === 0 ? s.units(1_000) : 0 })
          const how = any(5)
          if (how === 0) draft.onDuplicate = { pending: 'supersede', running: 'supersede' }
          if (how === 1) draft.onDuplicate = { running: 'rerunAfter', pending: 'replace' }
          return { ...draft, refresh: true }
        }),
      )
      held.push(...(await s.claim({ limit: 4, limits }, engine)))
      const over = held.filter(() => any(2) === 0)
      held = held.filter((claim) => !over.includes(claim))
      const kinds = ['completed', 'failed', 'retry', 'released', 'cancelled'] as const
      const outcomes = over.map(({ entry: { id }, token }) => {
        const kind = kinds[any(5)] as (typeof kinds)[number]
        return { id, token, kind, result: '1', error: '{}', delayMs: any(2) * s.units(1_000) } as never
      })
      if (any(3) === 0) held.push(...(await engine.settle(outcomes, s.want({ limit: 2, limits }))).claimed)
      else await engine.settle(outcomes)
      if (any(6) === 0)
        await engine.invalidate({ keys: held.slice(0, 2).map(({ entry }) => entry.id.slice(0, 64)) })
      if (any(6) === 0) await engine.cancel(held.slice(0, 2).map(({ entry }) => entry.id))
    }
    const running = await s.engine.read(await s.listed({ status: 'running' }))
    const { lanes } = await s.engine.count()
    const pending = await s.listed({ status: 'pending' })
    assert.equal(lanes[0]?.running ?? 0, running.length)
    assert.equal(lanes[0]?.pending ?? 0, pending.length)
    // What really runs leaves room for as many as the limit still allows, in each group.
    const fresh = ['g0', 'g1', 'g2', 'g3'].flatMap((group) =>
      many(4, () => {
        const draft = s.draft({ group })
        return { ...draft, id: `00000000${group.charCodeAt(1)}${draft.id.slice(10)}`, priority: 50 }
      }),
    )
    await s.engine.admit(fresh)
    const claimed = await s.claim({ limit: 100, limits })
    for (const group of ['g0', 'g1', 'g2', 'g3']) {
      const count = [...running, ...claimed.map(({ entry }) => entry)].filter(
        (run) => run?.group === group,
      ).length
      assert.equal(count, 3, `of ${group}`)
    }
    await s.engine.cancel([
      ...(await s.listed({ status: 'running' })),
      ...(await s.listed({ status: 'pending' })),
    ])
    assert.deepEqual((await s.engine.count()).lanes, [])
  },

  async 'a pause against claims: once it is answered, nothing more is given out'(s) {
    const engines = await s.connections(4)
    await s.engine.admit(many(60, () => s.draft()))
    const claims = Array.from({ length: 20 }, (_, index) =>
      s.claim({ limit: 2 }, engines[index % 4] as (typeof engines)[0]),
    )
    await s.engine.pause({ queue: 'default' }, true)
    await Promise.all(claims)
    assert.equal((await s.claim({ limit: 100 })).length, 0)
  },
}
