// Settles what is done and claims what is next, in one round trip; sleeps when there is neither, until something comes up.

import { DeadlineTimer } from '../base/deadline-timer.ts'
import { environment } from '../base/environment.ts'
import { sleep } from '../base/time.ts'
import type { AttemptOutcome, Claimed, Claims, Engine, SettleAnswer, Want } from '../contract/engine.ts'
import type { Attempt } from './attempt.ts'

// Two turns under way at a time: the store works on one while this process works on what the other has brought.
const TURNS = 2
// Above this a turn takes longer for everybody in it, and is not cheaper for any.
const BATCH = 200
// A round trip costs the same for one outcome as for a few dozen: fewer are not split. At concurrency 100 it made 1.25 times as much.
const SPLIT = 32
const RETRY_MS = { first: 50, most: 2_000 }
// What is due and was not to be had is held by somebody, who may take long.
const HELD_MS = 20

interface Sleeper {
  until: number
  wake(): void
}

export interface PollerNeeds {
  engine: Engine
  sleepMs: number
  /** What to ask for, made anew, given how many claims are under way: undefined while nothing should be claimed. */
  want(reserved: number): Want | undefined
  claimed(claimed: Claimed, sentAt: number): void
  settled(attempt: Attempt, answer: SettleAnswer): void
  /** Nothing was claimable, and nothing is held. */
  empty(): void
  malformed(rows: NonNullable<Claims['malformed']>): void
  trouble(error: unknown, message: string): void
}

export class Poller {
  readonly #needs: PollerNeeds
  #ended: Attempt[] = []
  #reserved = 0
  #underWay = 0
  #nudged = true
  #nextLookAt = 0
  #stopped = false
  #abandoned = false
  #failing = false
  #asleep: Sleeper[] = []
  readonly #alarm = new DeadlineTimer((now) => this.#wakeDue(now))
  /** One that was roused has not looked around yet. */
  #roused = false
  #looks = 0
  #lastWant: Want | undefined
  readonly #take: NonNullable<Want['take']>

  constructor(needs: PollerNeeds) {
    this.#needs = needs
    this.#take = (claimed) => this.#taken(claimed)
  }

  /** An attempt is over, with an outcome to settle. */
  done(attempt: Attempt): void {
    this.#ended.push(attempt)
    this.#rouse()
  }

  /** Work may be there, or a slot is free although nothing was settled. Kept while a turn is under way, so that no hint is lost between two looks. */
  nudge(): void {
    this.#nudged = true
    this.#rouse()
  }

  get idle(): boolean {
    return this.#ended.length === 0 && this.#underWay === 0
  }

  stop(): void {
    this.#stopped = true
    this.#wakeDue(Number.POSITIVE_INFINITY)
  }

  /** What could not be settled never will be; answers how much that is. */
  abandon(): number {
    const left = this.#ended.length
    this.#abandoned = true
    this.#ended = []
    this.stop()
    return left
  }

