// Sets messages aside: with an annotation and headers that say why; and, by tasks of its own, those whose run failed for good.

import { environment } from '../base/environment.ts'
import { isDeferqError, maskUrl } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Engine } from '../contract/engine.ts'
import type { Message, Properties, Transport } from '../contract/transport.ts'
import { deadLettersOf } from '../contract/transport.ts'
import { DeferQ } from '../deferq.ts'
import type { Dispatching } from '../dispatch/api.ts'
import type { AnyTask, Context } from '../tasks/task.ts'
import { task } from '../tasks/task.ts'
import type { DeadLetter } from './envelope.ts'
import { annotated } from './envelope.ts'

const MAX_ERROR = 4_000

/** A message with the reason why it is set aside: in its body, where that is a JSON object, and in its headers. */
export function setAside({ body, properties }: Message, why: DeadLetter): Required<Message> {
  const error = why.error === null ? null : maskUrl(why.error).slice(0, MAX_ERROR)
  const headers = {
    ...properties?.headers,
    'x-dead-letter-reason': why.reason,
    'x-dead-letter-queue': why.original_queue,
    ...(error === null ? {} : { 'x-dead-letter-error': error.slice(0, 500) }),
  }
  return {
    body: annotated(body, { ...why, error }) ?? body,
    properties: { ...properties, headers },
  }
}

/** What of a message goes with its run, to be set aside should that fail. */
export interface Copy {
  queue: string
  /** Its body, which was UTF-8. */
  text: string
  urn: string
  /** Failed attempts before it came here. */
  attempts: number
  properties?: Properties
}

interface Burial extends Copy {
  why: DeadLetter
}

export interface BurialNeeds {
  deferq: Dispatching
  engine: Engine
  /** The bridge's. */
  name: string
  logger: Logger
  rememberMs: number
  transport(): Promise<Transport>
  buried(copy: Copy, why: DeadLetter, context: Context): void
}

/** A deferq that knows the tasks which set messages aside, and what they are called; `notice` follows a failure. */
export interface Burials {
  deferq: Dispatching
  names: string[]
  notice: string
}

/**
 * The same store, with two tasks more. The first follows a run that has failed: as several deliveries of one message may have
 * attached it, it dispatches the second under that run's id, and so just once. The second publishes.
 */
export function withBurials(needs: BurialNeeds): Burials {
  const { deferq, engine, name, logger, rememberMs, transport, buried } = needs
  const buryName = `deferq.bury:${name}`
  // A broker may be away for days: a wait of up to five minutes each makes a month of attempts.
  const lasting = { retries: 10_000, backoff: { initial: 1_000 }, timeout: '60s', delay: 0 } as const
  const notice = task(`deferq.dead-letter:${name}`, {
    ...lasting,
    run: async (copy: Copy, { parent }: Context) => {
      if (parent === undefined) throw new Error('This task follows a run, and is not dispatched by itself.')
      const run = await own.getStatus(parent.id).catch((error) => {
        if (isDeferqError(error, 'TASK_NOT_FOUND')) return undefined
        throw error
      })
      const why: DeadLetter = {
        reason: 'failed',
        error: parent.error?.message ?? null,
        exception: parent.error?.name ?? null,
        failed_at: (run?.finishedAt ?? new Date(environment.now())).getTime(),
        original_queue: copy.queue,
        attempts: copy.attempts + (run?.attempt ?? 1),
        lang: 'node',
      }
      // Twice as long as the failure itself is remembered: the last delivery that could attach it again is answered by it.
      const once = { idempotencyKey: parent.id, resultTtl: 2 * rememberMs, onMismatch: 'join' } as const
      await own.dispatch(buryName, { ...copy, why } satisfies Burial, once)
    },
  })
  const bury = task(buryName, {
    ...lasting,
    run: async ({ why, ...copy }: Burial, context: Context) => {
      const { queue, text, properties } = copy
      const message = { body: Buffer.from(text), ...(properties === undefined ? {} : { properties }) }
      await (await transport()).publish([{ ...setAside(message, why), queue: deadLettersOf(queue) }])
      buried(copy, why, context)
    },
  })
  const listed = [...(deferq.tasks?.values() ?? [])] as AnyTask[]
  const { defaults, limits } = deferq
  const own: Dispatching = new DeferQ({
    engine,
    tasks: [...listed, notice, bury],
    defaults,
    logger,
    ...(limits === undefined ? {} : { limits }),
  })
  return { deferq: own, names: [notice.name, bury.name], notice: notice.name }
}
