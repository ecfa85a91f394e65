// Conformance: an end that brings its claim along, from which an engine may know the run, does what one without it does; also where
// the same process has asked for the run, waited for it, and waits on.
import assert from 'node:assert/strict'
import type { AttemptOutcome, Claimed, Draft, SettleAnswer, Want } from '../contract/engine.ts'
import type { Cases, Scene } from './scene.ts'
import { eventually, hearing, hears, keyOf } from './scene.ts'

/** What is special about a run that ends. */
interface Variant {
  draft?(s: Scene): Parameters<Scene['draft']>[0]
  want?: Partial<Want>
  before?(s: Scene, draft: Draft): Promise<unknown>
  /** Between the claim and the end; answers another claim, if that one ends instead. */
  meanwhile?(s: Scene, draft: Draft, claimed: Claimed): Promise<Claimed | void>
  result?: string
  /** Its end is told. */
  watched?: true
}

const KEY = 'e'.repeat(64)
/** The same at all times: what one want waits for is not there for another at once. */
const WANT = { names: ['job', 'after'], limit: 9 }
const long = `"${'ü'.repeat(2_000)}"`
const odd = 'jöb;,:|"🎉'

const USUAL: Record<string, Variant> = {
  'nothing special': {},
  'a result of many bytes': { result: long },
  'params of many bytes': { draft: () => ({ params: long }) },
  'odd text': {
    draft: () => ({ queue: odd, params: JSON.stringify(odd), extra: odd }),
    want: { queues: [odd] },
    result: JSON.stringify(odd),
  },
  'watched from the start': { draft: () => ({ watch: true }), watched: true },
  'watched since it was claimed': {
    meanwhile: async (s, { id }) => void (await s.engine.read([id], true)),
    watched: true,
  },
  'joined and watched since it was claimed': {
    meanwhile: async (s, draft) => void (await s.admit(s.draft({ key: keyOf(draft), watch: true }))),
    watched: true,
  },
}

const RARE: Record<string, Variant> = {
  'some progress': {
    meanwhile: async (s, { id }, { token }) =>
      void (await s.engine.extend([{ id, token, progress: '0.5' }], s.units(40))),
  },
  'a failed attempt before': {
    async meanwhile(s, { id }, { token }) {
      await s.settle({ id, token, kind: 'retry', error: '{"i":1}', delayMs: 0 })
      return s.claimOne(WANT)
    },
  },
  'something follows it': { draft: (s) => ({ key: KEY, then: [s.followUp(KEY, 'both')] }) },
  'something follows it since it was claimed': {
    async meanwhile(s, draft) {
      const key = keyOf(draft)
      await s.admit(s.draft({ key, then: [s.followUp(key, 'success')] }))
    },
  },
  throttled: { draft: (s) => ({ policy: { resultTtlMs: 0, everyMs: s.units(40) } }) },
  'of a group': { draft: () => ({ group: 'g' }), want: { limits: { job: { running: 1 } } } },
  'asked for, and to be asked for': { draft: (s) => ({ attended: { ms: s.units(40), running: true } }) },
}

const MET: Record<string, Variant> = {
  'invalidated while it runs': {
    meanwhile: async (s, draft) => void (await s.engine.invalidate({ keys: [keyOf(draft)] })),
  },
  'another waits behind it': {
    meanwhile: async (s, draft) =>
      void (await s.admit(s.draft({ key: keyOf(draft), onDuplicate: { running: 'rerunAfter' } }))),
  },
  'it refreshes a result': {
    draft: () => ({ refresh: true }),
    before: (s, draft) => completed(s, s.draft({ key: keyOf(draft) })),
  },
  'it was cancelled': { meanwhile: async (s, { id }) => void (await s.engine.cancel([id], '{"why":1}')) },
  'it has ended before': {
    meanwhile: async (s, _draft, claimed) => void (await s.complete(claimed, '"first"')),
  },
  'another attempt has begun': {
    async meanwhile(s, { id }, { token }) {
      await s.settle({ id, token, kind: 'retry', error: '{}', delayMs: 0 })
      await s.claimOne(WANT)
    },
  },
}

