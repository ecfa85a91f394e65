// Keeps delayed messages in the broker: a chain of queues, each of which holds a message for a time of its own.
//
// A delay is counted in units and written in binary. Level k of the chain has an exchange and a queue whose messages
// expire after 2^k units; a message's routing key has a word for each level, and where that is 1 the exchange puts the
// message into the queue, else hands it down. What expires in a queue goes to the exchange below; the last one finds the
// target by the key's last word. Within a queue all wait equally long, so that none is held up by one that waits longer,
// there are LEVELS queues at most whatever the delays are, and no process has to live for a message to move.
import { createHash } from 'node:crypto'
import type { Channel } from 'amqplib'
import { DeferqError } from '../../base/errors.ts'
import { judge } from './faults.ts'
import type { Link } from './link.ts'
import { assertQueue, SAFELY } from './queues.ts'

export interface Route {
  exchange: string
  key: string
}

const UNIT_MS = 50
/** The longest time in a queue, 50 × 2^26 ms, is the last power of two that RabbitMQ takes (2^32 − 1 ms). */
const LEVELS = 27
export const MAX_DELAY_MS = UNIT_MS * (2 ** LEVELS - 1)

const DUE = 'deferq.delay.due'
const levelName = (level: number): string => `deferq.delay.${UNIT_MS * 2 ** level}ms`
const below = (level: number): string => (level === 0 ? DUE : levelName(level - 1))
/** Matches keys that say `bit` at a level. */
const pattern = (level: number, bit: 0 | 1): string => `${'*.'.repeat(level)}${bit}.#`
/** The last word of a key. Hashed, since a name may hold dots and what a pattern takes for a wildcard. */
const wordOf = (queue: string): string => createHash('sha256').update(queue).digest('hex').slice(0, 32)

export class Delays {
  #chain: Promise<void> | undefined
  readonly #parts = new Map<string, Promise<void>>()

  /** Where to publish, once all that is on the way is there. */
  async route(queue: string, delayMs: number, link: Link, deadline: number): Promise<Route> {
    if (delayMs > MAX_DELAY_MS) {
      const days = Math.floor(MAX_DELAY_MS / 86_400_000)
      throw new DeferqError(
        'INVALID_OPTION',
        `delayMs is ${delayMs}: RabbitMQ keeps a message for at most ${MAX_DELAY_MS} ms (${days} days).`,
      )
    }
    const bits = Math.ceil(delayMs / UNIT_MS)
    const levels = Array.from({ length: LEVELS }, (_, level) => level).filter(
      (level) => Math.floor(bits / 2 ** level) % 2 === 1,
    )
    const word = wordOf(queue)
    this.#chain ??= this.#make(link, deadline, makeChain)
    await this.#chain
    await Promise.all([
      ...levels.map((level) => this.#part(levelName(level), link, deadline, (c) => makeLevel(c, level))),
      this.#part(`to ${queue}`, link, deadline, (channel) =>
        channel.bindQueue(queue, DUE, `${'*.'.repeat(LEVELS)}${word}`),
      ),
    ])
    const words = Array.from({ length: LEVELS }, (_, level) => (levels.includes(level) ? '1' : '0'))
    return { exchange: levelName(levels.at(-1) as number), key: [...words, word].join('.') }
  }

  /** Some of it turned out not to be there. */
  forget(): void {
    this.#chain = undefined
    this.#parts.clear()
  }

  #part(
    name: string,
    link: Link,
    deadline: number,
    make: (channel: Channel) => Promise<unknown>,
  ): Promise<void> {
    let part = this.#parts.get(name)
    if (part === undefined) this.#parts.set(name, (part = this.#make(link, deadline, make)))
    return part
  }

  async #make(link: Link, deadline: number, make: (channel: Channel) => Promise<unknown>): Promise<void> {
    try {
      await link.within(deadline, make)
    } catch (error) {
      this.forget()
      throw judge(error, link.where)
    }
  }
}

async function makeChain(channel: Channel): Promise<void> {
  await channel.assertExchange(DUE, 'topic', { durable: true })
  for (let level = 0; level < LEVELS; level++) {
    await channel.assertExchange(levelName(level), 'topic', { durable: true })
    await channel.bindExchange(below(level), levelName(level), pattern(level, 0))
  }
}

async function makeLevel(channel: Channel, level: number): Promise<void> {
  const name = levelName(level)
  await assertQueue(channel, name, {
    'x-queue-type': 'quorum',
    'x-message-ttl': UNIT_MS * 2 ** level,
    // Under the key that it has.
    'x-dead-letter-exchange': below(level),
    ...SAFELY,
  })
  await channel.bindQueue(name, name, pattern(level, 1))
}
