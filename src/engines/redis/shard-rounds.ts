// Takes turns with the shards: which of them a claim asks, for how much, and in how many rounds.

import { environment } from '../../base/environment.ts'
import { sleep } from '../../base/time.ts'
import type { AttemptOutcome, Claimed, SettleAnswer, Settled, Want } from '../../contract/engine.ts'
import { endedPlainly } from './claimed-run.ts'
import type { Wait } from './encode-admit.ts'
import type { SettleReply, SpelledWant } from './encode-want.ts'
import { readHandOver, settleReply, spellWant } from './encode-want.ts'
import { outcomeArgs } from './settle.ts'
import type { ShardState, TurnsOptions } from './shard-state.ts'
import { endedAlone, gather } from './shard-state.ts'
import { deal, spread } from './shards.ts'

/** Every shard is asked at least this often, so that a lost hint starves none. */
const LOOK_MS = 1_000
const MAX_ROUNDS = 6

/** News of a wait may arrive before the answer that it began, and after it was taken back: so many are remembered for each shard. */
const MAX_TAKERS = 64

export class Turns {
  readonly #options: TurnsOptions
  readonly #states: ShardState[]
  /** By member: whoever takes what is handed over to it. */
  readonly #takers = new Map<string, Want['take']>()
  readonly #givingBack = new Set<Promise<unknown>>()
  #lookedAt = Number.NEGATIVE_INFINITY
  #left = false
  #turn = 0
  #random = ''

  constructor(options: TurnsOptions) {
    this.#options = options
    this.#states = options.tags.map(() => ({ hot: false, waiting: [] }))
  }

  /** News that a shard has work, and that this instance is no longer waiting there as `member`. */
  heat(shard: number, member: string): void {
    const state = this.#states[shard]
    if (state === undefined) return
    state.hot = true
    this.#told(state, member)
  }

  /** A run came instead of that news. */
  hand(shard: number, message: string): void {
    const claimed = readHandOver(message)
    this.handOver(shard, claimed.token.slice(0, claimed.token.lastIndexOf('.')), claimed)
  }

  /** To this instance, which has waited there as `member`. */
  handOver(shard: number, member: string, claimed: Claimed): void {
    const take = this.#takers.get(member)
    const state = this.#states[shard]
    if (state !== undefined) this.#told(state, member)
    if (take === undefined || this.#left) this.#giveBack([claimed])
    else take(claimed)
  }

  /** How this instance waits at a shard for a run of this name and queue, if it takes what is handed over. */
  waitFor(shard: number, { name, queue }: { name: string; queue: string }): Wait | undefined {
    const waiting = this.#states[shard]?.waiting.find(
      ({ want }) =>
        want.take !== undefined && want.names.includes(name) && (want.queues?.includes(queue) ?? true),
    )
    return waiting && { want: waiting.spelled.text, name: waiting.spelled.name, member: waiting.member }
  }

