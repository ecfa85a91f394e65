// The worker: takes tasks from the store and runs their handlers; composes poller, attempts, heartbeat and sweeper.

import { EventEmitter } from 'node:events'
import { DeadlineTimer } from '../base/deadline-timer.ts'
import { environment } from '../base/environment.ts'
import { isDeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { unfailing } from '../base/log.ts'
import { durationMs, sleep } from '../base/time.ts'
import type { Claimed, Engine, Hint, SettleAnswer, Swept, Want } from '../contract/engine.ts'
import type { Dispatching } from '../dispatch/api.ts'
import { checkLogger } from '../tasks/options.ts'
import type { AnyTask } from '../tasks/task.ts'
import { ActiveAttempts } from './active-attempts.ts'
import { Attempt } from './attempt.ts'
import type { WorkerEvents, WorkerSummary } from './events.ts'
import { Heartbeat } from './heartbeat.ts'
import { MemoryGauge } from './memory-gauge.ts'
import { openStore } from './open-store.ts'
import type { Settings, WorkerOptions } from './options.ts'
import { handlersOf, limitsOf, settingsOf } from './options.ts'
import { reportOrphans } from './orphans.ts'
import { Poller } from './poller.ts'
import { WorkerReport } from './report.ts'
import { reportSwept, sweepUntil } from './sweeper.ts'
import { SYSTEM_TASKS, SystemLoop } from './system-loop.ts'

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
  readonly #held = new ActiveAttempts()
  readonly #late = new DeadlineTimer((now) => this.#held.interruptLate(now))
  readonly #ending = new AbortController()
  readonly #report: WorkerReport
  readonly #memory = new MemoryGauge()
  #running = 0
  #poller: Poller | undefined
  #heartbeat: Heartbeat | undefined
  #systemLoop: SystemLoop | undefined
  #ran: Promise<WorkerSummary> | undefined
  #stopping = false
  #releasing = false
  #cut = false

  readonly #trouble = (error: unknown, message: string): void => {
    if (isDeferqError(error, 'CLOSED')) this.#cutOff()
    else this.#report.trouble(error, message)
  }

  constructor(deferq: Client, options: WorkerOptions = {}) {
    super({ captureRejections: true })
    this.deferq = deferq
    this.#settings = settingsOf(options)
    this.#handlersLogger = options.logger ?? deferq.logger
    checkLogger(this.#handlersLogger, 'new Worker()')
    this.#logger = unfailing(this.#handlersLogger)
    this.#report = new WorkerReport(this, this.#logger)
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
      const engine = await openStore(this.deferq, this.#ending.signal, this.#trouble)
      if (engine !== undefined) await this.#work(engine)
    } finally {
      environment.clearTimeout(runtime)
    }
    return this.#report.summary
  }

  async #work(engine: Engine): Promise<void> {
    const { leaseMs, sweepMs, sleepMs, queues } = this.#settings
    const shared = { engine, sleepMs, logger: this.#logger, trouble: this.#trouble }
    const heartbeat = new Heartbeat({ ...shared, leaseMs, held: this.#held })
    const poller = new Poller({
      ...shared,
      want: (reserved) => this.#want(reserved),
      claimed: (claimed, sentAt) => this.#start(claimed, sentAt),
      settled: (attempt, answer) => this.#settled(attempt, answer),
      empty: () => this.#empty(),
      malformed: (rows) => this.#report.malformed(rows),
    })
    if (this.#settings.upkeep) {
      const worked = (): void => poller.nudge()
      // Whether there is nothing to do at all is asked when the poller finds nothing.
      const quiet = this.#settings.stopWhenEmpty ? worked : () => {}
      this.#systemLoop = new SystemLoop({ ...shared, leaseMs, worked, quiet })
    }
    this.#poller = poller
    this.#heartbeat = heartbeat
    const stopListening = this.deferq.listen((hint) => this.#hear(hint))
    const roles = new AbortController()
    const background = [
      heartbeat.run(roles.signal),
      this.#systemLoop?.run(roles.signal),
      sweepUntil(roles.signal, {
        engine,
        sweepMs,
        swept: (swept) => this.#swept(swept),
        trouble: this.#trouble,
      }),
      this.#settings.names === undefined
        ? reportOrphans(roles.signal, {
            ...shared,
            queues,
            known: new Set([...this.#names, ...SYSTEM_TASKS.keys()]),
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

  #want(reserved: number): Want | undefined {
    const { concurrency, maxJobs, maxMemoryMb, queues, leaseMs } = this.#settings
    if (this.#stopping) return undefined
    // Not before the first task: a limit below the program's own need must not end every worker at its start.
    if (maxMemoryMb > 0 && this.#report.summary.claimed > 0 && this.#memory.usedMb() > maxMemoryMb) {
      this.#logger.warn(
        { usedMb: Math.round(this.#memory.usedMb()), maxMemoryMb },
        'the worker ends: it uses more than maxMemory',
      )
      this.#stop('maxMemory')
      return undefined
    }
    const left = maxJobs === 0 ? concurrency : maxJobs - this.#report.summary.claimed - reserved
    const limit = Math.min(concurrency - this.#running - reserved, left)
    if (limit <= 0) return undefined
    const want: Want = { names: this.#names, limit, leaseMs }
    if (queues !== undefined) want.queues = queues
    if (this.#limits !== undefined) want.limits = this.#limits
    return want
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
    this.#report.started(attempt)
    if (this.#report.summary.claimed === this.#settings.maxJobs) this.#stop('maxJobs')
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
    this.#report.settled(attempt)
  }

  #lost(attempt: Attempt): void {
    if (!this.#held.delete(attempt)) return
    this.#report.lost(attempt)
    this.#poller?.nudge()
  }

  #hear(hint: Hint): void {
    if (hint.kind === 'work' || hint.kind === 'changed') {
      this.#poller?.nudge()
      this.#systemLoop?.nudge()
    }
    if (hint.kind !== 'cancelled') return
    for (const attempt of this.#held.all()) {
      if (attempt.id === hint.id) attempt.interrupt('cancelled')
    }
  }

  #empty(): void {
    if (!this.#settings.stopWhenEmpty || this.#held.size > 0) return
    if (this.#systemLoop?.quiet !== false) this.#stop('empty')
  }

  #swept(swept: Swept): void {
    reportSwept(swept, this.#logger)
    if (swept.requeued.length > 0) this.#poller?.nudge()
  }

  #stop(reason: WorkerSummary['reason']): void {
    if (this.#stopping) {
      if (reason === 'aborted') this.#report.summary.reason = reason
      return
    }
    this.#stopping = true
    this.#report.summary.reason = reason
    this.#ending.abort()
    void this.#drain()
  }

  /** Lets what runs finish, up to the grace time, releases the rest, and ends the poller once all is settled. */
  async #drain(): Promise<void> {
    const end = environment.monotonic() + this.#settings.graceMs
    while (this.#busy() && environment.monotonic() < end && this.#report.summary.reason !== 'aborted')
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
}