async function completed(s: Scene, draft: Draft): Promise<void> {
  await s.admit(draft)
  assert.equal(await s.complete(await s.claimOne(WANT), '"old"'), 'settled')
}

export const ENDS: Cases = {
  'of a usual run': (s) => alike(s, USUAL),
  'of a run with something rare about it': (s) => alike(s, RARE),
  'of a run that has met others': (s) => alike(s, MET),

  async 'a claim of another run says nothing'(s) {
    await s.engine.admit([s.draft({ params: '"a"' }), s.draft({ params: '"b"' })])
    const [a, b] = (await s.claim({ limit: 2 })) as [Claimed, Claimed]
    const mixed = { id: a.entry.id, token: a.token, kind: 'completed', result: '1', claim: b } as const
    assert.equal(await s.settle(mixed), 'settled')
    assert.equal(await s.settle({ ...mixed, token: 'none' }), 'lost')
    const [ended, other] = await s.engine.read([a.entry.id, b.entry.id])
    assert.equal(ended?.status, 'completed')
    assert.equal(ended?.params, a.entry.params)
    assert.equal(other?.status, 'running')
  },

  async 'of a run whose key another one has by now: that one runs on'(s) {
    const meanwhile: [answer: SettleAnswer, (claimed: Claimed) => Promise<unknown>][] = [
      ['lost', ({ entry }) => s.engine.cancel([entry.id])],
      ['settled', ({ entry }) => s.engine.invalidate({ keys: [keyOf(entry)] })],
      ['settled', (claimed) => s.complete(claimed, '"first"')],
    ]
    for (const [answer, make] of meanwhile) {
      const first = s.draft({ policy: { resultTtlMs: 0 } })
      await s.admit(first)
      const late = await s.claimOne()
      await make(late)
      const second = s.draft({ key: keyOf(first), params: '"second"' })
      assert.equal((await s.admit(second)).outcome, 'created')
      const { entry, token } = await s.claimOne()
      assert.equal(entry.id, second.id)
      const outcome = { id: first.id, token: late.token, kind: 'completed', result: '"late"' } as const
      assert.equal(await s.settle({ ...outcome, claim: late }), answer)
      assert.equal((await s.read(second.id)).status, 'running')
      assert.equal(await s.settle({ ...outcome, id: second.id, token, result: '"second"' }), 'settled')
      assert.equal((await s.read(second.id)).result, '"second"')
    }
  },

  async 'many at once, with their claims and without'(s) {
    const drafts = Array.from({ length: 30 }, (_, index) =>
      s.draft({ params: `${index}`, watch: index % 3 === 0, queue: index % 2 === 0 ? 'default' : 'q' }),
    )
    await s.engine.admit(drafts)
    const claimed = await s.claim({ limit: 30 })
    const outcomes = claimed.map((claim, index): AttemptOutcome => {
      const { entry, token } = claim
      if (index % 7 === 6) return { id: entry.id, token, kind: 'failed', error: '{}' }
      const outcome = { id: entry.id, token, kind: 'completed', result: entry.params } as const
      return index % 5 === 4 ? outcome : { ...outcome, claim }
    })
    assert.deepEqual(new Set((await s.engine.settle(outcomes)).answers), new Set(['settled']))
    const runs = await s.engine.read(outcomes.map(({ id }) => id))
    for (const [index, run] of runs.entries()) {
      const failed = index % 7 === 6
      assert.equal(run?.status, failed ? 'failed' : 'completed')
      assert.equal(run?.result, failed ? undefined : run?.params)
    }
    const { lanes, totals } = await s.engine.count()
    assert.deepEqual(lanes, [])
    assert.deepEqual([totals.completed, totals.failed], [26, 4])
  },
}

async function alike(s: Scene, variants: Record<string, Variant>): Promise<void> {
  const heard = hearing(s.engine)
  for (const [name, variant] of Object.entries(variants)) {
    const without = await seen(s, variant, heard)
    assert.deepEqual(await seen(s, variant, heard, 'with its claim'), without, name)
    const worker = new OwnWorker(s, { ...WANT, ...variant.want }, without.next.length)
    const { lanes, ...seenByWorker } = await seen(s, variant, heard, worker)
    assert.deepEqual({ ...seenByWorker, lanes: worker.tookMore ? without.lanes : lanes }, without, name)
  }
}

