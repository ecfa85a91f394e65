// The worker: takes tasks from the store and runs their handlers; composes poller, attempts, heartbeat and sweeper.

import { EventEmitter } from 'node:events'
import { Alarm } from '../base/deadline-timer.ts'
import { environment } from '../base/environment.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { unfailing } from '../base/log.ts'
import { durationMs, sleep } from '../base/time.ts'
import type { AttemptOutcome, Claimed, Engine, Hint, SettleAnswer, Swept, Want } from '../contract/engine.ts'
import type { Dispatching } from '../dispatch/api.ts'
import { checkLogger } from '../tasks/options.ts'
import type { AnyTask } from '../tasks/task.ts'
import { Held } from './active-attempts.ts'
import { Attempt, aboutOf } from './attempt.ts'
import type { WorkerEvents, WorkerSummary } from './events.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Settings, WorkerOptions } from './options.ts'
import { handlersOf, limitsOf, settingsOf } from './options.ts'
import { reportOrphans } from './orphans.ts'
import { Poller } from './poller.ts'
import { reportSwept, sweepUntil } from './sweeper.ts'
import { Upkeep } from './system-loop.ts'
import { SYSTEM_TASKS } from './system-tasks.ts'

export type { WorkerEvents, WorkerSummary } from './events.ts'
export type { WorkerOptions } from './options.ts'

