// Takes messages from a broker into a deferq: each is admitted under its id, and acknowledged only then.

import { EventEmitter } from 'node:events'
import { environment } from '../base/environment.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { unfailing } from '../base/log.ts'
import { sleep } from '../base/time.ts'
import type { Engine } from '../contract/engine.ts'
import type { Delivery, Transport } from '../contract/transport.ts'
import type { Dispatching } from '../dispatch/api.ts'
import { Worker } from '../worker/worker.ts'
import { Admissions, isAway, PAUSE_MS } from './admissions.ts'
import { Broker } from './broker.ts'
import type { About, Ending } from './classify.ts'
import { Case, messageOf } from './classify.ts'
import type { Burials } from './dead-letters.ts'
import { withBurials } from './dead-letters.ts'
import { Hand, leaveOf } from './in-flight.ts'
import type { BridgeOptions, Settings } from './options.ts'
import { settingsOf } from './options.ts'
import type { BridgeEvent, BridgeSummary } from './stats.ts'
import { Ledger } from './stats.ts'

export type BridgeEvents = {
  settled: [event: BridgeEvent]
  /** Something outside of any message went wrong, and is tried again. */
  trouble: [error: unknown, message: string]
}

const LOOK_MS = 1_000

/** The bridges that run, by deferq and name: two brokers must not take each other's dead letters. */
const running = new WeakMap<Dispatching, Map<string, Transport>>()

export class Bridge extends EventEmitter<BridgeEvents> implements AsyncDisposable {
  readonly deferq: Dispatching
  readonly #settings: Settings
  readonly #name: string | undefined
  readonly #logger: Logger
  readonly #broker: Broker
  readonly #stopping = new AbortController()
  readonly #ledger: Ledger
  #ran: Promise<BridgeSummary> | undefined
  /** What dispatches: the deferq, with the tasks that set messages aside. */
  #own: Burials | undefined
  readonly #admissions: Admissions
  #lastTroubleAt = -Infinity