/** Waits for work through the engine through which it is asked for, as a worker in the process of its callers does. */
class OwnWorker {
  readonly got: Claimed[] = []
  readonly want: Want
  readonly left: number
  /** With its end it got what followed. */
  tookMore = false
  readonly #s: Scene

  /** `left`: how much there is to do after the end. */
  constructor(s: Scene, want: Partial<Want>, left: number) {
    this.#s = s
    this.want = s.want({ ...want, take: (claimed) => void this.got.push(claimed) })
    this.left = left
  }

  async look(): Promise<void> {
    this.got.push(...(await this.#s.engine.claim(this.want)).claimed)
  }

  /** What has come since the last time, at least so many. */
  async next(count: number): Promise<Claimed[]> {
    await eventually(`${count} came`, async () => {
      if (this.got.length < count) await this.look()
      return this.got.length >= count
    })
    return this.got.splice(0)
  }

  async end(outcome: AttemptOutcome): Promise<SettleAnswer | undefined> {
    const { answers, claimed } = await this.#s.engine.settle([outcome], this.want)
    this.got.push(...claimed)
    this.tookMore = claimed.length > 0
    return answers[0]
  }

  async leave(): Promise<void> {
    await this.#s.engine.claim({ ...this.want, limit: 0 })
  }
}

/** All that can be seen of an end, without what differs from run to run. */
async function seen(
  s: Scene,
  { draft: special, want, before, meanwhile, result = '"done"', watched }: Variant,
  { heard }: ReturnType<typeof hearing>,
  how: 'alone' | 'with its claim' | OwnWorker = 'alone',
): Promise<{ next: unknown[]; lanes: unknown[] } & Record<string, unknown>> {
  const worker = typeof how === 'string' ? undefined : how
  const store = await s.engine.count()
  const draft = s.draft(special?.(s))
  await before?.(s, draft)
  await worker?.look()
  await s.admit(draft)
  const wanted = { ...WANT, ...want }
  const first = worker ? ((await worker.next(1))[0] as Claimed) : await s.claimOne(wanted)
  const claim = (await meanwhile?.(s, draft, first)) ?? first
  const outcome = { id: draft.id, token: claim.token, kind: 'completed', result } as const
  const known = how === 'alone' ? outcome : { ...outcome, claim }
  const answer = await (worker ? worker.end(known) : s.settle(known))
  const run = await s.read(draft.id)
  const { totals, lanes } = await s.engine.count()
  if (watched && hears(s.engine)) await eventually('its end is told', () => heard('ended', draft.id))
  // To the unit: some of it counts from its beginning.
  const since = (moment?: number): number | undefined =>
    moment === undefined ? undefined : Math.round((moment - (run.finishedAt as number)) / s.units(1))
  const { name, queue, status, attempt, priority, params, extra, group, progress, errors, policy } = run
  const again = await s.admit(s.draft({ key: keyOf(draft), name: draft.name, queue: draft.queue }))
  // What comes after it, and what was just asked for.
  const next = await (worker ? worker.next(worker.left) : s.claim(wanted))
  await worker?.leave()
  for (const each of next) await s.complete(each)
  await s.engine.cancel([draft.id])
  await s.engine.invalidate({ keys: [keyOf(draft)] })
  return {
    answer,
    ...{ name, queue, status, attempt, priority, params, extra, group, progress, policy, result: run.result },
    errors: errors.length,
    fresh: since(run.freshUntil),
    stale: since(run.staleUntil),
    lanes,
    completed: (totals.completed ?? 0) - (store.totals.completed ?? 0),
    again: [again.outcome, again.entry.id === draft.id, again.entry.result],
    next: next
      .map(({ entry }) => [entry.name, entry.params, entry.parent?.status, entry.parent?.value])
      .sort((a, b) => (String(a) < String(b) ? -1 : 1)),
  }
}
