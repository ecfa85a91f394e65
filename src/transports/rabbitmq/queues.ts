// Declares queues as deferq needs them, and says whether one that was there already will do.
import type { Channel, Options } from 'amqplib'
import { DeferqError } from '../../base/errors.ts'
import { deadLettersOf } from '../../contract/transport.ts'
import { codeOf, judge, PRECONDITION_FAILED } from './faults.ts'
import type { Link } from './link.ts'

type Arguments = Readonly<Record<string, string | number>>

// The worker sets poison aside much earlier, by the count of deliveries; this is for consumers that do not.
const DELIVERY_LIMIT = 100
// A consumer that lives says so by heartbeats. From RabbitMQ 3.12 on a queue may allow more than the 30 minutes of its broker.
const CONSUMER_TIMEOUT_MS = 7 * 86_400_000
const DEAD_SUFFIX = deadLettersOf('')

/** Confirmed by where they go before they leave: without this, the broker drops what it dead-letters when it crashes. */
export const SAFELY: Arguments = { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' }

export function argumentsOf(queue: string): Arguments {
  const quorum = { 'x-queue-type': 'quorum', 'x-consumer-timeout': CONSUMER_TIMEOUT_MS }
  // The end of the line. RabbitMQ 4 would drop after 20 deliveries unless told otherwise.
  if (queue.endsWith(DEAD_SUFFIX)) return { ...quorum, 'x-delivery-limit': 1_000_000 }
  return {
    ...quorum,
    'x-delivery-limit': DELIVERY_LIMIT,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': deadLettersOf(queue),
    ...SAFELY,
  }
}

// Differences with which every law is kept, but for what the caveats say. With any other, messages vanish or can't be put back.
const TOLERATED = new Set([
  'x-queue-type',
  'x-delivery-limit',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-dead-letter-strategy',
  'x-overflow',
  'x-consumer-timeout',
  'x-quorum-initial-group-size',
  'x-queue-leader-locator',
  'x-queue-version',
  'x-queue-mode',
  'x-max-priority',
])

export class Queues {
  readonly #declared = new Map<string, Promise<void>>()
  readonly #ready = new Set<string>()

  /** Known to be there, with no need to ask. */
  knows(queue: string): boolean {
    return this.#ready.has(queue)
  }

  /** Makes the queue unless it is there. */
  declare(queue: string, link: Link, deadline: number): Promise<void> {
    let declared = this.#declared.get(queue)
    if (declared === undefined) {
      declared = this.#declare(queue, link, deadline).then(
        () => void this.#ready.add(queue),
        (error: unknown) => {
          this.forget(queue)
          throw error
        },
      )
      this.#declared.set(queue, declared)
    }
    return declared
  }

  /** It turned out not to be there. */
  forget(queue: string): void {
    this.#declared.delete(queue)
    this.#ready.delete(queue)
  }

  async #declare(queue: string, link: Link, deadline: number): Promise<void> {
    if (!queue.endsWith(DEAD_SUFFIX)) await this.declare(deadLettersOf(queue), link, deadline)
    let wanted = argumentsOf(queue)
    // Each refusal names one argument that differs, so that these tell how the queue is.
    for (;;) {
      try {
        await link.within(deadline, (channel) => assertQueue(channel, queue, wanted))
        return
      } catch (error) {
        if (codeOf(error) !== PRECONDITION_FAILED) throw judge(error, link.where)
        wanted = accept(wanted, queue, error as Error, link.where)
      }
    }
  }
}

export const assertQueue = (channel: Channel, queue: string, args: Arguments): Promise<unknown> =>
  channel.assertQueue(queue, { durable: true, arguments: args } satisfies Options.AssertQueue)

/** The arguments as the queue has them, as far as is known by now, or an error that says why it won't do. */
function accept(wanted: Arguments, queue: string, error: Error, where: string): Arguments {
  const found =
    /inequivalent arg '([^']+)' .* but current is (?:none|(?:the value )?'(.*?)'(?: of type '(\w+)')?)"?$/
  const [, name = '', text, type] = found.exec(error.message) ?? []
  const current = type === undefined || type === 'longstr' ? text : Number(text)
  if (!TOLERATED.has(name) || wanted[name] === current || current === 'stream') {
    throw new DeferqError(
      'STORE_MISMATCH',
      `RabbitMQ at ${where} has a queue '${queue}' that can't be used${name && `, because of its argument ${name}`}: ` +
        `${error.message}. Use another name, or delete the queue and let deferq declare it.`,
      { cause: error, details: { queue, argument: name } },
    )
  }
  // A classic queue knows few of the others, and is refused with them.
  if (name === 'x-queue-type') return { [name]: current as string }
  const { [name]: _ours, ...rest } = wanted
  return current === undefined ? rest : { ...rest, [name]: current }
}