  constructor(deferq: Dispatching, options: BridgeOptions) {
    super({ captureRejections: true })
    this.deferq = deferq
    this.#settings = settingsOf(deferq, options)
    this.#name = options.name
    this.#logger = unfailing(options.logger ?? deferq.logger)
    this.#ledger = new Ledger(this.#logger)
    this.#broker = new Broker(options, 'new Bridge()')
    this.#admissions = new Admissions({
      signal: this.#stopping.signal,
      hasParams: this.#settings.params !== undefined,
      trouble: (error, message) => this.#trouble(error, message),
      closed: () => {
        this.#logger.error({}, 'the bridge ends, because its deferq was closed: stop the bridge first')
        this.#stop('stopped')
      },
    })
  }

  /** Until it is stopped or one of its limits is reached. A store or a broker that is away is waited for. */
  run(): Promise<BridgeSummary> {
    this.#ran ??= this.#run()
    return this.#ran
  }

  /** No more messages; those in hand are admitted, or given back. */
  async stop(): Promise<BridgeSummary | undefined> {
    this.#stop('stopped')
    return this.#ran
  }

  /** Stops, and lets go of the broker. */
  async close(): Promise<void> {
    await this.stop()?.catch(() => {})
    await this.#broker.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  override [EventEmitter.captureRejectionSymbol](error: Error, ...[event]: unknown[]): void {
    this.#logger.error({ error }, `a listener of the bridge's '${String(event)}' failed`)
  }

  /** Sets aside the messages whose runs have failed by now, and ends. A bridge that runs does so by itself, all the time. */
  async bury(): Promise<void> {
    const own = this.#with(await this.#broker.open(), await this.deferq.open())
    await this.#bury(own, new AbortController().signal)
  }

  async #run(): Promise<BridgeSummary> {
    const connected = await this.#connect()
    if (connected === undefined) return this.#ledger.summary
    const { transport, engine } = connected
    this.#claimName(transport)
    const own = this.#with(transport, engine)
    const { visibilityMs, graceMs } = this.#settings
    const trouble = (error: unknown, message: string): void => this.#trouble(error, message)
    const hand = new Hand({ transport, visibilityMs, trouble })
    const over = new AbortController()
    const stopHearing = transport.onTrouble((error) => trouble(error, 'the broker is in trouble'))
    const background = [hand.beat(over.signal), this.#watch(own, engine, over.signal)]
    try {
      await this.#reserve(transport, hand)
    } finally {
      this.#stop('stopped')
      const until = environment.monotonic() + graceMs
      while (hand.size > 0 && environment.monotonic() < until) await sleep(10)
      const left = await hand.giveBack()
      if (left > 0)
        this.#logger.warn({}, `${left} messages were given back unfinished: the grace time was over`)
      over.abort()
      stopHearing()
      await Promise.all(background)
      running.get(this.deferq)?.delete(this.#nameOf(transport))
    }
    return this.#ledger.summary
  }

  async #reserve(transport: Transport, hand: Hand): Promise<void> {
    const { queues, prefetch, visibilityMs, maxMessages, stopWhenEmpty } = this.#settings
    const { signal } = this.#stopping
    const waitMs = stopWhenEmpty ? Math.min(1_000, this.#settings.waitMs) : this.#settings.waitMs
    // Not for every single place that is free: a look costs the same for one as for many.
    const least = Math.ceil(prefetch / 4)
    for (let pauseMs = PAUSE_MS.first; !signal.aborted; ) {
      if (this.#admissions.refused > 0) {
        await sleep(PAUSE_MS.first, signal)
        continue
      }
      const left = maxMessages === 0 ? prefetch : maxMessages - this.#ledger.summary.reserved
      if (left <= 0) return this.#stop('maxMessages')
      if (prefetch - hand.size < least) {
        await hand.room(signal)
        continue
      }
      const limit = Math.min(prefetch - hand.size, left)
      let deliveries: Delivery[]
      try {
        deliveries = await transport.reserve({ queues, limit, visibilityMs, waitMs, signal })
        pauseMs = PAUSE_MS.first
        // That nothing came may also mean that the broker was slow to hand it out.
        if (stopWhenEmpty && deliveries.length === 0 && hand.size === 0) {
          const depths = await transport.depth(queues)
          if (depths.every(({ ready }) => ready === 0)) return this.#stop('empty')
        }
      } catch (error) {
        if (isDeferqError(error) && !isAway(error)) throw error
        this.#trouble(error, 'the broker could not be asked for messages; it is tried again')
        await sleep(pauseMs, signal)
        pauseMs = Math.min(PAUSE_MS.most, pauseMs * 2)
        continue
      }
      this.#ledger.summary.reserved += deliveries.length
      for (const delivery of deliveries) {
        hand.take(delivery)
        void this.#handle(delivery, hand)
      }
      if (stopWhenEmpty && deliveries.length === 0 && hand.size > 0) await hand.room(signal)
    }
  }

  /**
   * Sets aside what has failed. It looks at the counts, and claims only when there is something: an engine keeps one want for its
   * instance, and one of these in place of the worker's would delay the worker's next task by a second.
   */
  async #watch(own: Burials, engine: Engine, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(LOOK_MS, signal)
      if (signal.aborted) return
      try {
        const { lanes } = await engine.count()
        if (lanes.some(({ name, pending }) => pending > 0 && own.names.includes(name)))
          await this.#bury(own, signal)
      } catch (error) {
        this.#trouble(error, 'failed messages could not be looked for; it is tried again')
      }
    }
  }

  async #bury({ deferq, names }: Burials, signal: AbortSignal): Promise<void> {
    // What another bridge held when it died is taken up no later than its messages are.
    const lease = Math.min(30_000, this.#settings.visibilityMs)
    const worker = new Worker(deferq, { names, lease, logger: this.#logger, stopWhenEmpty: true })
    const stop = (): void => void worker.stop()
    signal.addEventListener('abort', stop)
    await worker.run().finally(() => signal.removeEventListener('abort', stop))
  }

  async #handle(delivery: Delivery, hand: Hand): Promise<void> {
    const { notice } = this.#own as Burials
    const each = new Case(delivery, this.#settings)
    let ending: Ending
    try {
      const verdict = await each.judge(this.deferq, notice)
      ending =
        verdict.kind === 'admit' ? await this.#admissions.admit(this.#dispatcher(), each, verdict) : verdict
    } catch (error) {
      // Nothing that is known: the broker hands it out again, and counts how often.
      this.#trouble(error, 'a message could not be looked at, and is given back')
      ending = { kind: 'release', error: messageOf(error), delayMs: PAUSE_MS.most }
    }
    const answer = await hand.leave(leaveOf(ending, delivery), this.#stopping.signal)
    if (answer === 'done') this.#settled(each.about, ending)
    else {
      this.#ledger.lost(each.about, ending)
    }
  }

  /** A deferq without a task list takes every name; one with a list lacks the tasks that set messages aside. */
  #dispatcher(): Dispatching {
    return this.deferq.tasks === undefined ? this.deferq : (this.#own as Burials).deferq
  }

  #settled(about: About, ending: Ending): void {
    this.#tell('settled', this.#ledger.settled(about, ending))
  }

  #with(transport: Transport, engine: Engine): Burials {
    this.#own ??= withBurials({
      deferq: this.deferq,
      engine,
      name: this.#nameOf(transport),
      logger: this.#logger,
      rememberMs: this.#settings.rememberMs,
      transport: () => this.#broker.open(),
      buried: ({ queue, urn }, { reason, error }, { traceId }) => {
        const about = { queue, urn, ...(traceId === undefined ? {} : { traceId }) }
        this.#settled(about, { kind: 'dead_letter', reason, error: error ?? '', body: new Uint8Array() })
      },
    })
    return this.#own
  }

  #claimName(transport: Transport): void {
    const name = this.#nameOf(transport)
    const names = running.get(this.deferq) ?? new Map<string, Transport>()
    if ((names.get(name) ?? transport) !== transport) {
      throw new DeferqError(
        'INVALID_OPTION',
        `new Bridge(): another bridge of this deferq is called '${name}' too, and has another transport. Give each a name: { name: … }.`,
      )
    }
    running.set(this.deferq, names.set(name, transport))
  }

  #nameOf(transport: Transport): string {
    return this.#name ?? transport.name
  }

  async #connect(): Promise<{ transport: Transport; engine: Engine } | undefined> {
    for (let pauseMs = PAUSE_MS.first; !this.#stopping.signal.aborted; ) {
      try {
        return { transport: await this.#broker.open(), engine: await this.deferq.open() }
      } catch (error) {
        // Only what is away may come back by waiting; the rest is for somebody to put right.
        if (!isAway(error)) throw error
        this.#trouble(error, 'the broker or the store is away; it is tried again')
        await sleep(pauseMs, this.#stopping.signal)
        pauseMs = Math.min(PAUSE_MS.most, pauseMs * 2)
      }
    }
    return undefined
  }

  #stop(reason: BridgeSummary['reason']): void {
    if (this.#stopping.signal.aborted) return
    this.#ledger.summary.reason = reason
    this.#stopping.abort()
  }

  #tell<Event extends keyof BridgeEvents>(event: Event, ...about: BridgeEvents[Event]): void {
    try {
      ;(this.emit as (event: string, ...about: unknown[]) => boolean).call(this, event, ...about)
    } catch (error) {
      this.#logger.error({ error }, `a listener of the bridge's '${event}' failed`)
    }
  }

  #trouble(error: unknown, message: string): void {
    this.#tell('trouble', error, message)
    // Once in five seconds: a broker that is away would fill the log.
    const now = environment.monotonic()
    if (now - this.#lastTroubleAt < 5_000) return
    this.#lastTroubleAt = now
    this.#logger.warn({ error }, message)
  }
}