  /** Until stopped and everything is settled. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: TURNS }, () => this.#turns()))
    this.#alarm.stop()
    if (this.#lastWant === undefined || this.#failing) return
    // What comes next is for others.
    await this.#needs.engine
      .claim({ ...this.#lastWant, limit: 0 })
      .catch((error: unknown) => this.#needs.trouble(error, 'the wait for work could not be taken back'))
  }

  async #turns(): Promise<void> {
    let pauseMs = 0
    for (;;) {
      this.#roused = false
      const due = this.#nudged || environment.monotonic() >= this.#nextLookAt
      const settling = this.#ended.length > 0
      const want = this.#stopped || !(due || settling) ? undefined : this.#needs.want(this.#reserved)
      if (!settling && want === undefined) {
        if (this.#stopped) return
        await this.#pause(due ? environment.monotonic() + this.#needs.sleepMs : this.#nextLookAt)
        continue
      }
      pauseMs = (await this.#turn(want)) ? 0 : Math.min(RETRY_MS.most, Math.max(RETRY_MS.first, pauseMs * 2))
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }

  async #turn(want: Want | undefined): Promise<boolean> {
    // Left alone, a turn would take everything, and the two would be one: half is left for the other.
    const share = this.#underWay === 0 && this.#ended.length >= SPLIT ? 2 : 1
    const ended = this.#ended.splice(0, Math.min(BATCH, Math.ceil(this.#ended.length / share)))
    if (want !== undefined) {
      want.limit = Math.ceil(want.limit / share)
      want.take = this.#take
    }
    const limit = want?.limit ?? 0
    const sentAt = environment.monotonic()
    this.#reserved += limit
    this.#underWay++
    if (want !== undefined) {
      this.#looks++
      this.#lastWant = want
      this.#nudged = share > 1
      this.#nextLookAt = sentAt + this.#needs.sleepMs
    }
    if (this.#ended.length > 0) this.#rouse()
    let answer: Claims & { answers: SettleAnswer[] }
    try {
      answer = await this.#send(ended, want)
      this.#failing = false
    } catch (error) {
      this.#failing = true
      // Settling is idempotent by token: what may or may not have arrived is sent again.
      if (!this.#abandoned) this.#ended.unshift(...ended)
      this.#nudged = true
      this.#needs.trouble(error, 'settling and claiming failed; it is tried again')
      return this.#stopped && this.#ended.length === 0
    } finally {
      this.#reserved -= limit
      this.#underWay--
    }
    const { answers } = answer
    for (let index = 0; index < ended.length; index++) {
      this.#needs.settled(ended[index] as Attempt, answers[index] as SettleAnswer)
    }
    for (const claimed of answer.claimed) this.#needs.claimed(claimed, sentAt)
    if (answer.malformed !== undefined) this.#needs.malformed(answer.malformed)
    if (want !== undefined) this.#plan(want, answer)
    return true
  }

  /** Handed over by the engine. It waits for no more then: if there is room for more, another look follows, unless this run ends first and brings one with it. */
  #taken(claimed: Claimed): void {
    if (this.#stopped || this.#needs.want(this.#reserved) === undefined) {
      const { engine, trouble } = this.#needs
      engine
        .settle([{ id: claimed.entry.id, token: claimed.token, kind: 'released' }])
        .catch((error: unknown) => trouble(error, 'a run that was handed over could not be given back'))
    } else {
      this.#needs.claimed(claimed, environment.monotonic())
    }
    if (this.#needs.want(this.#reserved) === undefined) return
    const looks = this.#looks
    environment.setImmediate(() => {
      if (looks === this.#looks) this.nudge()
    })
  }

  async #send(ended: Attempt[], want: Want | undefined): Promise<Claims & { answers: SettleAnswer[] }> {
    const outcomes = ended.map(({ outcome }) => outcome as AttemptOutcome)
    if (outcomes.length > 0) return await this.#needs.engine.settle(outcomes, want)
    return { answers: [], ...(await this.#needs.engine.claim(want as Want)) }
  }

  /** When to look again: at once after a full catch, else when something is due, else after the sleep or a hint. */
  #plan(want: Want, { claimed, nextDueMs }: Claims): void {
    if (claimed.length >= want.limit) {
      this.#nudged = true
      return
    }
    const held = claimed.length === 0 && nextDueMs === 0
    if (nextDueMs !== undefined) {
      this.#nextLookAt = Math.min(
        this.#nextLookAt,
        environment.monotonic() + Math.max(held ? HELD_MS : 1, nextDueMs),
      )
    }
    if (claimed.length === 0 && !held) this.#needs.empty()
  }

  #pause(until: number): Promise<void> {
    return new Promise((wake) => {
      this.#asleep.push({ wake, until })
      this.#alarm.by(until)
    })
  }

  #wakeDue(now: number): number {
    const asleep = this.#asleep
    this.#asleep = asleep.filter(({ until }) => until > now)
    for (const { wake, until } of asleep) if (until <= now) wake()
    return Math.min(...this.#asleep.map(({ until }) => until))
  }

  /** One of those asleep, who rouses the next if there is more than it takes. */
  #rouse(): void {
    if (this.#roused) return
    const sleeper = this.#asleep.shift()
    if (sleeper === undefined) return
    this.#roused = true
    sleeper.wake()
  }
}