  #told(state: ShardState, member: string): void {
    this.#takers.delete(member)
    state.waiting = state.waiting.filter((waiting) => waiting.member !== member)
  }

  /** For good: what has been handed to this instance just now is given back, if it arrives in time. */
  async leave(withinMs: number): Promise<void> {
    this.#left = true
    const end = environment.monotonic() + withinMs
    const left = new AbortController()
    const before = this.#takers.size
    const underWay = await Promise.race([this.#withdraw(), sleep(withinMs, left.signal).then(() => 0)])
    while (this.#takers.size > before - underWay && environment.monotonic() < end) await sleep(5)
    await Promise.race([
      Promise.all(this.#givingBack),
      sleep(Math.max(0, end - environment.monotonic()), left.signal),
    ])
    left.abort()
  }

  /** Takes back this instance's waits, or those for one want; answers for how many of them news is under way. */
  async #withdraw(work?: string): Promise<number> {
    const counts = this.#states.map(async (state, shard) => {
      const waiting = state.waiting.filter(({ spelled }) => work === undefined || spelled.work === work)
      if (waiting.length === 0) return 0
      state.waiting = state.waiting.filter((one) => !waiting.includes(one))
      const args = waiting.flatMap(({ spelled, member }) => [spelled.name, member])
      // Whoever can't be reached notices by itself that nobody hears.
      return Number(await this.#options.leave(shard, args).catch(() => 0))
    })
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
  }

  /** Lost hints, or a store that may have been emptied: nothing is known any more. */
  forget(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY
  }

  take(outcomes: readonly AttemptOutcome[], want?: Want): Promise<Settled> {
    if (want?.limit === 0) return this.#takeNoMore(outcomes, want)
    return this.#states.length === 1 ? this.#takeFromOne(outcomes, want) : this.#takeFromAll(outcomes, want)
  }

  async #takeNoMore(outcomes: readonly AttemptOutcome[], want: Want): Promise<Settled> {
    await this.#withdraw(spellWant(want).work)
    return outcomes.length === 0 ? { answers: [], claimed: [] } : await this.take(outcomes)
  }

  async #takeFromAll(outcomes: readonly AttemptOutcome[], want: Want | undefined): Promise<Settled> {
    const shares = spread(outcomes, this.#states.length, ({ id }) => id)
    const answers: SettleAnswer[] = new Array(outcomes.length)
    const settled: Settled & { claimed: Claimed[] } = { answers, claimed: [] }
    const failures: unknown[] = []
    let lostOutcomes = false
    let asked = 0
    const spelled = want === undefined ? undefined : spellWant(want)
    let open = want === undefined ? [] : this.#first()
    const unasked = new Set(want === undefined ? [] : this.#states.keys())

    for (let round = 0; round < MAX_ROUNDS; round++) {
      const left = want === undefined ? 0 : want.limit - settled.claimed.length
      const dealt = deal(left, open.length, this.#turn++)
      // A share of 0 only looks whether something is ready.
      const limits = new Map(open.map((shard, index) => [shard, dealt[index] as number]))
      const shards = new Set([...limits.keys(), ...(round === 0 ? shares.map(({ shard }) => shard) : [])])
      if (shards.size === 0) break
      const full: number[] = []
      await Promise.all(
        Array.from(shards, async (shard) => {
          const share = round === 0 ? shares.find((one) => one.shard === shard) : undefined
          const limit = limits.get(shard)
          asked++
          try {
            const reply = await this.#ask(
              shard,
              share?.items ?? [],
              limit === undefined ? undefined : want,
              spelled,
              limit ?? 0,
            )
            share?.at.forEach((index, at) => {
              answers[index] = reply.answers[at] as SettleAnswer
            })
            gather(settled, reply)
            if (limit !== undefined && reply.more) full.push(shard)
          } catch (error) {
            failures.push(error)
            if (share !== undefined) lostOutcomes = true
          }
        }),
      )
      for (const shard of limits.keys()) unasked.delete(shard)
      if (want === undefined || failures.length > 0) break
      open = settled.claimed.length < want.limit ? [...full, ...unasked] : []
      if (open.length === 0) break
      if (round === MAX_ROUNDS - 1) settled.nextDueMs = 0
    }

    if (unasked.size === 0) this.#lookedAt = environment.monotonic()
    if (failures.length > 0) {
      if (lostOutcomes || failures.length === asked) {
        this.#giveBack(settled.claimed)
        throw failures[0]
      }
      this.#options.trouble('A part of the store can’t be asked for work.', failures[0])
    }
    settled.claimed.sort((a, b) => b.entry.priority - a.entry.priority || a.entry.dueAt - b.entry.dueAt)
    return settled
  }

  /** Nothing has to be dealt out then. */
  async #takeFromOne(outcomes: readonly AttemptOutcome[], want: Want | undefined): Promise<Settled> {
    const spelled = want === undefined ? undefined : spellWant(want)
    let reply = await this.#ask(0, outcomes, want, spelled, want?.limit ?? 0)
    const settled: Settled & { claimed: Claimed[] } = { answers: reply.answers, claimed: [] }
    gather(settled, reply)
    for (let round = 1; want !== undefined && reply.more && settled.claimed.length < want.limit; round++) {
      if (round === MAX_ROUNDS) {
        settled.nextDueMs = 0
        break
      }
      try {
        reply = await this.#ask(0, [], want, spelled, want.limit - settled.claimed.length)
      } catch (error) {
        this.#options.trouble('The store can’t be asked for more work.', error)
        break
      }
      gather(settled, reply)
    }
    return settled
  }

  /**
   * The shards to begin with: those known to have work; all of them where none is, or when that was long ago.
   */
  #first(): number[] {
    const all = [...this.#states.keys()]
    const hot = all.filter((shard) => this.#states[shard]?.hot)
    return hot.length === 0 || environment.monotonic() - this.#lookedAt > LOOK_MS ? all : hot
  }

  async #ask(
    shard: number,
    settling: readonly AttemptOutcome[],
    want: Want | undefined,
    spelled: SpelledWant | undefined,
    limit: number,
  ): Promise<SettleReply> {
    const state = this.#states[shard] as ShardState
    const prefix = this.#token()
    // A release without a want: whoever gives back is not the one to be woken for it.
    const released = settling.some(({ kind }) => kind === 'released')
    const leaves = state.waiting.filter((waiting) => released || waiting.spelled.work === spelled?.work)
    if (leaves.length > 0) state.waiting = state.waiting.filter((waiting) => !leaves.includes(waiting))
    const registered = leaves.map(({ spelled, member }) => `${spelled.name} ${member}`).join(' ')
    const outcomes = settling.length === 0 ? [] : outcomeArgs(settling, this.#options.tags[shard] as string)
    let args = [registered, '', '0', prefix, '', ...outcomes]
    let again: readonly string[] | null = args
    if (want !== undefined && spelled !== undefined) {
      args = [
        registered,
        spelled.text,
        limit === 0 ? '0' : `${limit},${want.leaseMs}`,
        prefix,
        spelled.name,
        ...outcomes,
      ]
      // What a lost answer had claimed nobody would run, so a claim is not sent twice; outcomes are.
      if (outcomes.length === 0) again = limit === 0 ? args : null
      this.#takers.set(prefix, want.take)
      if (this.#takers.size > MAX_TAKERS * this.#states.length)
        this.#takers.delete(this.#takers.keys().next().value as string)
    }
    let reply: SettleReply
    try {
      const told = await this.#options.send(shard, args, again)
      if (typeof told === 'string') this.#ended(settling[0] as AttemptOutcome, told)
      reply = typeof told === 'string' ? endedAlone() : settleReply(told, prefix)
    } catch (error) {
      state.waiting.push(...leaves)
      throw error
    }
    if (want !== undefined && spelled !== undefined) {
      state.hot = reply.more
      if (reply.more) this.#takers.delete(prefix)
      else if (this.#takers.has(prefix)) state.waiting.push({ member: prefix, want, spelled })
    }
    return reply
  }

  /** By itself, with nothing else to do there: told when, and until when its result answers. */
  #ended(outcome: AttemptOutcome, times: string): void {
    const run = endedPlainly(outcome)
    if (outcome.kind !== 'completed' || !run?.watchers) return
    this.#options.ended(run.ended(times, outcome.result))
  }

  /**
   * Nobody will run what was claimed in a call that failed otherwise: others need not wait for its lease to
   * end.
   */
  #giveBack(claimed: readonly Claimed[]): void {
    if (claimed.length === 0) return
    const outcomes = claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'released' }) as const)
    const done = this.take(outcomes).catch((error: unknown) => {
      this.#options.trouble('Claimed tasks could not be given back; they wait for their lease to end.', error)
    })
    this.#givingBack.add(done)
    void done.then(() => this.#givingBack.delete(done))
  }

  /** Begins with the address, by which a cancellation finds the worker; unguessable and new for each call. */
  #token(): string {
    if (this.#random === '') this.#random = randomText()
    return `${this.#options.address}${this.#random}${(this.#turn++).toString(36)}`
  }
}

const randomText = (): string => environment.randomBytes(9).toString('base64url')