export class Worker<Client extends Dispatching = Dispatching>
  extends EventEmitter<WorkerEvents>
  implements AsyncDisposable
{
  readonly deferq: Client
  readonly #settings: Settings
  readonly #logger: Logger
  readonly #handlersLogger: Logger
  readonly #tasks: ReadonlyMap<string, AnyTask>
  readonly #names: readonly string[]
  readonly #limits: Want['limits']
  readonly #held = new Held()
  readonly #late = new Alarm((now) => this.#held.interruptLate(now))
  readonly #ending = new AbortController()
  readonly #summary: WorkerSummary = {
    reason: 'stopped',
    claimed: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    retried: 0,
    released: 0,
    lost: 0,
  }
  #running = 0
  #poller: Poller | undefined
  #heartbeat: Heartbeat | undefined
  #upkeep: Upkeep | undefined
  #ran: Promise<WorkerSummary> | undefined
  #stopping = false
  #releasing = false
  #cut = false
  #lastTroubleAt = -Infinity
  #measuredAt = -Infinity
  #usedMb = 0

  constructor(deferq: Client, options: WorkerOptions = {}) {
    super({ captureRejections: true })
    this.deferq = deferq
    this.#settings = settingsOf(options)
    this.#handlersLogger = options.logger ?? deferq.logger
    checkLogger(this.#handlersLogger, 'new Worker()')
    this.#logger = unfailing(this.#handlersLogger)
    this.#tasks = handlersOf(deferq.tasks, this.#settings.names)
    this.#names = [...this.#tasks.keys()]
    this.#limits = limitsOf(this.#tasks)
  }

  /** Works until it is stopped or one of its limits is reached. A store that is away is waited for. */
  run(): Promise<WorkerSummary> {
    this.#ran ??= this.#run()
    return this.#ran
  }

  /** No new work; what runs may finish within the grace time, the rest is released for other workers. */
  async stop(): Promise<WorkerSummary | undefined> {
    this.#stop('stopped')
    return this.#ran
  }

  /** What runs is aborted and released now. */
  async abort(): Promise<WorkerSummary | undefined> {
    this.#stop('aborted')
    this.#release()
    return this.#ran
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** A listener that returns a promise, which was rejected. */
  override [EventEmitter.captureRejectionSymbol](error: Error, ...[event]: unknown[]): void {
    this.#logger.error({ error }, `a listener of the worker's '${String(event)}' failed`)
  }

  async #run(): Promise<WorkerSummary> {
    const { maxRuntimeMs } = this.#settings
    const runtime =
      maxRuntimeMs > 0
        ? environment.setTimeout(() => this.#stop('maxRuntime'), Math.min(maxRuntimeMs, 2_147_483_647))
        : undefined
    try {
      const engine = await this.#connect()
      if (engine !== undefined) await this.#work(engine)
    } finally {
      environment.clearTimeout(runtime)
    }
    return this.#summary
  }

  async #work(engine: Engine): Promise<void> {
    const { leaseMs, sweepMs, sleepMs, queues } = this.#settings
    const trouble = (error: unknown, message: string): void => this.#trouble(error, message)
    const heartbeat = new Heartbeat({
      engine,
      leaseMs,
      held: this.#held,
      interrupt: (attempt, why) => attempt.interrupt(why),
      trouble,
    })
    const poller = new Poller({
      engine,
      sleepMs,
      want: (reserved) => this.#want(reserved),
      claimed: (claimed, sentAt) => this.#start(claimed, sentAt),
      settled: (attempt, answer) => this.#settled(attempt, answer),
      empty: () => this.#empty(),
      malformed: (rows) => {
        for (const { id, reason } of rows)
          this.#logger.error({ id, reason }, 'a malformed entry was set aside')
      },
      trouble,
    })
    if (this.#settings.upkeep) {
      const worked = (): void => poller.nudge()
      // Whether there is nothing to do at all is asked when the poller finds nothing.
      const quiet = this.#settings.stopWhenEmpty ? worked : () => {}
      this.#upkeep = new Upkeep({ engine, leaseMs, sleepMs, logger: this.#logger, worked, quiet, trouble })
    }
    this.#poller = poller
    this.#heartbeat = heartbeat
    const stopListening = this.deferq.listen((hint) => this.#hear(hint))
    const roles = new AbortController()
    const background = [
      heartbeat.run(roles.signal),
      this.#upkeep?.run(roles.signal),
      sweepUntil(roles.signal, { engine, sweepMs, swept: (swept) => this.#swept(swept), trouble }),
      this.#settings.names === undefined
        ? reportOrphans(roles.signal, {
            engine,
            sleepMs,
            queues,
            known: new Set([...this.#names, ...SYSTEM_TASKS.keys()]),
            logger: this.#logger,
            trouble,
          })
        : undefined,
    ]
    if (this.#stopping) poller.stop()
    try {
      await poller.run()
    } finally {
      stopListening()
      this.#late.stop()
      roles.abort()
      await Promise.all(background)
    }
  }

  async #connect(): Promise<Engine | undefined> {
    for (let pauseMs = 100; !this.#stopping; pauseMs = Math.min(5_000, pauseMs * 2)) {
      try {
        return await this.deferq.open()
      } catch (error) {
        // Only an absent store may come back by waiting; the rest is for somebody to put right.
        if (!isDeferqError(error, 'STORE_UNAVAILABLE')) throw error
        this.#trouble(error, 'the store is away; it is tried again')
        await sleep(pauseMs, this.#ending.signal)
      }
    }
    return undefined
  }

  #want(reserved: number): Want | undefined {
    const { concurrency, maxJobs, maxMemoryMb, queues, leaseMs } = this.#settings
    if (this.#stopping) return undefined
    if (maxMemoryMb > 0 && this.#memoryMb() > maxMemoryMb) {
      this.#logger.warn(
        { usedMb: Math.round(this.#memoryMb()), maxMemoryMb },
        'the worker ends: it uses more than maxMemory',
      )
      this.#stop('maxMemory')
      return undefined
    }
    const left = maxJobs === 0 ? concurrency : maxJobs - this.#summary.claimed - reserved
    const limit = Math.min(concurrency - this.#running - reserved, left)
    if (limit <= 0) return undefined
    const want: Want = { names: this.#names, limit, leaseMs }
    if (queues !== undefined) want.queues = queues
    if (this.#limits !== undefined) want.limits = this.#limits
    return want
  }

  /** Measured at most four times a second, and not before the first task: a limit below what the program needs anyway must not end every worker at its start. */
  #memoryMb(): number {
    const now = environment.monotonic()
    if (this.#summary.claimed > 0 && now - this.#measuredAt > 250) {
      const { heapUsed, external } = process.memoryUsage()
      this.#usedMb = (heapUsed + external) / 1_048_576
      this.#measuredAt = now
    }
    return this.#usedMb
  }

  #start(claimed: Claimed, sentAt: number): void {
    const { entry } = claimed
    const task = this.#tasks.get(entry.name) as AnyTask
    const { defaults } = this.deferq
    const { timeout = defaults.timeout, backoff = defaults.backoff } = task.options
    const attempt = new Attempt(claimed, sentAt, {
      task,
      backoff,
      timeoutMs:
        timeout === undefined
          ? this.#settings.taskTimeoutMs
          : durationMs(timeout, `task('${entry.name}'): timeout`),
      logger: this.#handlersLogger,
      beat: (each) => (this.#heartbeat as Heartbeat).beatOne(each),
    })
    this.#held.add(attempt)
    this.#running++
    this.#summary.claimed++
    if (this.#summary.claimed === this.#settings.maxJobs) this.#stop('maxJobs')
    this.#tell('started', aboutOf(attempt))
    // Claimed while the rest was being released: others shall have it at once.
    if (this.#releasing) queueMicrotask(() => attempt.interrupt('released'))
    void attempt.run().then(() => {
      this.#running--
      if (attempt.outcome !== undefined) this.#poller?.done(attempt)
      else this.#lost(attempt)
    })
    this.#late.by(attempt.lateAt)
  }

  #settled(attempt: Attempt, answer: SettleAnswer): void {
    if (!this.#held.has(attempt)) return
    if (answer === 'lost') {
      this.#lost(attempt)
      return
    }
    this.#held.delete(attempt)
    const about = aboutOf(attempt)
    const { error } = attempt
    const outcome = attempt.outcome as AttemptOutcome
    switch (outcome.kind) {
      case 'completed':
        this.#summary.completed++
        this.#tell('completed', about)
        break
      case 'failed':
        this.#summary.failed++
        this.#logger.error(
          { ...about, error },
          `'${attempt.name}' failed for good at attempt ${attempt.attempt}`,
        )
        this.#tell('failed', { ...about, error })
        break
      case 'retry':
        this.#summary.retried++
        this.#logger.warn(
          { ...about, error, delayMs: outcome.delayMs },
          `'${attempt.name}' failed and is tried again`,
        )
        this.#tell('retried', { ...about, error, delayMs: outcome.delayMs })
        break
      case 'cancelled':
        this.#summary.cancelled++
        this.#logger.info({ ...about, error }, `'${attempt.name}' was cancelled, and not run`)
        this.#tell('cancelled', { ...about, error })
        break
      case 'released':
        this.#summary.released++
        this.#tell('released', about)
    }
  }

  #lost(attempt: Attempt): void {
    if (!this.#held.delete(attempt)) return
    this.#summary.lost++
    const about = aboutOf(attempt)
    const why = attempt.interruption ?? 'lost'
    if (why !== 'cancelled')
      this.#logger.warn({ ...about }, `the lease of '${attempt.name}' was lost; its outcome was refused`)
    this.#tell('lost', about)
    this.#poller?.nudge()
  }

  #hear(hint: Hint): void {
    if (hint.kind === 'work' || hint.kind === 'changed') {
      this.#poller?.nudge()
      this.#upkeep?.nudge()
    }
    if (hint.kind !== 'cancelled') return
    for (const attempt of this.#held.all()) {
      if (attempt.id === hint.id) attempt.interrupt('cancelled')
    }
  }

  #empty(): void {
    if (!this.#settings.stopWhenEmpty || this.#held.size > 0) return
    if (this.#upkeep?.quiet !== false) this.#stop('empty')
  }

  #swept(swept: Swept): void {
    reportSwept(swept, this.#logger)
    if (swept.requeued.length > 0) this.#poller?.nudge()
  }

  #stop(reason: WorkerSummary['reason']): void {
    if (this.#stopping) {
      if (reason === 'aborted') this.#summary.reason = reason
      return
    }
    this.#stopping = true
    this.#summary.reason = reason
    this.#ending.abort()
    void this.#drain()
  }

  /** Lets what runs finish, up to the grace time, releases the rest, and ends the poller once all is settled. */
  async #drain(): Promise<void> {
    const end = environment.monotonic() + this.#settings.graceMs
    while (this.#busy() && environment.monotonic() < end && this.#summary.reason !== 'aborted')
      await sleep(10)
    this.#release()
    // By the end of a lease whatever could not be settled is somebody else's.
    const lost = environment.monotonic() + this.#settings.leaseMs
    while (this.#busy() && environment.monotonic() < lost) await sleep(5)
    const left = this.#poller?.abandon() ?? 0
    if (left > 0) this.#logger.error({}, `${left} outcomes could not be settled: the store was away`)
  }

  /** Deferq was closed under this worker: nothing can be settled any more, and others get what runs once its lease is over. */
  #cutOff(): void {
    if (this.#cut) return
    this.#cut = true
    this.#logger.error({}, 'the worker ends, because its deferq was closed: stop the worker first')
    for (const attempt of this.#held.all()) attempt.interrupt('lost')
    this.#poller?.abandon()
    this.#stop('aborted')
  }

  #busy(): boolean {
    return this.#running > 0 || this.#poller?.idle === false
  }

  #release(): void {
    this.#releasing = true
    for (const attempt of this.#held.all()) attempt.interrupt('released')
  }

  /** A listener that throws is no reason to lose the task it was told about. */
  #tell<Event extends keyof WorkerEvents>(event: Event, ...about: WorkerEvents[Event]): void {
    try {
      ;(this.emit as (event: string, ...about: unknown[]) => boolean).call(this, event, ...about)
    } catch (error) {
      this.#logger.error({ error }, `a listener of the worker's '${event}' failed`)
    }
  }

  #trouble(error: unknown, message: string): void {
    if (isDeferqError(error, 'CLOSED')) {
      this.#cutOff()
      return
    }
    this.#tell('trouble', error, message)
    // Once in five seconds: a store that is away would fill the log.
    const now = environment.monotonic()
    if (now - this.#lastTroubleAt < 5_000) return
    this.#lastTroubleAt = now
    const why = error instanceof DeferqError ? `${error.code}: ${error.message}` : error
    this.#logger.warn({ error: why }, message)
  }
}
